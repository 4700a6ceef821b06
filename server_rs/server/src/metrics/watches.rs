use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use snakepit_core::variable::Timestamp;

use super::{Label, seconds};

/// What a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The latest state.
    Latest,
    /// Every change.
    Every,
}

/// The watches of a server.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    open: Family<Label, Gauge>,
    lag: Family<Label, Histogram, fn() -> Histogram>,
    messages: Family<[(&'static str, &'static str); 2], Counter>,
    latest: OfMode,
    every: OfMode,
}

/// Those of one mode.
#[derive(Clone, Debug)]
struct OfMode {
    open: Gauge,
    lag: Histogram,
    changes: Counter,
    heartbeats: Counter,
}

impl Default for WatchMetrics {
    fn default() -> Self {
        let (open, messages) = (Family::<Label, Gauge>::default(), Family::<_, Counter>::default());
        let lag = Family::new_with_constructor(seconds as fn() -> Histogram);
        let of = |mode| OfMode {
            open: open.get_or_create_owned(&[("mode", mode)]),
            lag: lag.get_or_create_owned(&[("mode", mode)]),
            changes: messages.get_or_create_owned(&[("mode", mode), ("message", "change")]),
            heartbeats: messages.get_or_create_owned(&[("mode", mode), ("message", "heartbeat")]),
        };
        Self { latest: of("latest"), every: of("every"), open, lag, messages }
    }
}

impl WatchMetrics {
    /// A watch of a session that is at this revision begins; it ends when this is dropped.
    pub(crate) fn open(&self, mode: Mode, revision: u64) -> OpenWatch {
        let of = match mode {
            Mode::Latest => &self.latest,
            Mode::Every => &self.every,
        };
        of.open.inc();
        OpenWatch { of: of.clone(), opened: revision, newest: None }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("watches", "Watches that are open", self.open.clone());
        registry.register_with_unit(
            "watch_lag",
            "From the decision of the newest change in a message until the message was handed to the stream; what a \
             watch is told of the time before it began does not count",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register("watch_messages", "Messages handed to watches' streams", self.messages.clone());
    }
}

/// A watch that is open.
#[derive(Debug)]
pub(crate) struct OpenWatch {
    of: OfMode,
    /// The revision at which it began.
    opened: u64,
    /// When what it tells next happened.
    newest: Option<Timestamp>,
}

impl OpenWatch {
    /// What it tells next is of this revision and time.
    pub(crate) fn about(&mut self, revision: u64, time: Timestamp) {
        self.newest = (revision > self.opened).then_some(time);
    }

    /// A sign of life was told.
    pub(crate) fn told_heartbeat(&self) {
        self.of.heartbeats.inc();
    }

    /// A change, or a part of one of which more parts follow, is told now.
    pub(crate) fn told_change(&mut self, partial: bool, now: Timestamp) {
        self.of.changes.inc();
        if !partial && let Some(time) = self.newest.take() {
            self.of.lag.observe(now.since(time).as_secs_f64());
        }
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.of.open.dec();
    }
}
