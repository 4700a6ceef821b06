use std::time::Duration;

use super::call::CallState;

/// The upper bounds of the latency histogram; a last bucket has the rest.
pub const LATENCY_BOUNDS: [Duration; 15] = [
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// The figures of a tool since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolStats {
    /// Calls accepted.
    pub calls: u64,
    /// Calls that returned.
    pub results: u64,
    /// Calls that failed: the tool said so.
    pub failures: u64,
    /// Calls that took longer than allowed.
    pub deadlines: u64,
    /// Calls that were cancelled, or whose caller was lost.
    pub cancellations: u64,
    /// Calls lost with a worker, or that nobody could run.
    pub unavailable: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Ends that came after the end, and were dropped.
    pub late: u64,
    /// Calls refused before they were accepted.
    pub refused: u64,
    /// How many calls took at most so long, by [`LATENCY_BOUNDS`], and longer than all of them.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// The sum of it.
    pub latency_sum: Duration,
}

impl ToolStats {
    /// Counts a call's end.
    pub(crate) fn ended(&mut self, state: CallState, took: Duration) {
        match state {
            CallState::Result => self.results += 1,
            CallState::Failure => self.failures += 1,
            CallState::Deadline => self.deadlines += 1,
            CallState::Cancelled => self.cancellations += 1,
            CallState::Unavailable => self.unavailable += 1,
            CallState::Queued | CallState::Running => {}
        }
        self.latency[LATENCY_BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.latency_sum += took;
    }

    /// Calls accepted and not ended.
    pub fn in_flight(&self) -> u64 {
        self.calls - (self.results + self.failures + self.deadlines + self.cancellations + self.unavailable)
    }
}
