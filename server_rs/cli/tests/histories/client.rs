//! A client: does this and that to a session, one after another, and writes down what it was told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    board::Board,
    history::{Answer, Asked, Call, Said, Write, tick},
    links::Links,
    plan::{NAMES, Profile, Step},
    rpc::{Deadline, ask},
};
use fastrand::Rng;
use prost::bytes::Bytes;

/// How often something is asked that has to be answered in the end.
const INSISTENT: usize = 60;

/// What all clients of a session share.
pub struct Shared {
    pub links: Arc<Links>,
    pub board: Arc<Board>,
    pub session: String,
    pub incarnation: Bytes,
    pub profile: &'static Profile,
}

pub struct Client {
    name: String,
    shared: Arc<Shared>,
    random: Rng,
    pub calls: Vec<Call>,
    /// The newest version seen of each name; 0: it does not exist.
    seen: BTreeMap<String, u64>,
    /// Some revisions seen, the newest last.
    revisions: Vec<u64>,
    /// Writes under a key that were acknowledged, and those that nobody answered.
    committed: Vec<Arc<Write>>,
    unknown: Vec<Arc<Write>>,
}

impl Client {
    pub fn new(name: &str, shared: &Arc<Shared>, random: Rng) -> Self {
        Self {
            name: name.into(),
            shared: Arc::clone(shared),
            random,
            calls: Vec::new(),
            seen: BTreeMap::new(),
            revisions: Vec::new(),
            committed: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Takes so many steps.
    pub async fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step().await;
            if self.random.u8(..12) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(1..20))).await;
            }
        }
    }

    /// After the server was started again: what was sent before is sent once more.
    pub async fn insist(&mut self) {
        let mut again = Vec::new();
        for mut of in [std::mem::take(&mut self.committed), std::mem::take(&mut self.unknown)] {
            self.random.shuffle(&mut of);
            again.extend(of.into_iter().take(2));
        }
        for write in again {
            self.send(&write, INSISTENT).await;
        }
    }

    /// The state in the end, and the histories of all names. Says at which revision it was.
    pub async fn conclude(&mut self) -> Option<u64> {
        let names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
        for name in &names {
            self.until_answered(&Asked::Versions { name: name.clone() }).await;
        }
        self.until_answered(&Asked::Get { names, allow_missing: true }).await
    }

    async fn until_answered(&mut self, asked: &Asked) -> Option<u64> {
        for _ in 0..INSISTENT {
            if let Answer::At { revision, .. } = self.call(asked.clone(), Deadline::Patient).await {
                return Some(revision);
            }
        }
        None
    }

    async fn step(&mut self) {
        let profile = self.shared.profile;
        let step = profile.step(&mut self.random);
        let written = match step {
            Step::Get | Step::Sync | Step::Versions | Step::List => None,
            Step::Repeat if !self.committed.is_empty() => {
                let index = self.random.usize(..self.committed.len());
                Some((Arc::clone(&self.committed[index]), 2))
            }
            Step::Misuse if !self.committed.is_empty() => {
                let index = self.random.usize(..self.committed.len());
                let key = self.committed[index].key.clone();
                Some((self.single(key, false), 1))
            }
            Step::Batch | Step::BadBatch => {
                let operations = match step {
                    Step::Batch => profile.batch(&mut self.random, &self.seen),
                    _ => profile.bad_batch(&mut self.random, &self.seen),
                };
                let key = self.key();
                Some((self.write_of(key, operations), self.random.usize(1..5)))
            }
            Step::Single | Step::CompareAndSet | Step::Repeat | Step::Misuse => {
                let key = self.key();
                Some((self.single(key, step == Step::CompareAndSet), self.random.usize(1..5)))
            }
        };
        match written {
            Some((write, tries)) => {
                self.send(&write, tries).await;
                // Whoever was answered, be it with a refusal, has to find what the answer speaks of.
                if self.random.u8(..5) < 2 {
                    self.read(Step::Get).await;
                }
            }
            None => self.read(step).await,
        }
    }

    /// Lists all variables, page by page.
    async fn list(&mut self) {
        let (mut after, mut token, size) = (String::new(), String::new(), self.random.u32(1..4));
        loop {
            let asked = Asked::List { after, token, size };
            let Answer::At { said: Said::Listed { variables, token: Some(next) }, .. } =
                self.call(asked, Deadline::Patient).await
            else {
                return;
            };
            (after, token) = (variables.last().map(|it| it.name.clone()).unwrap_or_default(), next);
        }
    }

    async fn read(&mut self, step: Step) {
        if step == Step::List {
            return self.list().await;
        }
        let profile = self.shared.profile;
        let asked = match step {
            Step::Versions => Asked::Versions { name: profile.name(&mut self.random).into() },
            Step::Sync => {
                let known = match self.random.u8(..4) {
                    0 => 0,
                    1 => self.random.choice(&self.revisions).copied().unwrap_or_default(),
                    _ => self.revisions.last().copied().unwrap_or_default(),
                };
                let names = profile.some_names(&mut self.random, 1);
                let new = if self.random.u8(..5) == 0 { profile.some_names(&mut self.random, 1) } else { Vec::new() };
                let names = names.into_iter().filter(|name| !new.contains(name)).collect();
                Asked::Sync { known, names, new_names: new }
            }
            _ => {
                let names = profile.some_names(&mut self.random, 1);
                Asked::Get { names, allow_missing: self.random.u8(..4) > 0 }
            }
        };
        let deadline = self.deadline();
        self.call(asked, deadline).await;
    }

    fn key(&mut self) -> String {
        if self.random.u8(..5) == 0 { String::new() } else { format!("{}-{}", self.name, self.calls.len()) }
    }

    fn single(&mut self, key: String, expecting: bool) -> Arc<Write> {
        let profile = self.shared.profile;
        let name = profile.name(&mut self.random);
        let operation = profile.operation(&mut self.random, name, &self.seen);
        let seen = self.seen.get(name).copied().unwrap_or_default();
        self.write_of(
            key,
            vec![snakepit_proto::v1::Operation { expected_version: expecting.then_some(seen), ..operation }],
        )
    }

    pub fn write_of(&self, key: String, operations: Vec<snakepit_proto::v1::Operation>) -> Arc<Write> {
        let tag = format!("{}.{}", self.name, self.calls.len());
        Arc::new(Write { tag, author: self.name.clone(), key, operations })
    }

    /// Sends a write, and sends it again under its key while nobody answers.
    pub async fn send(&mut self, write: &Arc<Write>, tries: usize) {
        for left in (0..tries).rev() {
            let deadline = if tries == INSISTENT { Deadline::Patient } else { self.deadline() };
            match self.call(Asked::Write(Arc::clone(write)), deadline).await {
                Answer::At { said: Said::Written(outcomes), .. } => {
                    let new = !write.key.is_empty() && !self.committed.iter().any(|it| it.tag == write.tag);
                    if new && outcomes.iter().any(|it| it.changed) {
                        self.committed.push(Arc::clone(write));
                    }
                    return;
                }
                Answer::At { .. } => return,
                Answer::Unknown(_) if write.key.is_empty() => return,
                Answer::Unknown(_) if left == 0 => self.unknown.push(Arc::clone(write)),
                Answer::Unknown(_) | Answer::NotApplied(_) => {}
            }
        }
    }

    fn deadline(&mut self) -> Deadline {
        if self.random.u32(..100) >= self.shared.profile.hasty {
            return Deadline::Patient;
        }
        let time = Duration::from_micros(self.random.u64(500..12_000));
        if self.random.bool() { Deadline::Told(time) } else { Deadline::Untold(time) }
    }

    async fn call(&mut self, asked: Asked, deadline: Deadline) -> Answer {
        let who = format!("{} of {}", self.name, self.shared.session);
        self.shared.board.waits(&who, "the server");
        self.shared.links.up().await;
        self.shared.board.waits(&who, asked.kind());
        let began = tick();
        let told = ask(&self.shared, &asked, deadline).await;
        let ended = tick();
        self.shared.board.called(&who);
        self.note(&told);
        self.calls.push(Call { began, ended, asked, told: told.clone() });
        if matches!(told, Answer::Unknown(_)) {
            tokio::time::sleep(Duration::from_millis(self.random.u64(1..20))).await;
        }
        told
    }

    /// Learns versions and revisions, for what it does later.
    fn note(&mut self, told: &Answer) {
        let Answer::At { revision, said, .. } = told else { return };
        self.revisions.push(*revision);
        let gone = |seen: &mut BTreeMap<String, u64>, absent: &[String]| {
            seen.extend(absent.iter().map(|name| (name.clone(), 0)));
        };
        match said {
            Said::Written(outcomes) => self.seen.extend(outcomes.iter().map(|it| (it.name.clone(), it.version))),
            Said::Got { variables, absent } => {
                self.seen.extend(variables.iter().map(|it| (it.name.clone(), it.version)));
                gone(&mut self.seen, absent);
            }
            Said::Synced(sync) => {
                self.seen.extend(sync.changed.iter().map(|it| (it.name.clone(), it.version)));
                gone(&mut self.seen, &sync.absent);
            }
            Said::Refused(refusal) => {
                let fact = |name| refusal.facts.get(name);
                let actual = fact("actual").and_then(|it| it.parse().ok()).unwrap_or_default();
                if let (Some(variable), "VERSION_CONFLICT" | "VARIABLE_NOT_FOUND") =
                    (fact("variable"), &*refusal.reason)
                {
                    self.seen.insert(variable.clone(), actual);
                }
            }
            Said::Versions(_) | Said::Listed { .. } => {}
        }
    }
}
