use std::sync::Arc;

use tokio::sync::watch;

use super::{Clock, Handle, handle::Published};
use crate::{
    error::{Error, Refusal},
    session::{End, Incarnation, Slot, State},
};

/// Follows one life of a session. Costs a cursor: it holds no change back and slows no writer.
pub struct Watcher {
    handle: Arc<Handle>,
    published: watch::Receiver<Published>,
    incarnation: Incarnation,
    clock: Clock,
}

impl Watcher {
    pub(super) fn open(handle: Arc<Handle>, state: &State, most: u64, clock: Clock) -> Result<Self, Refusal> {
        let refuse = |error| Refusal { error, position: Some(state.position()), operation: None };
        match handle.enter_watch(most, clock.now()) {
            Ok(true) => {}
            Ok(false) => return Err(refuse(Error::SessionExpired { session: handle.id().shared() })),
            Err(max) => return Err(refuse(Error::LimitExceeded { limit: "watchers_per_session", max })),
        }
        let published = handle.subscribe();
        Ok(Self { handle, published, incarnation: state.incarnation, clock })
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

    /// Waits until there is something newer than [`Watcher::current`] last saw. Cancel safe.
    pub async fn changed(&mut self) {
        if self.published.changed().await.is_err() {
            // The handle is ours: its sender cannot be gone.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.handle.leave_watch(self.clock.now());
    }
}
