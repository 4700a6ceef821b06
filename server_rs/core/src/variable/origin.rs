//! Where a change came from: who made it, and when.

use std::{sync::Arc, time::Duration};

/// Who changed something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// The principal's name, or what the client claimed.
    pub name: Arc<str>,
    /// Whether the server knows it to be true.
    pub verified: bool,
}

/// Microseconds since 1970, UTC. Of time that was lived: microseconds that count only while a server ran, from the moment
/// on at which the first of them began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; nothing if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This much later; the end of time if that is not representable.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}
