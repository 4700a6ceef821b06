//! Names that were deleted, the newest ones: what Sync tells of them, and where their versions go on.

use std::ops::Bound;

use imbl::{OrdMap, OrdSet};

use crate::variable::Name;

#[derive(Clone, Copy, Debug)]
struct Deletion {
    version: u64,
    revision: u64,
    /// The bytes of the name's history.
    bytes: u64,
}

/// What is known of the deletions that are no longer remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The newest revision of one: who knows less may have missed one.
    pub revision: u64,
    /// No such name had a version above this.
    pub version: u64,
}

/// The names that do not exist any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletions {
    by_name: OrdMap<Name, Deletion>,
    by_revision: OrdSet<(u64, Name)>,
    pub(super) forgotten: Forgotten,
    /// The bytes of the histories of all these names.
    bytes: u64,
    /// The histories of the deletions up to this one have been cut.
    cut: Option<(u64, Name)>,
    /// The revision at which a history other than those it changed was last cut or dropped.
    pub(super) shrunk: u64,
}

impl Deletions {
    /// None, after these.
    pub(super) fn after(forgotten: Forgotten) -> Self {
        Self { forgotten, ..Self::default() }
    }

    /// Remembers a deletion, and how many bytes the name's history has.
    pub(super) fn insert(&mut self, name: &Name, version: u64, revision: u64, bytes: u64) {
        self.by_name.insert(name.clone(), Deletion { version, revision, bytes });
        self.by_revision.insert((revision, name.clone()));
        self.bytes += bytes;
    }

    /// Forgets the oldest deletion if there are more than the window holds. Returns its name.
    pub(super) fn forget(&mut self, window: usize) -> Option<Name> {
        if self.by_name.len() <= window {
            return None;
        }
        let (revision, name) = self.by_revision.remove_min()?;
        let forgotten = self.by_name.remove(&name)?;
        self.bytes -= forgotten.bytes;
        self.forgotten = Forgotten { revision, version: self.forgotten.version.max(forgotten.version) };
        Some(name)
    }

    /// The name whose history is to be cut next, if all of them together are too long.
    pub(super) fn next_to_cut(&self, most: u64) -> Option<Name> {
        let after = self.cut.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let oldest = || self.by_revision.range::<_, (u64, Name)>((after, Bound::Unbounded)).next();
        (self.bytes > most).then(oldest).flatten().map(|(_, name)| name.clone())
    }

    /// The history of a name was cut to so many bytes.
    pub(super) fn cut(&mut self, name: &Name, bytes: u64) {
        if let Some(deletion) = self.by_name.get_mut(name) {
            self.bytes = self.bytes - deletion.bytes + bytes;
            deletion.bytes = bytes;
            self.cut = Some((deletion.revision, name.clone()));
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// By name.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    /// The name exists again.
    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(deletion) = self.by_name.remove(name) {
            self.by_revision.remove(&(deletion.revision, name.clone()));
            self.bytes -= deletion.bytes;
        }
    }

    /// A version above any that a name which does not exist can have had.
    pub(super) fn next_version(&self, name: &str) -> u64 {
        1 + self.by_name.get(name).map_or(self.forgotten.version, |deletion| deletion.version)
    }

    /// Whether some deletion after `revision` is no longer remembered.
    pub(super) fn has_forgotten_since(&self, revision: u64) -> bool {
        revision < self.forgotten.revision
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
