//! Names that were deleted, the newest ones: what Sync tells of them, and where their versions go on.

use std::ops::Bound;

use imbl::{OrdMap, OrdSet};

use crate::variable::Name;

#[derive(Clone, Copy, Debug)]
struct Deletion {
    version: u64,
    revision: u64,
}

/// The names that do not exist any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletions {
    by_name: OrdMap<Name, Deletion>,
    by_revision: OrdSet<(u64, Name)>,
    /// The newest revision of a deletion that was forgotten: who knows less may have missed one.
    forgotten: u64,
    /// No name that was forgotten had a version above this.
    version_floor: u64,
}

impl Deletions {
    /// Remembers a deletion. Returns the names that fell out of the window.
    pub(super) fn insert(&mut self, name: &Name, version: u64, revision: u64, window: usize) -> Vec<Name> {
        self.by_name.insert(name.clone(), Deletion { version, revision });
        self.by_revision.insert((revision, name.clone()));
        let mut fallen = Vec::new();
        while self.by_name.len() > window
            && let Some((revision, name)) = self.by_revision.remove_min()
        {
            self.forgotten = revision;
            let version = self.by_name.remove(&name).map_or(0, |deletion| deletion.version);
            self.version_floor = self.version_floor.max(version);
            fallen.push(name);
        }
        fallen
    }

    /// The name exists again.
    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(deletion) = self.by_name.remove(name) {
            self.by_revision.remove(&(deletion.revision, name.clone()));
        }
    }

    /// A version above any that a name which does not exist can have had.
    pub(super) fn next_version(&self, name: &str) -> u64 {
        1 + self.by_name.get(name).map_or(self.version_floor, |deletion| deletion.version)
    }

    /// Whether some deletion after `revision` is no longer remembered.
    pub(super) fn has_forgotten_since(&self, revision: u64) -> bool {
        revision < self.forgotten
    }

    pub(super) fn revision(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|deletion| deletion.revision)
    }

    /// The names deleted after `revision`, oldest deletion first.
    pub(super) fn since(&self, revision: u64) -> impl Iterator<Item = &Name> {
        let after = (revision.saturating_add(1), Name::lowest());
        self.by_revision.range((Bound::Included(after), Bound::Unbounded)).map(|(_, name)| name)
    }
}
