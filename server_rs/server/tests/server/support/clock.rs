//! A clock that only the test moves.

use std::{sync::mpsc, time::Duration};

/// Time stands still until it is told to move. Tokio would otherwise skip ahead whenever all tasks wait for a socket; a
/// blocking task keeps it from that.
pub struct Frozen {
    _thaw: mpsc::Sender<()>,
}

impl Frozen {
    pub fn clock() -> Self {
        let (thaw, thawed) = mpsc::channel();
        tokio::task::spawn_blocking(move || thawed.recv());
        tokio::time::pause();
        Self { _thaw: thaw }
    }
}

/// Time in which a server lives: it passes in steps. A jump of the clock, as [`pass`] makes one, is a server that was stopped
/// meanwhile: to a ttl next to nothing.
pub async fn live(seconds: u64) {
    for _ in 0..seconds * 5 {
        tokio::time::advance(Duration::from_millis(200)).await;
        // The server's own look at the clock is woken, and comes to it.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

pub async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// So long that timers are sure to fire, which are exact to a millisecond.
pub async fn pass_over(seconds: u64) {
    tokio::time::advance(Duration::from_millis(seconds * 1_000 + 2)).await;
}
