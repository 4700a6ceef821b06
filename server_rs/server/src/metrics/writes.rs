use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use snakepit_core::session::{Action, Body, Operation, Outcome};

use super::Label;

/// The kinds of operations, as they are labelled.
const KINDS: [&str; 6] = ["register", "set", "increment", "append", "delete", "rollback"];

/// How many operations of each kind changed something in a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([u32; KINDS.len()]);

impl Tally {
    pub(crate) fn of(operations: &[Operation], outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for (operation, _) in operations.iter().zip(outcomes).filter(|(_, outcome)| outcome.changed) {
            let kind = match operation.action {
                Action::Register { .. } => 0,
                Action::Set(_) => 1,
                Action::Increment(_) => 2,
                Action::Append(_) => 3,
                Action::Delete => 4,
                Action::Rollback { .. } => 5,
            };
            tally.0[kind] += 1;
        }
        tally
    }
}

/// What became of a write that was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All of it was so already.
    Unchanged,
    /// It was a repeat of one that is known.
    Repeated,
    /// A check refused it.
    Refused,
    /// The journal did not take it, for certain.
    NotApplied,
    /// The journal failed, and nobody knows.
    Unknown,
}

/// What becomes of writes, and of sessions.
#[derive(Clone, Debug)]
pub(crate) struct WriteMetrics {
    writes: Family<Label, Counter>,
    committed: Counter,
    fates: [(Fate, Counter); 5],
    operations: Family<Label, Counter>,
    kinds: [Counter; KINDS.len()],
    begun: Counter,
    ended: Family<Label, Counter>,
    deleted: Counter,
    expired: Counter,
}

impl Default for WriteMetrics {
    fn default() -> Self {
        let (writes, operations, ended) = Default::default();
        let of = |family: &Family<Label, Counter>, label, value| family.get_or_create_owned(&[(label, value)]);
        let outcome = |outcome| of(&writes, "outcome", outcome);
        let fate = |fate, name| (fate, outcome(name));
        Self {
            committed: outcome("committed"),
            fates: [
                fate(Fate::Unchanged, "unchanged"),
                fate(Fate::Repeated, "repeated"),
                fate(Fate::Refused, "refused"),
                fate(Fate::NotApplied, "not_applied"),
                fate(Fate::Unknown, "unknown"),
            ],
            kinds: KINDS.map(|kind| of(&operations, "operation", kind)),
            begun: Counter::default(),
            deleted: of(&ended, "how", "deleted"),
            expired: of(&ended, "how", "expired"),
            writes,
            operations,
            ended,
        }
    }
}

impl WriteMetrics {
    /// An event is durable.
    pub(crate) fn committed(&self, body: &Body, tally: Tally) {
        match body {
            Body::Created { .. } => drop(self.begun.inc()),
            Body::Written(_) => {
                self.committed.inc();
                for (kind, count) in self.kinds.iter().zip(tally.0).filter(|(_, count)| *count > 0) {
                    kind.inc_by(count.into());
                }
            }
            Body::Deleted => drop(self.deleted.inc()),
            Body::Expired => drop(self.expired.inc()),
        }
    }

    /// A write was not committed.
    pub(crate) fn ended(&self, fate: Fate) {
        if let Some((_, counter)) = self.fates.iter().find(|(known, _)| *known == fate) {
            counter.inc();
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("writes", "Writes, by what became of them", self.writes.clone());
        registry.register(
            "write_operations",
            "Operations of committed writes that changed something, by kind",
            self.operations.clone(),
        );
        registry.register("sessions_begun", "Sessions that began", self.begun.clone());
        registry.register("sessions_ended", "Sessions that ended, by how", self.ended.clone());
    }
}
