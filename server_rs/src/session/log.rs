//! The newest events of a session: what a watch of every change resumes from.

use std::sync::Arc;

use imbl::Vector;

use crate::{config::Windows, session::Event};

/// The changes asked for are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision still kept.
    pub oldest: u64,
}

/// A contiguous run of events up to the newest, at least that one. Empty in a session that was imported.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    events: Vector<(Arc<Event>, u64)>,
    bytes: u64,
}

impl Log {
    pub(super) fn push(&mut self, event: &Arc<Event>, windows: &Windows) {
        let bytes = event.encoded_len();
        self.events.push_back((Arc::clone(event), bytes));
        self.bytes += bytes;
        while self.events.len() > 1 && (self.events.len() > windows.log_events || self.bytes > windows.log_bytes) {
            self.bytes -= self.events.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The revision of the oldest event.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.events.front().map(|(event, _)| event.position.revision)
    }

    /// The events after a revision; `newest` is the session's.
    pub(super) fn since(
        &self,
        revision: u64,
        newest: u64,
    ) -> Result<impl Iterator<Item = &Arc<Event>> + use<'_>, Compacted> {
        let oldest = self.oldest().unwrap_or(newest.saturating_add(1));
        // Revisions are dense, so the distance is the index.
        match revision.saturating_add(1).checked_sub(oldest) {
            Some(skipped) => {
                let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.events.len());
                Ok(self.events.focus().narrow(skipped..).into_iter().map(|(event, _)| event))
            }
            None => Err(Compacted { oldest }),
        }
    }
}
