use std::{sync::Arc, time::Duration};

use snakepit_core::variable::Timestamp;

use super::{
    Effect, Registry,
    state::{Call, Dispatch},
};
use crate::tool::{
    breaker::Breaker,
    call::{DispatchKey, Ending, ToolKey},
};

/// A tool without a timeout has to have run this long before its deadline counts against its worker: a hurried caller
/// must not open the breaker for everybody.
const SLOW: Duration = Duration::from_secs(10);

/// What an attempt says of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    Neither,
}

impl Registry {
    /// Notes what an attempt said of the worker of this name. True if that opened the breaker.
    pub(super) fn judge(
        &mut self,
        tool: ToolKey,
        id: &Arc<str>,
        attempt: DispatchKey,
        verdict: Verdict,
        now: Timestamp,
    ) -> bool {
        let Some(entry) = self.tools.get_mut(&tool) else { return false };
        let policy = &self.policy.breaker;
        let known = entry.breakers.get_mut(id);
        match (verdict, known) {
            (Verdict::Good, Some(breaker)) => breaker.succeeded(attempt, policy, now),
            (Verdict::Neither, Some(breaker)) => breaker.abstained(attempt, now),
            (Verdict::Good | Verdict::Neither, None) => {}
            (Verdict::Bad, known) => {
                let mut new = Breaker::new(now);
                let is_new = known.is_none();
                let opened = known.unwrap_or(&mut new).failed(attempt, policy, now);
                if is_new {
                    entry.breakers.insert(Arc::clone(id), new);
                    self.remember_breaker(tool, id, now);
                }
                if let Some(at) = opened {
                    self.effects.push(Effect::Wake { tool, at });
                    return true;
                }
            }
        }
        false
    }

    /// What the way in which a running call is ended from outside says of its worker.
    pub(super) fn verdict_of(call: &Call, dispatch: &Dispatch, ending: &Ending, now: Timestamp) -> Verdict {
        // The call's time begins before its attempt's, and an rpc's own timer is a little early.
        let enough = call.spec.timeout.unwrap_or(SLOW).mul_f64(0.9);
        let ran = call.attempts.last().map_or(Duration::ZERO, |attempt| now.since(attempt.dispatched));
        let waits_for_reader = dispatch.next_chunk > 0 && dispatch.credit == 0;
        let slow = *ending == Ending::Deadline && ran >= enough && !waits_for_reader;
        if slow { Verdict::Bad } else { Verdict::Neither }
    }
}
