use snakepit_core::variable::Timestamp;

use super::{Registry, Stage, ToolStats};
use crate::tool::breaker::BreakerState;

/// How much there is at a moment, and what happened since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Connected workers, without the host.
    pub(crate) workers: u64,
    /// Tools that somebody offers.
    pub(crate) tools: u64,
    /// Calls that a worker runs.
    pub(crate) running: u64,
    /// Calls that wait for a worker, or for their next attempt.
    pub(crate) waiting: u64,
    /// Breakers that let no call through, or one at a time.
    pub(crate) breakers: u64,
    /// What happened, over all tools.
    pub(crate) totals: ToolStats,
}

impl Registry {
    /// Counts. Takes time in the number of tools, breakers and calls.
    pub(crate) fn figures(&self, now: Timestamp) -> Figures {
        let is_open = |entry: &super::Entry| {
            let not_closed = entry.breakers.values().filter(|breaker| breaker.state(now) != BreakerState::Closed);
            not_closed.count() as u64
        };
        let running = self.calls.values().filter(|call| matches!(call.stage, Stage::Running(_))).count();
        Figures {
            // The host has no name of its own.
            workers: self.workers.values().filter(|worker| !worker.id.is_empty()).count() as u64,
            tools: self.tools.values().filter(|entry| !entry.offers.is_empty()).count() as u64,
            running: running as u64,
            waiting: (self.calls.len() - running) as u64,
            breakers: self.tools.values().map(is_open).sum(),
            totals: self.totals.clone(),
        }
    }
}
