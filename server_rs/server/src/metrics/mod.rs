//! What is counted while the server works. No label here is a caller's own word: not a session, a variable, a tool, a
//! token, a value. docs/adr/0014 says why, and docs/metrics.md what each figure is.
//!
//! What can be looked up when somebody asks is not kept here: `server/monitoring` does.

mod journal;
mod rpcs;
mod watches;
mod writes;

use prometheus_client::metrics::histogram::Histogram;

pub use journal::HomeMetrics;
pub(crate) use journal::JournalMetrics;
pub(crate) use rpcs::{Rpc, RpcMetrics};
pub(crate) use watches::{Mode, OpenWatch, WatchMetrics};
pub(crate) use writes::{Fate, Tally, WriteMetrics};

/// What is counted of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) rpcs: RpcMetrics,
    pub(crate) watches: WatchMetrics,
}

/// One label.
type Label = [(&'static str, &'static str); 1];

/// From half of what an answer from memory takes to the default deadline of a client.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}
