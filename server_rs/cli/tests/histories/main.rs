//! Histories of eight clients and some watchers on a real server on disk, with faults on, each checked for
//! linearizability; and the promises of watches. `HISTORIES=10000` (or `make histories`) does the full size; `SEED=` of
//! an earlier run repeats what its clients wanted to do, though not the moments at which they were disturbed.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]
#![allow(clippy::default_trait_access, reason = "the messages' types say nothing here")]

mod board;
mod checker;
mod client;
mod faults;
mod history;
mod links;
mod model;
mod plan;
mod proxy;
mod report;
mod rpc;
mod server;
mod tally;
mod trial;
mod validators;
mod violation;
mod watcher;

use std::{
    fs,
    io::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    board::Board,
    faults::Faults,
    links::{Links, Up},
    proxy::Proxy,
    server::Server,
    tally::Tally,
    trial::World,
};

/// How many histories have their clients at work at once: so many that each takes long enough to see some faults.
const AT_ONCE: usize = 32;
/// How many happen on one directory: ended sessions stay in it for a day, and every start reads them.
const ROUND: usize = 500;
/// After so many that are wrong it is over.
const ENOUGH: usize = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number, got {text:?}")))
}

/// Says something also where a test's output is captured.
fn say(text: &str) {
    let _best_effort = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_with_faults_on_are_linearizable_and_watches_keep_their_promises() {
    let histories = number("HISTORIES").unwrap_or(200);
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1 << 40));
    say(&format!("histories: {histories}, SEED={seed}"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories");
    fs::create_dir_all(&kept).unwrap();
    let run = Run { kept, board: Arc::default(), tally: Arc::default(), faults: Faults::default() };
    let began = Instant::now();
    let mut wrong = Vec::new();
    for first in (0..histories).step_by(ROUND) {
        let seeds = seed.wrapping_add(first)..seed.wrapping_add(histories.min(first + ROUND as u64));
        wrong = run.round(seeds).await;
        let (done, seconds) = (run.tally.histories(), began.elapsed().as_secs());
        say(&format!("  {done} done after {seconds} s, {} wrong", wrong.len()));
        if !wrong.is_empty() {
            break;
        }
    }
    say(&run.tally.summary(&run.faults));
    assert!(wrong.is_empty(), "SEED={seed}\n{}", wrong.join("\n"));
    assert_eq!(run.tally.histories(), histories);
}

/// What all rounds share.
struct Run {
    kept: PathBuf,
    board: Arc<Board>,
    tally: Arc<Tally>,
    faults: Faults,
}

impl Run {
    /// Lets histories of these seeds happen on a server and a directory of their own. Gives what was wrong.
    async fn round(&self, seeds: Range<u64>) -> Vec<String> {
        let seed = seeds.start;
        let directory = tempfile::tempdir().unwrap();
        let log = self.kept.join(format!("server-{seed}.log"));
        let mut server = Server::start(directory.path(), &log);
        let proxy = Proxy::start(server.address, seed).await;
        let (up, ups) = watch::channel(Up { starts: 0, is: true });
        let world = Arc::new(World {
            links: Arc::new(Links::new(server.address, proxy.address, ups)),
            board: Arc::clone(&self.board),
            tally: Arc::clone(&self.tally),
            kept: self.kept.clone(),
        });
        let stop = AtomicBool::new(false);
        let histories = async {
            let wrong = let_happen(&world, seeds).await;
            stop.store(true, Ordering::Relaxed);
            wrong
        };
        let faults = faults::cause(&mut server, &proxy, &up, seed, &stop, &self.faults, &self.board);
        let mut wrong = tokio::select! {
            (wrong, ()) = async { tokio::join!(histories, faults) } => wrong,
            why = self.board.stands_still() => vec![why],
        };
        self.faults.torn.fetch_add(proxy.torn.load(Ordering::Relaxed), Ordering::Relaxed);
        match wrong.last_mut() {
            Some(last) => last.extend(["\n", &server.tail()]),
            None => fs::remove_file(log).unwrap(),
        }
        wrong
    }
}

/// Lets histories happen. Gives what was wrong.
async fn let_happen(world: &Arc<World>, seeds: Range<u64>) -> Vec<String> {
    // Long ones first, so that nobody has to wait for them alone in the end.
    let (long, short): (Vec<_>, Vec<_>) = seeds.partition(|seed| plan::is_long(*seed));
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let (mut running, mut wrong) = (JoinSet::new(), Vec::new());
    for seed in long.into_iter().chain(short) {
        let permit = Arc::clone(&slots).acquire_owned().await.unwrap();
        while let Some(ended) = running.try_join_next() {
            wrong.extend(problem(ended));
        }
        if wrong.len() >= ENOUGH {
            break;
        }
        running.spawn(trial::run(Arc::clone(world), seed, permit));
    }
    while wrong.len() < ENOUGH {
        // Those that are left might wait for what a wrong server never does.
        let patience = if wrong.is_empty() { Duration::from_secs(3_600) } else { Duration::from_secs(10) };
        match tokio::time::timeout(patience, running.join_next()).await {
            Ok(Some(ended)) => wrong.extend(problem(ended)),
            Ok(None) | Err(_) => break,
        }
    }
    wrong
}

fn problem(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Option<String> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong),
        Err(error) => Some(format!("a history could not be recorded: {error}")),
    }
}
