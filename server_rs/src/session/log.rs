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

/// A contiguous run of events up to the newest, at least that one.
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

    pub(super) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>, Compacted> {
        let oldest = self.events.front().map_or(0, |(event, _)| event.position.revision);
        // Revisions are dense, so the distance is the index.
        match (revision + 1).checked_sub(oldest) {
            Some(skipped) => {
                let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.events.len());
                Ok(self.events.focus().narrow(skipped..).into_iter().map(|(event, _)| event))
            }
            None => Err(Compacted { oldest }),
        }
    }
}
