//! What the journal on disk costs, without network and services: `cargo bench -p snakepit_server --bench journal`.
//! The directory is made in `$TMPDIR`; raw appends and commits take turns on the same disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use snakepit_core::{
    config::{Limits, Windows},
    session::{
        Action, Command, Context, Create, Decision, Idempotency, Incarnation, Operation, SessionId, Slot, Write, apply,
        decide,
    },
    value::Value,
    variable::{Author, Constraints, Name, Spec, Timestamp, Type},
};
use snakepit_server::journal::{Append, Home as _, sqlite::Disk};

/// A session that is decided on and applied as the store does it.
struct Session {
    id: SessionId,
    slot: Slot,
    limits: Limits,
    windows: Windows,
    now: u64,
}

impl Session {
    fn new(id: &str) -> (Self, Vec<Append>) {
        let id = SessionId::try_from(id).unwrap();
        let (limits, windows) = (Limits::default(), Windows::default());
        let mut session = Self { id, slot: Slot::Vacant, limits, windows, now: 1_800_000_000_000_000 };
        let create = Create { incarnation: Incarnation([7; 16]), ttl: None, metadata: BTreeMap::new() };
        let created = session.run(&Command::Create(create));
        let spec = Arc::new(Spec::new(Type::String, Constraints::None));
        let registered = session.act(Action::Register { spec, value: Value::from(""), replace: false });
        (session, vec![created, registered])
    }

    fn run(&mut self, command: &Command) -> Append {
        self.now += 1;
        let author = Author { name: "anonymous".into(), verified: false };
        let now = Timestamp(self.now);
        let context = Context { now, lived: now, author, admin: true, read_secret: true, limits: &self.limits };
        let Ok(Decision::Commit { event, .. }) = decide(&self.id, &self.slot, command, &context) else {
            panic!("nothing to commit")
        };
        let event = Arc::new(event);
        self.slot = apply(&self.id, &self.slot, &event, &self.windows);
        Append { session: self.id.clone(), event, after: self.slot.clone() }
    }

    fn act(&mut self, action: Action) -> Append {
        let operation = Operation { name: Name::try_from("n").unwrap(), expected_version: None, action };
        let key = Idempotency {
            client: "b2f5ff47436671b6e533d8dc3614845d".into(),
            key: format!("{:032x}", self.now).into(),
            fingerprint: [1; 32],
        };
        self.run(&Command::Write(Write {
            incarnation: None,
            operations: vec![operation],
            reason: "".into(),
            idempotency: Some(key),
            encoded_len: 0,
        }))
    }

    fn set(&mut self, bytes: usize) -> Append {
        let text = format!("{:0bytes$}", self.now);
        self.act(Action::Set(Value::from(&*text)))
    }
}

fn commit(runtime: &tokio::runtime::Runtime, disk: &mut Disk, group: &[Append]) -> Duration {
    let began = Instant::now();
    runtime.block_on(disk.commit(group)).unwrap();
    began.elapsed()
}

fn quantiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{what:44} p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}", at(50), at(99), at(100));
}

fn reopen(what: &str, directory: &Path) {
    let size: u64 = fs::read_dir(directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    for _ in 0..3 {
        let began = Instant::now();
        let disk = Disk::open(directory, &Windows::default()).unwrap();
        println!("reopen {what:37} {:>9.1?}  {} MB, {} sessions", began.elapsed(), size / 1_000_000, disk.len());
    }
}

fn latency(runtime: &tokio::runtime::Runtime, place: &Path) {
    let mut disk = Disk::open(&place.join("latency"), &Windows::default()).unwrap();
    let mut raw = File::create(place.join("raw")).unwrap();
    let (mut sessions, first): (Vec<_>, Vec<_>) = (0..64).map(|id| Session::new(&format!("s{id}"))).unzip();
    commit(runtime, &mut disk, &first.into_iter().flatten().collect::<Vec<_>>());
    let (mut appends, mut singles, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..3_000 {
        let began = Instant::now();
        raw.write_all(&[u8::try_from(turn % 256).unwrap(); 4_096]).unwrap();
        raw.sync_data().unwrap();
        appends.push(began.elapsed());
        let single = sessions[0].set(16);
        singles.push(commit(runtime, &mut disk, &[single]));
        if turn % 10 == 0 {
            let group: Vec<_> = sessions.iter_mut().map(|session| session.set(16)).collect();
            groups.push(commit(runtime, &mut disk, &group));
        }
    }
    quantiles("append of 4 KiB and fdatasync", appends);
    quantiles("commit of one small write", singles);
    quantiles("commit of 64 writes to 64 sessions", groups);
}

/// Fills a journal with so many changes, in groups, and says how long that took.
fn fill(runtime: &tokio::runtime::Runtime, directory: &Path, sessions: usize, changes: usize, bytes: usize) {
    let mut disk = Disk::open(directory, &Windows::default()).unwrap();
    let began = Instant::now();
    for id in 0..sessions {
        let (mut session, mut group) = Session::new(&format!("s{id}"));
        for _ in 0..changes {
            group.push(session.set(bytes));
            if group.len() == 500 || group.len() * bytes > 1024 * 1024 {
                commit(runtime, &mut disk, &std::mem::take(&mut group));
            }
        }
        commit(runtime, &mut disk, &group);
    }
    drop(disk);
    println!("fill {} x {} changes of {} bytes: {:.1?}", sessions, changes, bytes, began.elapsed());
}

fn main() {
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    latency(&runtime, place.path());
    for (what, sessions, changes, bytes) in [
        ("100 MB of values, 20 sessions", 20, 500, 10_000),
        ("1 million changes of one session", 1, 1_000_000, 16),
        ("1 million changes of 100 sessions", 100, 10_000, 16),
        ("100,000 sessions of 10 changes", 100_000, 10, 16),
    ] {
        let directory = place.path().join("fill");
        fill(&runtime, &directory, sessions, changes, bytes);
        reopen(what, &directory);
        fs::remove_dir_all(directory).unwrap();
    }
}
