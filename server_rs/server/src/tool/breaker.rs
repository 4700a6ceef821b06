use std::time::Duration;

use snakepit_core::variable::Timestamp;

use super::call::DispatchKey;

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

/// Whether calls of one tool go to one worker. What an attempt comes to counts if it began in the state that the breaker
/// is in: what was sent before it opened says nothing about the worker that it lets single calls through to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures_in_row: u32,
    state: State,
    /// When an attempt last made a difference.
    changed: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Until then; after it, half open.
    Open {
        until: Timestamp,
    },
    /// Single calls as trials: how many went well, and the one that runs.
    HalfOpen {
        successes: u32,
        trial: Option<DispatchKey>,
    },
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
    /// A closed one.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { failures_in_row: 0, state: State::Closed, changed: now }
    }

    pub(crate) fn admits(&self, now: Timestamp) -> Admits {
        match self.state {
            State::Closed | State::HalfOpen { trial: None, .. } => Admits::Yes,
            State::HalfOpen { trial: Some(_), .. } => Admits::Later,
            State::Open { until } if until <= now => Admits::Yes,
            State::Open { .. } => Admits::No,
        }
    }

    /// An attempt goes through. Only after [`Admits::Yes`].
    pub(crate) fn begin(&mut self, attempt: DispatchKey) {
        match &mut self.state {
            State::Closed => {}
            State::Open { .. } => self.state = State::HalfOpen { successes: 0, trial: Some(attempt) },
            State::HalfOpen { trial, .. } => *trial = Some(attempt),
        }
    }

    /// It went well.
    pub(crate) fn succeeded(&mut self, attempt: DispatchKey, policy: &BreakerPolicy, now: Timestamp) {
        if !self.counts(attempt) {
            return;
        }
        self.changed = now;
        self.failures_in_row = 0;
        if let State::HalfOpen { successes, trial } = &mut self.state {
            *trial = None;
            *successes += 1;
            if *successes >= policy.closes_after {
                self.state = State::Closed;
            }
        }
    }

    /// It was lost, took too long, or failed retryably. If that opens the breaker: until when.
    pub(crate) fn failed(&mut self, attempt: DispatchKey, policy: &BreakerPolicy, now: Timestamp) -> Option<Timestamp> {
        if !self.counts(attempt) {
            return None;
        }
        self.changed = now;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        if self.state == State::Closed && self.failures_in_row < policy.opens_after {
            return None;
        }
        let until = now.after(policy.open_for);
        self.state = State::Open { until };
        Some(until)
    }

    /// It ended in a way that says nothing of the worker.
    pub(crate) fn abstained(&mut self, attempt: DispatchKey, now: Timestamp) {
        if let State::HalfOpen { trial, .. } = &mut self.state
            && *trial == Some(attempt)
        {
            *trial = None;
            self.changed = now;
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

    /// When it last changed, if it may be forgotten: nothing waits for its trial or its time.
    pub(crate) fn idle_since(&self, now: Timestamp) -> Option<Timestamp> {
        (self.admits(now) == Admits::Yes).then_some(self.changed)
    }

    /// Whether it matters what an attempt comes to.
    pub(crate) fn counts(&self, attempt: DispatchKey) -> bool {
        match self.state {
            State::Closed => true,
            State::HalfOpen { trial, .. } => trial == Some(attempt),
            State::Open { .. } => false,
        }
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

    fn attempt(number: u64) -> DispatchKey {
        DispatchKey(number)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(at(0));
        let until: Vec<_> = (1..=3)
            .map(|number| {
                assert_eq!(breaker.admits(at(0)), Admits::Yes);
                breaker.begin(attempt(number));
                breaker.failed(attempt(number), &policy(), at(0))
            })
            .collect();
        assert_eq!(until, [None, None, Some(at(30))]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(at(0));
        for number in 0..10 {
            breaker.failed(attempt(number), &policy(), at(0));
            breaker.failed(attempt(number), &policy(), at(0));
            breaker.succeeded(attempt(number), &policy(), at(0));
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        assert_eq!(opened().state(at(10)), BreakerState::Open(Duration::from_secs(20)));
        assert_eq!(opened().admits(at(29)), Admits::No);
    }

    #[test]
    fn after_its_time_single_trials_go_through_and_enough_of_them_close_it() {
        let mut breaker = opened();
        assert_eq!(breaker.admits(at(30)), Admits::Yes);
        breaker.begin(attempt(4));
        assert_eq!(breaker.admits(at(30)), Admits::Later);
        breaker.succeeded(attempt(4), &policy(), at(30));
        assert_eq!((breaker.admits(at(30)), breaker.state(at(30))), (Admits::Yes, BreakerState::HalfOpen));
        breaker.begin(attempt(5));
        breaker.abstained(attempt(5), at(30));
        assert_eq!((breaker.admits(at(30)), breaker.state(at(30))), (Admits::Yes, BreakerState::HalfOpen));
        breaker.begin(attempt(6));
        breaker.succeeded(attempt(6), &policy(), at(30));
        assert_eq!((breaker.state(at(30)), breaker.failures_in_row()), (BreakerState::Closed, 0));
    }

    #[test]
    fn a_failed_trial_opens_it_again_for_the_whole_time() {
        let mut breaker = opened();
        breaker.begin(attempt(4));
        assert_eq!(breaker.failed(attempt(4), &policy(), at(31)), Some(at(61)));
        assert_eq!(breaker.state(at(31)), BreakerState::Open(Duration::from_secs(30)));
    }

    #[test]
    fn attempts_from_before_it_opened_neither_close_it_nor_count_as_its_trials() {
        let mut breaker = opened();
        let before = breaker.clone();
        breaker.succeeded(attempt(1), &policy(), at(10));
        assert_eq!(breaker.failed(attempt(2), &policy(), at(10)), None);
        assert_eq!(breaker, before);
        breaker.begin(attempt(4));
        for _ in 0..2 {
            breaker.succeeded(attempt(1), &policy(), at(31));
            breaker.abstained(attempt(2), at(31));
            assert_eq!(breaker.failed(attempt(3), &policy(), at(31)), None);
        }
        assert_eq!((breaker.admits(at(31)), breaker.state(at(31))), (Admits::Later, BreakerState::HalfOpen));
    }

    #[test]
    fn it_may_be_forgotten_once_nothing_waits_for_it() {
        let mut breaker = opened();
        assert_eq!((breaker.idle_since(at(29)), breaker.idle_since(at(30))), (None, Some(at(0))));
        breaker.begin(attempt(4));
        assert_eq!(breaker.idle_since(at(1_000)), None);
        breaker.succeeded(attempt(4), &policy(), at(40));
        assert_eq!(breaker.idle_since(at(1_000)), Some(at(40)));
    }
}
