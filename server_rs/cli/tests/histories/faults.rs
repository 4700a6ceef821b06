//! What goes wrong while histories happen.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::watch, task::block_in_place};

use crate::{board::Board, links::Up, proxy::Proxy, server::Server};

/// How often each thing went wrong.
#[derive(Debug, Default)]
pub struct Faults {
    pub crashes: AtomicU64,
    pub restarts: AtomicU64,
    pub pauses: AtomicU64,
    pub cut: AtomicU64,
    /// Those that were cut in the middle of an answer.
    pub torn: AtomicU64,
    pub stalled: AtomicU64,
}

/// Breaks things until told to stop. Leaves a server that runs.
pub async fn cause(
    server: &mut Server,
    proxy: &Proxy,
    up: &watch::Sender<Up>,
    seed: u64,
    stop: &AtomicBool,
    faults: &Faults,
    board: &Board,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = |counter: &AtomicU64, by: u64| {
        counter.fetch_add(by, Ordering::Relaxed);
    };
    let mut before = board.calls();
    let millis = |random: &mut fastrand::Rng, range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
    loop {
        before = quiet(board, before + random.u64(100..1_100)).await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        server.check();
        match random.u8(0..10) {
            0..=2 => {
                away(up, || server.crash());
                count(&faults.crashes, 1);
            }
            3 => {
                away(up, || server.restart());
                count(&faults.restarts, 1);
            }
            4..=5 => {
                server.signal("-STOP");
                tokio::time::sleep(millis(&mut random, 10..250)).await;
                server.signal("-CONT");
                count(&faults.pauses, 1);
            }
            6..=7 => count(&faults.cut, proxy.cut(&mut random, 0.3)),
            _ => {
                let time = millis(&mut random, 10..250);
                count(&faults.stalled, proxy.stall(&mut random, 0.3, time).await);
            }
        }
    }
}

/// Waits until there have been so many calls, or there are no more; so a slow machine sees as much go wrong as a fast one.
async fn quiet(board: &Board, until: u64) -> u64 {
    loop {
        let before = board.calls();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if board.calls() >= until {
                return until;
            }
        }
        if board.calls() == before {
            return before;
        }
    }
}

/// While the server is away, clients wait for it rather than wear out their tries.
fn away(up: &watch::Sender<Up>, end_and_start: impl FnOnce()) {
    up.send_modify(|up| up.is = false);
    block_in_place(end_and_start);
    up.send_modify(|up| *up = Up { starts: up.starts + 1, is: true });
}
