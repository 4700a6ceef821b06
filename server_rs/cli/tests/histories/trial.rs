//! One history from its beginning to its judgement.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use fastrand::Rng;
use prost::bytes::Bytes;
use snakepit_proto::v1::{CreateSessionRequest, DeleteSessionRequest};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    board::Board,
    checker,
    client::{Client, Shared},
    history::{History, Violation, Watch},
    links::Links,
    plan::{self, Profile},
    report,
    rpc::refusal,
    tally::Tally,
    validators,
    watcher::{Progress, follow},
};

const CLIENTS: u64 = 8;
/// How often a session is asked for that has to be there in the end.
const TRIES: usize = 60;

/// Where histories happen.
pub struct World {
    pub links: Arc<Links>,
    pub board: Arc<Board>,
    pub tally: Arc<Tally>,
    /// Where histories that are wrong are kept.
    pub kept: PathBuf,
}

/// Lets a history happen. Gives the permit back when its clients are done, and then waits for the server to be
/// started again: what was acknowledged has to be there then. Fails with what is wrong with it.
pub async fn run(world: Arc<World>, seed: u64, permit: OwnedSemaphorePermit) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    let profile = Profile::choose(seed, &mut random);
    let session = format!("h{seed}");
    let incarnation = create(&world, &session, &mut random).await?;
    let shared = Arc::new(Shared {
        links: Arc::clone(&world.links),
        board: Arc::clone(&world.board),
        session: session.clone(),
        incarnation: incarnation.clone(),
        profile,
    });
    let (progress, following) = watch::channel(Progress::default());
    let mut watching = Vec::new();
    for (index, watch) in watches(profile, &mut random).into_iter().enumerate() {
        let who = format!("watch {} of {session}", index + 1);
        watching.push(tokio::spawn(follow(Arc::clone(&shared), who, watch, 0, following.clone(), random.fork())));
    }

    let length = random.usize(profile.length.clone());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::new(&format!("c{number}"), &shared, random.fork());
        let first = if number == 0 { plan::first(profile, &mut random) } else { Vec::new() };
        let steps = length + random.usize(..3);
        clients.push(tokio::spawn(async move {
            if !first.is_empty() {
                let write = client.write_of("first".into(), first);
                client.send(&write, TRIES).await;
            }
            client.work(steps).await;
            client
        }));
    }
    let mut done = Vec::new();
    for client in clients {
        done.push(client.await.map_err(|error| format!("a client of {session} panicked: {error}"))?);
    }
    let starts = world.links.starts();
    progress.send_modify(|it| it.clients_done = true);
    drop(permit);

    world.board.waits(&session, "the server to be started again");
    world.links.restarted(starts).await;
    world.board.done(&session);
    let mut again = Vec::new();
    for mut client in done {
        again.push(tokio::spawn(async move {
            client.insist().await;
            client
        }));
    }
    let mut calls = Vec::new();
    for client in again {
        calls.append(&mut client.await.map_err(|error| format!("a client of {session} panicked: {error}"))?.calls);
    }
    let mut reader = Client::new("reader", &shared, random.fork());
    let last = reader.conclude().await.ok_or_else(|| format!("{session} could not be read in the end"))?;
    calls.append(&mut reader.calls);
    progress.send_modify(|it| it.last = Some(last));
    let log = follow(Arc::clone(&shared), format!("log of {session}"), Watch::default(), 1, following, random.fork());
    let mut watches = vec![log.await];
    for watch in watching {
        watches.push(watch.await.map_err(|error| format!("a watcher of {session} panicked: {error}"))?);
    }
    let history = History { session, incarnation, seed, kind: profile.kind, calls, watches, last };
    world.tally.count(&history);
    judge(&world, &history)?;
    delete(&world, &history).await;
    Ok(())
}

/// Checks and validates a history. One that is wrong is kept, and told of.
fn judge(world: &World, history: &History) -> Result<(), String> {
    let violations = violations(history);
    let Some(first) = violations.first() else { return Ok(()) };
    let path = world.kept.join(format!("{}.txt", history.session));
    let written = std::fs::write(&path, report::all(history, &violations));
    let others: Vec<_> =
        violations.iter().skip(1).take(4).map(|it| format!("  also {}: {}\n", it.rule, it.text)).collect();
    Err(format!(
        "a history of kind {:?}, seed {}, breaks {:?}: {}\n{}{}  and {} in all; the whole history is in {} ({written:?})",
        history.kind,
        history.seed,
        first.rule,
        first.text,
        report::excerpt(history, first),
        others.concat(),
        violations.len(),
        path.display(),
    ))
}

fn violations(history: &History) -> Vec<Violation> {
    let mut found = checker::check(history);
    if let Ok(log) = checker::log(history) {
        for (index, watch) in history.watches.iter().enumerate() {
            let of = |it: Violation| Violation { text: format!("watch {index}: {}", it.text), ..it };
            let told = if watch.latest {
                validators::latest(watch, history.last).into_iter().collect()
            } else {
                validators::validate(watch, &log, history.last)
            };
            found.extend(told.into_iter().map(of));
        }
    }
    found
}

/// Who watches: one reads every change as fast as it can, one slowly, one the latest state, one at random.
fn watches(profile: &Profile, random: &mut Rng) -> Vec<Watch> {
    let some = |random: &mut Rng| if random.bool() { Vec::new() } else { profile.some_names(random, 1) };
    let of = |latest, slow, names| Watch { latest, slow, names, streams: Vec::new() };
    let mut watches =
        vec![of(false, false, some(random)), of(false, true, Vec::new()), of(true, random.u8(..3) == 0, some(random))];
    if random.u8(..3) == 0 {
        watches.push(of(random.bool(), random.bool(), some(random)));
    }
    watches
}

async fn create(world: &World, session: &str, random: &mut Rng) -> Result<Bytes, String> {
    let incarnation: Bytes = (0..16).map(|_| random.u8(..)).collect();
    let mut problem = String::new();
    for _ in 0..TRIES {
        world.links.up().await;
        let (session_id, incarnation) = (session.to_owned(), incarnation.clone());
        let request = CreateSessionRequest { session_id, incarnation, ttl: None, metadata: BTreeMap::new() };
        match world.links.sessions().create_session(request).await {
            Ok(response) if response.get_ref().created => {
                return Ok(response.into_inner().session.unwrap_or_default().incarnation);
            }
            Ok(response) => return Err(format!("{session} was there already: {response:?}")),
            Err(status) if refusal(&status).is_some() => {
                return Err(format!(
                    "{session} was refused when it was created: {:?} {}",
                    status.code(),
                    status.message()
                ));
            }
            Err(status) => problem = format!("{status:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err(format!("{session} could not be created: {problem}"))
}

/// Best effort: it is in nobody's way.
async fn delete(world: &World, history: &History) {
    let (session_id, incarnation) = (history.session.clone(), history.incarnation.clone());
    let request = DeleteSessionRequest { session_id, incarnation };
    world.links.up().await;
    let _gone = world.links.sessions().delete_session(request).await;
}
