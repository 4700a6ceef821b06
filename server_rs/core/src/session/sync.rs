//! What changed since a revision.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use crate::{
    session::{Filter, State},
    variable::{Name, Variable},
};

/// Up to this many changes are looked up among the names rather than the other way round.
const FEW: usize = 8;

/// What changed since a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Whether this is everything: drop what is not listed.
    pub full: bool,
    /// Variables that changed and exist.
    pub changed: Vec<Arc<Variable>>,
    /// Names that do not exist.
    pub absent: Vec<String>,
}

impl State {
    /// What changed among `names` since the revision `known`, and `new_names` whether they changed or not. Full if
    /// nothing is known, if a deletion since then may have been forgotten, or if `known` lies in the future. Does not look
    /// at the names if there is nothing new.
    pub fn sync(&self, known: Option<u64>, names: &[&str], new_names: &[&str]) -> Sync {
        let Some(known) = self.known(known) else {
            return self.all_of(names.iter().chain(new_names).copied().collect(), true);
        };
        let mut sync = self.all_of(new_names.iter().copied().collect(), false);
        if known == self.revision {
            return sync;
        }
        let news = |name: &Name| names.contains(&&**name) && !new_names.contains(&&**name);
        if self.touched_since(known).nth(FEW).is_none() {
            sync.changed.extend(self.changed_since(known).filter(|variable| news(&variable.name)).cloned());
            sync.absent.extend(self.deletions.since(known).filter(|name| news(name)).map(ToString::to_string));
            return sync;
        }
        let new_names: BTreeSet<&str> = new_names.iter().copied().collect();
        for name in names.iter().copied().filter(|name| !new_names.contains(name)).collect::<BTreeSet<_>>() {
            match self.variable(name) {
                Some(variable) if variable.revision > known => sync.changed.push(Arc::clone(variable)),
                None if self.deletions.revision(name) > Some(known) => sync.absent.push(name.to_owned()),
                Some(_) | None => (),
            }
        }
        sync
    }

    /// The same for all that the filter lets through; costs as much as there are changes. If full, the names of the
    /// filter that do not exist are absent.
    pub fn sync_matching(&self, known: Option<u64>, filter: &Filter) -> Sync {
        let Some(known) = self.known(known) else {
            let mut sync = self.all_of(filter.names().collect(), true);
            if !filter.is_names_only() {
                sync.changed = self.variables().filter(|variable| filter.matches(&variable.name)).cloned().collect();
            }
            return sync;
        };
        let changed = self.changed_since(known).filter(|variable| filter.matches(&variable.name)).cloned().collect();
        let gone = self.deletions.since(known).filter(|name| filter.matches(name));
        Sync { full: false, changed, absent: gone.map(ToString::to_string).collect() }
    }

    /// The revision from which changes can be told.
    fn known(&self, known: Option<u64>) -> Option<u64> {
        known.filter(|known| *known <= self.revision && !self.deletions.has_forgotten_since(*known))
    }

    fn all_of(&self, names: BTreeSet<&str>, full: bool) -> Sync {
        let mut sync = Sync { full, ..Sync::default() };
        for name in names {
            match self.variable(name) {
                Some(variable) => sync.changed.push(Arc::clone(variable)),
                None => sync.absent.push(name.to_owned()),
            }
        }
        sync
    }

    /// The variables changed after `revision` that exist, oldest change first.
    fn changed_since(&self, revision: u64) -> impl Iterator<Item = &Arc<Variable>> {
        let after = (revision.saturating_add(1), Name::lowest());
        let newer = self.by_revision.range((Bound::Included(after), Bound::Unbounded));
        newer.filter_map(|(_, name)| self.variable(name))
    }

    /// The names changed or deleted after `revision`, as far as deletions are remembered.
    pub fn touched_since(&self, revision: u64) -> impl Iterator<Item = &Name> {
        self.changed_since(revision).map(|variable| &variable.name).chain(self.deletions.since(revision))
    }
}
