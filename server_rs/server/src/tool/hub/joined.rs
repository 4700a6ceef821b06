use snakepit_core::{error::Error, value::Value, variable::Name};

use super::Hub;
use crate::tool::{DispatchKey, Ending, Schema, ToolSpec, call::WorkerKey, registry::Outcome};

/// A worker's place among the others; dropping it is leaving.
pub(crate) struct Joined {
    hub: Hub,
    key: WorkerKey,
    cause: Ending,
}

impl Joined {
    pub(super) fn new(hub: Hub, key: WorkerKey) -> Self {
        let cause = Ending::Unavailable { cause: "the connection to its worker was lost".into() };
        Self { hub, key, cause }
    }

    /// Offers tools: all, or none.
    pub(crate) fn offer(&self, tools: Vec<(ToolSpec, Schema)>) -> Result<(), Vec<(Name, Error)>> {
        self.hub.step(|state, now| state.registry.offer(self.key, tools, now))
    }

    /// Offers them no longer.
    pub(crate) fn withdraw(&self, tools: &[Name]) {
        self.hub.step(|state, now| state.registry.withdraw(self.key, tools, now));
    }

    /// Wants no more calls; is told when it has none.
    pub(crate) fn drain(&self) {
        self.hub.step(|state, now| state.registry.drain(self.key, now));
    }

    /// A call returned or failed.
    pub(crate) fn answered(&self, dispatch: DispatchKey, outcome: Outcome) {
        self.hub.step(|state, now| state.registry.answered(self.key, dispatch, outcome, now));
    }

    /// A call yielded something.
    pub(crate) fn chunk(&self, dispatch: DispatchKey, sequence: u64, value: Value) -> Result<(), Error> {
        self.hub.step(|state, _| state.registry.chunk(self.key, dispatch, sequence, value))
    }

    /// Why its calls fail when it leaves.
    pub(crate) fn leaves_because(&mut self, cause: &str) {
        self.cause = Ending::Unavailable { cause: cause.into() };
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.hub.step(|state, now| {
            state.workers.remove(&self.key);
            state.registry.leave(self.key, &self.cause, now);
        });
    }
}
