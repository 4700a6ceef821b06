//! How much happened, for the figures in the end.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    faults::Faults,
    history::{Answer, Asked, End, History, Said},
};

#[derive(Debug, Default)]
pub struct Tally {
    histories: AtomicU64,
    acknowledged: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    reads: AtomicU64,
    revisions: AtomicU64,
    /// Writes that were sent more than once.
    repeats: AtomicU64,
    watches: AtomicU64,
    resumed: AtomicU64,
    changes: AtomicU64,
    states: AtomicU64,
    heartbeats: AtomicU64,
    /// The most revisions that a watch was behind what somebody else knew.
    lag: AtomicU64,
}

fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Tally {
    pub fn histories(&self) -> u64 {
        self.histories.load(Ordering::Relaxed)
    }

    pub fn count(&self, history: &History) {
        add(&self.histories, 1);
        add(&self.revisions, usize::try_from(history.last).unwrap_or_default());
        let mut known = Vec::new();
        let mut sent = std::collections::BTreeSet::new();
        for call in &history.calls {
            if let Asked::Write(write) = &call.asked {
                add(&self.repeats, usize::from(!sent.insert(&write.tag)));
            }
            let counter = match &call.told {
                Answer::At { said: Said::Written(outcomes), .. } if outcomes.iter().any(|it| it.changed) => {
                    &self.acknowledged
                }
                Answer::At { said: Said::Written(_), .. } => &self.unchanged,
                Answer::At { said: Said::Refused(_), .. } => &self.refused,
                Answer::At { .. } => &self.reads,
                Answer::Unknown(_) | Answer::NotApplied(_) => &self.unknown,
            };
            add(counter, 1);
            if let Answer::At { revision, .. } = call.told {
                known.push((call.ended, revision));
            }
        }
        known.sort_unstable();
        add(&self.watches, history.watches.len());
        for stream in history.watches.iter().flat_map(|watch| &watch.streams) {
            add(&self.resumed, usize::from(matches!(stream.end, End::Lost)));
            for message in &stream.messages {
                let counter = if message.is_heartbeat() {
                    &self.heartbeats
                } else if message.changes().is_some() {
                    &self.changes
                } else {
                    &self.states
                };
                add(counter, 1);
                let before = known.partition_point(|(at, _)| *at < message.at);
                let newest = known[..before].iter().map(|(_, revision)| *revision).next_back().unwrap_or_default();
                // The log is read from its beginning in the end; that is no lag.
                if stream.known != 1 {
                    self.lag.fetch_max(newest.saturating_sub(message.revision()), Ordering::Relaxed);
                }
            }
        }
    }

    /// The figures, in some lines.
    pub fn summary(&self, faults: &Faults) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} histories of 8 clients, {} revisions\n  \
             faults: {} kills, {} graceful restarts, {} pauses, {} connections cut, {} of them in an answer, {} stalled\n  \
             writes: {} acknowledged, {} without effect, {} calls refused, {} calls without an answer, {} sent again; {} reads\n  \
             watches: {}, {} times interrupted; {} revisions, {} states, {} heartbeats validated; at most {} behind",
            of(&self.histories),
            of(&self.revisions),
            of(&faults.crashes),
            of(&faults.restarts),
            of(&faults.pauses),
            of(&faults.cut) + of(&faults.torn),
            of(&faults.torn),
            of(&faults.stalled),
            of(&self.acknowledged),
            of(&self.unchanged),
            of(&self.refused),
            of(&self.unknown),
            of(&self.repeats),
            of(&self.reads),
            of(&self.watches),
            of(&self.resumed),
            of(&self.changes),
            of(&self.states),
            of(&self.heartbeats),
            of(&self.lag),
        )
    }
}
