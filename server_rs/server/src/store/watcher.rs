use std::sync::Arc;

use snakepit_core::{
    error::Error,
    session::{End, Event, Incarnation, Slot, State},
};
use snakepit_proto::Refusal;
use tokio::sync::watch;

use super::{Clock, Handle, handle::Published};
use crate::journal::Events;

/// Follows one life of a session. Costs a cursor: it holds no change back and slows no writer.
pub struct Watcher {
    handle: Arc<Handle>,
    published: watch::Receiver<Published>,
    incarnation: Incarnation,
    events: Option<Arc<dyn Events>>,
    clock: Clock,
}

impl Watcher {
    pub(super) fn open(
        handle: Arc<Handle>,
        state: &State,
        events: Option<Arc<dyn Events>>,
        most: u64,
        clock: Clock,
    ) -> Result<Self, Refusal> {
        let refuse = |error| Refusal { error, position: Some(state.position()), operation: None };
        match handle.enter_watch(most, clock.lived()) {
            Ok(true) => {}
            Ok(false) => return Err(refuse(Error::SessionExpired { session: handle.id().shared() })),
            Err(max) => return Err(refuse(Error::LimitExceeded { limit: "watchers_per_session", max })),
        }
        let published = handle.subscribe();
        Ok(Self { handle, published, incarnation: state.incarnation, events, clock })
    }

    /// The newest published state, from now on seen; or how the session ended.
    pub fn current(&mut self) -> Result<Arc<State>, Refusal> {
        let published = self.published.borrow_and_update().clone();
        let session = self.handle.id().shared();
        let (error, position) = match published.slot {
            Slot::Live(state) if state.incarnation == self.incarnation => return Ok(state),
            Slot::Live(_) => (Error::SessionExpired { session }, None),
            Slot::Ended(end) => {
                let error = match end.how {
                    End::Expired => Error::SessionExpired { session },
                    End::Deleted => Error::SessionNotFound { session },
                };
                (error, (end.position.incarnation == self.incarnation).then_some(end.position))
            }
            Slot::Vacant => (Error::SessionNotFound { session }, None),
        };
        Err(Refusal { error, position, operation: None })
    }

    /// The next events after a revision, asked of the home: for those that [`State::log_since`] does not hold. None if
    /// the published state is about to say more: what is there no more is so by a group that is not published yet.
    pub async fn events_after(&self, state: &State, revision: u64) -> Result<Vec<Arc<Event>>, Refusal> {
        let Some(events) = self.events.clone() else { return Ok(Vec::new()) };
        let (session, incarnation) = (self.handle.id().clone(), self.incarnation);
        let read = tokio::task::spawn_blocking(move || events.after(&session, incarnation, revision)).await;
        let cause = match read.map(|read| read.map_err(|lost| lost.to_string())) {
            Ok(Ok(mut events)) => {
                // What is committed may not be published yet, and then nobody may see it.
                events.retain(|event| event.position.revision <= state.revision);
                return match events.first().map(|event| event.position.revision) {
                    Some(oldest) if oldest > revision.saturating_add(1) => Err(compacted(state, oldest)),
                    Some(_) | None => Ok(events),
                };
            }
            Ok(Err(cause)) => cause,
            Err(ended) => ended.to_string(),
        };
        tracing::error!(%cause, "changes are lost to watches that resume; `snakepit data check` tells what else is");
        Err(compacted(state, state.oldest_held()))
    }

    /// Waits until there is something newer than [`Watcher::current`] last saw. Cancel safe.
    pub async fn changed(&mut self) {
        if self.published.changed().await.is_err() {
            // The handle is ours: its sender cannot be gone.
            std::future::pending::<()>().await;
        }
    }
}

fn compacted(state: &State, oldest: u64) -> Refusal {
    Refusal { error: Error::Compacted { oldest }, position: Some(state.position()), operation: None }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.handle.leave_watch(self.clock.lived());
    }
}
