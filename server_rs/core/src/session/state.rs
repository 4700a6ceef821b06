//! A live session at one revision.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use imbl::{OrdMap, OrdSet};

use super::{deletions::Deletions, history::History, log::Log, remembered::Remembered};
use crate::{
    session::{Behind, Event, Incarnation, Position, SessionId, VersionRecord},
    value::Value,
    variable::{Name, Timestamp, Variable},
};

/// A live session at one revision. Immutable: the next one shares all that did not change.
#[derive(Clone, Debug)]
pub struct State {
    /// The session's id.
    pub id: SessionId,
    /// The life of that id.
    pub incarnation: Incarnation,
    /// How many events it has had.
    pub revision: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// How long it lives untouched.
    pub ttl: Option<Duration>,
    /// Labels.
    pub metadata: Arc<BTreeMap<String, String>>,
    /// When its newest event happened.
    pub last_event: Timestamp,
    /// The time that was lived until then.
    pub last_lived: Timestamp,
    pub(super) variables: OrdMap<Name, Arc<Variable>>,
    pub(super) by_revision: OrdSet<(u64, Name)>,
    pub(super) value_bytes: u64,
    /// The bytes of what was said of the variables: [`Spec::described_len`].
    ///
    /// [`Spec::described_len`]: crate::variable::Spec::described_len
    pub(super) described_bytes: u64,
    pub(super) histories: OrdMap<Name, History>,
    pub(super) deletions: Deletions,
    pub(super) log: Log,
    pub(super) remembered: Remembered,
}

impl State {
    /// Where it is.
    pub fn position(&self) -> Position {
        Position { incarnation: self.incarnation, revision: self.revision }
    }

    /// How many variables it has.
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// The bytes that all current values count for.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// What the limit `session_value_bytes` counts: the current values, what was said of the variables, and the session's
    /// own labels. Descriptions and labels stay on the disk as long as values do.
    pub fn counted_bytes(&self) -> u64 {
        self.value_bytes + self.described_bytes + labels_len(&self.metadata)
    }

    /// How many of its events are held in memory.
    pub fn held_events(&self) -> u64 {
        self.log.held()
    }

    /// The variable of that name.
    pub fn variable(&self, name: &str) -> Option<&Arc<Variable>> {
        self.variables.get(name)
    }

    /// All variables by name.
    pub fn variables(&self) -> impl Iterator<Item = &Arc<Variable>> {
        self.variables.values()
    }

    /// The variables whose names sort after `name`, by name.
    pub fn variables_after(&self, name: &str) -> impl Iterator<Item = &Arc<Variable>> {
        self.variables.range::<_, str>((Bound::Excluded(name), Bound::Unbounded)).map(|(_, variable)| variable)
    }

    /// The kept versions of a name, newest first; none if it was never registered or is no longer remembered.
    pub fn history(&self, name: &str) -> Option<impl Iterator<Item = VersionRecord>> {
        let (newest, before) = (self.variable(name), self.histories.get(name));
        if newest.is_none() && before.is_none() {
            return None;
        }
        let newest = newest.map(|variable| VersionRecord::from(&**variable));
        Some(newest.into_iter().chain(before.into_iter().flat_map(History::iter).cloned()))
    }

    /// The events after a revision, in order; nothing at or above the current one. Those that are not held are to be
    /// asked of the home.
    pub fn log_since(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>, Behind> {
        self.log.since(revision, self.revision)
    }

    /// Up to three existing names like this one, nearest first.
    pub fn closest(&self, name: &str) -> Vec<String> {
        Name::closest(name, self.variables.keys())
    }

    /// The value of a version that is kept, and whether it is a secret's.
    pub(super) fn value_at(&self, name: &str, version: u64) -> Option<(&Value, bool)> {
        match self.variable(name) {
            Some(variable) if variable.version == version => Some((&variable.value, variable.spec.secret)),
            Some(_) | None => self.histories.get(name)?.value_at(version),
        }
    }

    /// Whether the newest version of a name that exists no more was a secret's.
    pub(super) fn was_secret(&self, name: &str) -> bool {
        self.histories.get(name).and_then(|history| history.iter().next()).is_some_and(|record| record.secret)
    }

    /// The version that the next change of a name makes, whether it exists, once did, or never.
    pub(super) fn next_version(&self, name: &str) -> u64 {
        self.variable(name).map_or_else(|| self.deletions.next_version(name), |variable| variable.version + 1)
    }
}

/// The bytes of a session's labels.
pub(super) fn labels_len(metadata: &BTreeMap<String, String>) -> u64 {
    metadata.iter().map(|(key, value)| (key.len() + value.len() + 6) as u64).sum()
}
