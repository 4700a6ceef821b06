//! The newest versions of one name, kept apart from the event log: they survive a deletion.

use std::sync::Arc;

use imbl::Vector;

use crate::{
    config::Windows,
    value::{Value, in_steps},
    variable::{Author, Timestamp, Variable},
};

/// One version of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// The version.
    pub version: u64,
    /// The session's revision that made it.
    pub revision: u64,
    /// What made it.
    pub kind: RecordKind,
    /// The value; none for a deletion.
    pub value: Option<Value>,
    /// Whether the variable was secret then. It may have become secret since.
    pub secret: bool,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub author: Author,
    /// Why.
    pub reason: Arc<str>,
}

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// It was declared, or declared anew.
    Registered,
    /// It was given a value.
    Set,
    /// It was deleted.
    Deleted,
}

impl VersionRecord {
    fn bytes(&self) -> u64 {
        let text = self.author.name.len() + self.reason.len() + 32;
        let value = self.value.as_ref().map_or(0, Value::encoded_len);
        let value = if self.secret { in_steps(value) } else { value };
        value + text as u64
    }
}

impl From<&Variable> for VersionRecord {
    fn from(variable: &Variable) -> Self {
        Self {
            version: variable.version,
            revision: variable.revision,
            kind: if variable.registered { RecordKind::Registered } else { RecordKind::Set },
            value: Some(variable.value.clone()),
            secret: variable.spec.secret,
            time: variable.updated_at,
            author: variable.updated_by.clone(),
            reason: Arc::clone(&variable.reason),
        }
    }
}

/// The versions of a name before the one that its variable is; of a deleted name all, the deletion among them. A name
/// has one only if there are such versions.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    versions: Vector<Arc<VersionRecord>>,
    bytes: u64,
}

impl History {
    pub(super) fn push(&mut self, record: VersionRecord) {
        self.bytes += record.bytes();
        self.versions.push_back(Arc::new(record));
    }

    /// Drops the oldest versions beyond the windows, which count the variable too. Of a deleted name the deletion stays.
    pub(super) fn trim(&mut self, variable: Option<&Variable>, windows: &Windows) {
        let newest = variable.map_or(0, |variable| VersionRecord::from(variable).bytes());
        let (more, least) = if variable.is_some() { (1, 0) } else { (0, 1) };
        while self.versions.len() > least
            && (self.versions.len() + more > windows.history_versions || self.bytes + newest > windows.history_bytes)
        {
            self.bytes -= self.versions.pop_front().map_or(0, |record| record.bytes());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    /// Newest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &VersionRecord> {
        self.versions.iter().rev().map(|record| &**record)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps the newest version only.
    pub(super) fn cut(&mut self) {
        self.versions = self.versions.last().cloned().into_iter().collect();
        self.bytes = self.versions.iter().map(|record| record.bytes()).sum();
    }

    /// The value of a version that is kept, and whether it is a secret's.
    pub(super) fn value_at(&self, version: u64) -> Option<(&Value, bool)> {
        let index = self.versions.binary_search_by_key(&version, |record| record.version).ok()?;
        let record = self.versions.get(index)?;
        Some((record.value.as_ref()?, record.secret))
    }
}
