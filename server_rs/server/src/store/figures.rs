use snakepit_core::session::Slot;

use super::{Handle, Store};

/// How much there is at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Live sessions.
    pub(crate) sessions: u64,
    /// How many there may be.
    pub(crate) sessions_max: u64,
    /// Their variables.
    pub(crate) variables: u64,
    /// The encoded bytes of their current values.
    pub(crate) value_bytes: u64,
    /// Events that are held in memory.
    pub(crate) events: u64,
    /// Events that wait for the journal, or have a place to.
    pub(crate) queued: u64,
}

impl Store {
    /// Counts. Takes time in the number of sessions, and holds nobody up meanwhile.
    pub(crate) fn figures(&self) -> Figures {
        let handles: Vec<_> = self.0.sessions.read().values().cloned().collect();
        let (sessions_max, queued) = (self.0.limits.sessions, self.0.journal.queued() as u64);
        let mut figures = Figures { sessions_max, queued, ..Figures::default() };
        for handle in handles {
            handle.add_to(&mut figures);
        }
        figures
    }
}

impl Handle {
    fn add_to(&self, figures: &mut Figures) {
        if let Slot::Live(state) = self.published().slot {
            figures.sessions += 1;
            figures.variables += state.len() as u64;
            figures.value_bytes += state.value_bytes();
            figures.events += state.held_events();
        }
    }
}
