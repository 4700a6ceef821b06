//! What the writer knows of a session.

use std::sync::Arc;

use crate::{config::Upkeep, session::State};

/// What is known of a live session: its newest durable state, and up to where it is folded.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) state: Arc<State>,
    pub(super) folded: u64,
    /// The revision of its oldest event that is kept.
    pub(super) oldest_event: u64,
    /// The events after the fold, and their bytes.
    pub(super) events: usize,
    pub(super) bytes: u64,
    /// Whether the next fold has to look at every row.
    pub(super) reconcile: bool,
    /// Whether it waits to be folded.
    pub(super) queued: bool,
}

impl Tail {
    /// A session whose newest state is in rows.
    pub(super) fn folded(state: Arc<State>) -> Self {
        let (folded, oldest_event) = (state.revision, state.oldest_event());
        Self { state, folded, oldest_event, events: 0, bytes: 0, reconcile: false, queued: false }
    }

    /// A session whose life begins with this event.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, folded: 0, oldest_event: 1, events: 0, bytes: 0, reconcile: false, queued: false }
    }

    /// Whether it is to be folded.
    pub(super) fn is_due(&self, upkeep: &Upkeep) -> bool {
        self.events >= upkeep.fold_events || self.bytes >= upkeep.fold_bytes
    }
}
