use std::time::{SystemTime, UNIX_EPOCH};

use snakepit_core::variable::Timestamp;
use tokio::time::Instant;

/// The wall clock as it was at the start, carried on by the monotonic one: it never jumps back, and it stands still
/// while tokio's clock is paused.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock once.
    pub fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Timestamp::default().after(since_1970), started: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.wall.after(self.started.elapsed())
    }
}
