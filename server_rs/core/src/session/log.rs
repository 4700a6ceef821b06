//! The newest events of a session: what a watch of every change resumes from.

use std::sync::Arc;

use imbl::Vector;

use crate::{config::Windows, session::Event};

/// Why the events asked for are not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// They are no longer kept.
    Compacted {
        /// The oldest revision still kept.
        oldest: u64,
    },
    /// The home has them.
    Unheld,
}

/// A contiguous run of events up to the newest, at least that one; empty in a session that was imported. The newest of
/// them are held here, and what a home can be asked for need not be.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The bytes of each event of the run.
    sizes: Vector<u32>,
    /// Their sum.
    bytes: u64,
    held: Vector<Arc<Event>>,
    held_bytes: u64,
}

impl Log {
    pub(super) fn push(&mut self, event: &Arc<Event>, windows: &Windows) {
        let size = event.log_size();
        self.held.push_back(Arc::clone(event));
        self.held_bytes += u64::from(size);
        self.extend(size, windows);
        while self.held.len() > self.sizes.len()
            || self.held.len() > windows.held_events
            || self.held_bytes > windows.held_bytes
        {
            let Some(event) = self.held.pop_front() else { break };
            self.held_bytes -= u64::from(event.log_size());
        }
    }

    /// A run of events of these sizes, none of them held.
    pub(super) fn unheld(sizes: impl IntoIterator<Item = u32>, windows: &Windows) -> Self {
        let mut log = Self::default();
        sizes.into_iter().for_each(|size| log.extend(size, windows));
        log
    }

    fn extend(&mut self, size: u32, windows: &Windows) {
        self.sizes.push_back(size);
        self.bytes += u64::from(size);
        while self.sizes.len() > 1 && (self.sizes.len() > windows.log_events || self.bytes > windows.log_bytes) {
            self.bytes -= self.sizes.pop_front().map_or(0, u64::from);
        }
    }

    /// Holds none of its events any more.
    pub(super) fn let_go(&mut self) {
        (self.held, self.held_bytes) = (Vector::new(), 0);
    }

    /// How many of its events are held.
    pub(super) fn held(&self) -> u64 {
        self.held.len() as u64
    }

    /// The bytes of each event of the run, oldest first.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u32> {
        self.sizes.iter().copied()
    }

    /// How many events the run has.
    pub(super) fn len(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// The events after a revision; `newest` is the session's.
    pub(super) fn since(
        &self,
        revision: u64,
        newest: u64,
    ) -> Result<impl Iterator<Item = &Arc<Event>> + use<'_>, Behind> {
        // Revisions are dense, so the distance from the newest is the index.
        let wanted = newest.saturating_sub(revision);
        if wanted > self.len() {
            return Err(Behind::Compacted { oldest: newest - self.len() + 1 });
        }
        match self.held.len().checked_sub(usize::try_from(wanted).unwrap_or(usize::MAX)) {
            Some(skipped) => Ok(self.held.focus().narrow(skipped..).into_iter()),
            None => Err(Behind::Unheld),
        }
    }
}
