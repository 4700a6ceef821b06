//! A breaker as `tool.proto` says it, written down naively.

use snakepit_core::variable::Timestamp;

use crate::tool::{breaker::BreakerPolicy, call::DispatchKey};

/// What has counted for one tool and one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    pub(super) in_row: u32,
    /// Since the first attempt after the pause: the successes, and the attempt that is tried now.
    trials: Option<(u32, Option<DispatchKey>)>,
    open_until: Option<Timestamp>,
    counted: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Closed,
    Open,
    HalfOpen,
}

impl Breaker {
    pub(super) fn seen(&self, now: Timestamp) -> Seen {
        match (self.open_until, &self.trials) {
            (Some(until), _) if now < until => Seen::Open,
            (Some(_), _) | (None, Some(_)) => Seen::HalfOpen,
            (None, None) => Seen::Closed,
        }
    }

    pub(super) fn lets_through(&self, now: Timestamp) -> bool {
        match self.seen(now) {
            Seen::Closed => true,
            Seen::Open => false,
            Seen::HalfOpen => self.trials.is_none_or(|(_, tried)| tried.is_none()),
        }
    }

    pub(super) fn begins(&mut self, attempt: DispatchKey, now: Timestamp) {
        assert!(self.lets_through(now), "{self:?} lets nothing through");
        if self.open_until.take().is_some() {
            self.trials = Some((0, None));
        }
        if let Some((_, tried)) = &mut self.trials {
            *tried = Some(attempt);
        }
    }

    /// What was sent before the breaker opened is none of its trials.
    pub(super) fn concerns(&self, attempt: DispatchKey) -> bool {
        self.open_until.is_none() && self.trials.is_none_or(|(_, tried)| tried == Some(attempt))
    }

    pub(super) fn good(&mut self, attempt: DispatchKey, policy: &BreakerPolicy, now: Timestamp) {
        if self.concerns(attempt) {
            (self.in_row, self.counted) = (0, now);
            let went_well = self.trials.map(|(went_well, _)| went_well + 1);
            self.trials = went_well.filter(|count| *count < policy.closes_after).map(|count| (count, None));
        }
    }

    /// Until when it is open from now on, if it was not before.
    pub(super) fn bad(&mut self, attempt: DispatchKey, policy: &BreakerPolicy, now: Timestamp) -> Option<Timestamp> {
        if !self.concerns(attempt) {
            return None;
        }
        self.in_row += 1;
        self.counted = now;
        if self.trials.take().is_some() || self.in_row >= policy.opens_after {
            self.open_until = Some(now.after(policy.open_for));
        }
        self.open_until
    }

    pub(super) fn neither(&mut self, attempt: DispatchKey, now: Timestamp) {
        if let Some((_, tried)) = &mut self.trials
            && *tried == Some(attempt)
        {
            *tried = None;
            self.counted = now;
        }
    }

    /// Nothing has counted for so long, in seconds, and nothing is awaited.
    pub(super) fn is_idle_for(&self, seconds: u64, now: Timestamp) -> bool {
        self.lets_through(now) && now.since(self.counted).as_secs() >= seconds
    }
}
