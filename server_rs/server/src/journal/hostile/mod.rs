//! What a journal reads that nobody wrote, and what every event has to survive.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod records;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use snakepit_core::{
    config::Windows,
    session::{Event, SessionId, Slot, apply},
    testing::whole,
};

use super::{Append, CommitError, Durability, Home, record::Record as _};

/// A home that keeps the events of a store under test, to look at them afterwards. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness(Arc<Mutex<Vec<Append>>>);

impl Home for Witness {
    fn durability(&self) -> Durability {
        Durability::Ephemeral
    }

    async fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(group);
        Ok(())
    }
}

impl Witness {
    /// Checks that each event is read as it was written, and that replaying what is read gives the session that it gave,
    /// under these windows too. Returns how many events there were.
    pub(crate) fn check(&self, windows: &Windows) -> usize {
        let appends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replayed: HashMap<SessionId, Slot> = HashMap::new();
        for Append { session, event, after } in &*appends {
            let read = Event::decode(&event.encode()).unwrap();
            assert_eq!(read, **event);
            let slot = replayed.entry(session.clone()).or_default();
            *slot = apply(session, slot, &Arc::new(read), windows);
            assert_eq!(slot.position(), after.position());
            match (&*slot, after) {
                (Slot::Live(replayed), Slot::Live(state)) => {
                    assert_eq!(replayed.hash(), state.hash(), "{event:?}");
                    whole::check(replayed);
                    whole::check(state);
                }
                (replayed, after) => assert_eq!(format!("{replayed:?}"), format!("{after:?}")),
            }
        }
        appends.len()
    }
}
