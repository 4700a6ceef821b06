use std::time::Duration;

use crate::variable::Timestamp;

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Lost connections, timeouts and retryable failures in a row that open it.
    pub opens_after: u32,
    /// How long it stays open before it lets single calls through.
    pub open_for: Duration,
    /// How many of those have to go well to close it.
    pub closes_after: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { opens_after: 5, open_for: Duration::from_secs(30), closes_after: 2 }
    }
}

/// Whether calls of one tool go to one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures_in_row: u32,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// Until then; after it, half open.
    Open { until: Timestamp },
    /// Single calls as trials: how many went well, and whether one runs.
    HalfOpen { successes: u32, trial: bool },
}

/// Whether a call may go through a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admits {
    /// It may.
    Yes,
    /// When the trial that runs has ended.
    Later,
    /// It may not.
    No,
}

/// What people see of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// None do, for so long.
    Open(Duration),
    /// One at a time does.
    HalfOpen,
}

impl Breaker {
    pub(crate) fn admits(&self, now: Timestamp) -> Admits {
        match self.state {
            State::Closed | State::HalfOpen { trial: false, .. } => Admits::Yes,
            State::HalfOpen { trial: true, .. } => Admits::Later,
            State::Open { until } if until <= now => Admits::Yes,
            State::Open { .. } => Admits::No,
        }
    }

    /// A call goes through. Only after [`Admits::Yes`].
    pub(crate) fn begin(&mut self) {
        match &mut self.state {
            State::Closed => {}
            State::Open { .. } => self.state = State::HalfOpen { successes: 0, trial: true },
            State::HalfOpen { trial, .. } => *trial = true,
        }
    }

    /// It went well.
    pub(crate) fn succeeded(&mut self, policy: &BreakerPolicy) {
        self.failures_in_row = 0;
        if let State::HalfOpen { successes, trial } = &mut self.state {
            *trial = false;
            *successes += 1;
            if *successes >= policy.closes_after {
                self.state = State::Closed;
            }
        }
    }

    /// It was lost, took too long, or failed retryably.
    pub(crate) fn failed(&mut self, policy: &BreakerPolicy, now: Timestamp) {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures_in_row >= policy.opens_after,
            State::HalfOpen { .. } => true,
            State::Open { .. } => false,
        };
        if opens {
            self.state = State::Open { until: now.after(policy.open_for) };
        }
    }

    /// It ended in a way that says nothing of the worker.
    pub(crate) fn abstained(&mut self) {
        if let State::HalfOpen { trial, .. } = &mut self.state {
            *trial = false;
        }
    }

    pub(crate) fn failures_in_row(&self) -> u32 {
        self.failures_in_row
    }

    pub(crate) fn state(&self, now: Timestamp) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if until > now => BreakerState::Open(until.since(now)),
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether it is worth remembering.
    pub(crate) fn is_closed(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> BreakerPolicy {
        BreakerPolicy { opens_after: 3, open_for: Duration::from_secs(30), closes_after: 2 }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.admits(at(0)), Admits::Yes);
            breaker.begin();
            breaker.failed(&policy(), at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(&policy(), at(0));
            breaker.failed(&policy(), at(0));
            breaker.succeeded(&policy());
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        assert_eq!(opened().state(at(10)), BreakerState::Open(Duration::from_secs(20)));
        assert_eq!(opened().admits(at(29)), Admits::No);
    }

    #[test]
    fn after_its_time_single_trials_go_through_and_enough_of_them_close_it() {
        let mut breaker = opened();
        assert_eq!(breaker.admits(at(30)), Admits::Yes);
        breaker.begin();
        assert_eq!(breaker.admits(at(30)), Admits::Later);
        breaker.succeeded(&policy());
        assert_eq!((breaker.admits(at(30)), breaker.state(at(30))), (Admits::Yes, BreakerState::HalfOpen));
        breaker.begin();
        breaker.abstained();
        assert_eq!((breaker.admits(at(30)), breaker.state(at(30))), (Admits::Yes, BreakerState::HalfOpen));
        breaker.begin();
        breaker.succeeded(&policy());
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_failed_trial_opens_it_again_for_the_whole_time() {
        let mut breaker = opened();
        breaker.begin();
        breaker.failed(&policy(), at(31));
        assert_eq!(breaker.state(at(31)), BreakerState::Open(Duration::from_secs(30)));
    }
}
