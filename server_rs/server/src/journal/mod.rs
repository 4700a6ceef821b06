//! Where events become durable: a [`Home`] keeps them, in memory, on disk, in tests. `store::committer` is in front of
//! it, and takes what has queued to it as one group.

mod health;
#[cfg(test)]
pub(crate) mod hostile;
mod memory;
mod record;
pub mod sqlite;
pub mod testing;

use std::{future::Future, sync::Arc};

pub use health::Health;
pub use memory::Memory;

pub use crate::metrics::HomeMetrics;
use snakepit_core::{
    session::{Event, Incarnation, SessionId, Slot, State},
    variable::Timestamp,
};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it ends with the process.
    Ephemeral,
    /// A crash of the machine.
    Disk,
}

/// One event on its way into a home.
#[derive(Clone, Debug)]
pub struct Append {
    /// Whose event it is.
    pub session: SessionId,
    /// What happened. The session's revision before it is one less than the event's own.
    pub event: Arc<Event>,
    /// What the id stands for after it.
    pub after: Slot,
}

/// What a home has kept of one session id.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The id.
    pub session: SessionId,
    /// What it stands for.
    pub slot: Slot,
    /// When the session was last used other than by an event, in time that was lived, as far as that was saved.
    pub touched: Timestamp,
}

impl Recovered {
    /// The time that was lived until the newest of it.
    pub fn lived(&self) -> Timestamp {
        self.touched.max(self.slot.last_lived().unwrap_or_default())
    }
}

/// A use of a session that is no event: it slides the ttl.
#[derive(Clone, Debug)]
pub struct Touch {
    /// Whose.
    pub session: SessionId,
    /// Which life's.
    pub incarnation: Incarnation,
    /// When, in time that was lived.
    pub at: Timestamp,
}

/// The committed events of a home, for those who need more of them than a session holds.
pub trait Events: Send + Sync + 'static {
    /// Events of a life after a revision, in order and without a gap, as many as it likes to give at once; at least one
    /// if there is any. The first is a later one than asked for if those before it are no longer kept. Blocks.
    fn after(
        &self,
        session: &SessionId,
        incarnation: Incarnation,
        revision: u64,
    ) -> Result<Vec<Arc<Event>>, EventsLost>;
}

/// Events that are kept cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct EventsLost {
    /// Why, for people.
    pub cause: String,
}

/// Why a group was not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// None of it was kept, for certain; a later group may succeed. Example: the disk is full.
    NotApplied {
        /// Why, for people.
        cause: String,
    },
    /// It may or may not have been kept, and nothing more can be committed in this process. Example: a failed fsync.
    Unknown {
        /// Why, for people.
        cause: String,
    },
}

/// A place that keeps events.
pub trait Home: Send + 'static {
    /// What a committed group survives.
    fn durability(&self) -> Durability;

    /// What it has kept from before, given once, before the first group.
    fn recovered(&mut self) -> Vec<Recovered> {
        Vec::new()
    }

    /// Where it is told, by this home and by the committer, that nothing can be written.
    fn health(&self) -> Health {
        Health::default()
    }

    /// Where it is counted how this home fares.
    fn metrics(&self) -> HomeMetrics {
        HomeMetrics::default()
    }

    /// Where events can be asked for that a session does not hold; none if sessions have to hold them all.
    fn events(&self) -> Option<Arc<dyn Events>> {
        None
    }

    /// Tells that these states are as good as those of the same revision that were committed, and take less memory.
    fn rest(&mut self, states: Vec<Arc<State>>) {
        drop(states);
    }

    /// Saves when sessions were last used, without anyone waiting for it.
    fn touch(&mut self, touches: Vec<Touch>) {
        drop(touches);
    }

    /// Commits a group, all of it or nothing. Called for one group at a time. When the future resolves to `Ok`, the
    /// group is as durable as [`Home::durability`] says.
    fn commit(&mut self, group: &[Append]) -> impl Future<Output = Result<(), CommitError>> + Send;
}
