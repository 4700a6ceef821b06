//! The newest versions of one variable, kept apart from the event log: they survive a deletion.

use std::sync::Arc;

use imbl::Vector;

use crate::{
    config::Windows,
    value::Value,
    variable::{Author, Timestamp},
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
        self.value.as_ref().map_or(0, Value::encoded_len) + text as u64
    }
}

/// A run of versions up to the newest, at least that one.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    versions: Vector<Arc<VersionRecord>>,
    bytes: u64,
}

impl History {
    pub(super) fn push(&mut self, record: VersionRecord, windows: &Windows) {
        self.bytes += record.bytes();
        self.versions.push_back(Arc::new(record));
        while self.versions.len() > 1
            && (self.versions.len() > windows.history_versions || self.bytes > windows.history_bytes)
        {
            self.bytes -= self.versions.pop_front().map_or(0, |record| record.bytes());
        }
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

    /// The value of a version that is kept.
    pub(super) fn value_at(&self, version: u64) -> Option<&Value> {
        let index = self.versions.binary_search_by_key(&version, |record| record.version).ok()?;
        self.versions.get(index)?.value.as_ref()
    }
}
