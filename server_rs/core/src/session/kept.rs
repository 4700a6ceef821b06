//! A live session taken apart into what a home keeps of it in rows, and put together again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{deletions::Deletions, history::History, log::Log, remembered::Remembered};
use crate::{
    config::Windows,
    session::{Forgotten, Incarnation, Original, RecordKind, SessionId, State, VersionRecord},
    variable::{Name, Spec, Timestamp, Variable},
};

/// What a home keeps of a live session at one revision.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The life.
    pub incarnation: Incarnation,
    /// The revision.
    pub revision: u64,
    /// When the life began.
    pub created_at: Timestamp,
    /// How long it lives untouched.
    pub ttl: Option<Duration>,
    /// Labels.
    pub metadata: Arc<BTreeMap<String, String>>,
    /// When the newest event happened.
    pub last_event: Timestamp,
    /// What is known of the deletions that are no longer remembered.
    pub forgotten: Forgotten,
    /// What the variables are, apart from their values.
    pub specs: BTreeMap<Name, Arc<Spec>>,
    /// The kept versions of each name, ascending. The newest is the variable, or its deletion.
    pub versions: BTreeMap<Name, Vec<VersionRecord>>,
    /// The writes whose repeats are recognised, oldest first.
    pub writes: Vec<Original>,
    /// The bytes of each of the newest events, a contiguous run up to the revision; may be empty.
    pub log: Vec<u32>,
}

impl State {
    /// The session that was kept, under these windows. Says what is missing if it is not whole.
    pub fn restore(id: &SessionId, mut kept: Kept, windows: &Windows) -> Result<Self, String> {
        let mut state = Self {
            id: id.clone(),
            incarnation: kept.incarnation,
            revision: kept.revision,
            created_at: kept.created_at,
            ttl: kept.ttl,
            metadata: kept.metadata,
            last_event: kept.last_event,
            variables: imbl::OrdMap::new(),
            by_revision: imbl::OrdSet::new(),
            value_bytes: 0,
            histories: imbl::OrdMap::new(),
            deletions: Deletions::after(kept.forgotten),
            log: Log::unheld(kept.log, windows),
            remembered: Remembered::restore(kept.writes, kept.last_event, windows),
        };
        for (name, versions) in kept.versions {
            state.put_back(name, versions, &mut kept.specs, windows)?;
        }
        if let Some(name) = kept.specs.keys().next() {
            return Err(format!("variable {:?} has no value", &**name));
        }
        state.shrink(windows);
        Ok(state)
    }

    fn put_back(
        &mut self,
        name: Name,
        versions: Vec<VersionRecord>,
        specs: &mut BTreeMap<Name, Arc<Spec>>,
        windows: &Windows,
    ) -> Result<(), String> {
        let Some(newest) = versions.last().cloned() else { return Ok(()) };
        let rising = versions.windows(2).all(|pair| pair[0].version < pair[1].version);
        if !rising || newest.revision > self.revision {
            return Err(format!("the versions of {:?} are out of order", &*name));
        }
        let deleted = newest.value.is_none();
        let before = versions.len() - usize::from(!deleted);
        if before > 0 {
            let history = self.histories.entry(name.clone()).or_default();
            versions.into_iter().take(before).for_each(|record| history.push(record));
        }
        match (newest.value, newest.kind) {
            (None, _) | (_, RecordKind::Deleted) => {
                self.trim(&name, None, windows);
                let bytes = self.histories.get(&name).map_or(0, History::bytes);
                self.deletions.insert(&name, newest.version, newest.revision, bytes);
            }
            (Some(value), kind @ (RecordKind::Registered | RecordKind::Set)) => {
                let spec = specs.remove(&name).ok_or_else(|| format!("variable {:?} has no spec", &*name))?;
                self.value_bytes += spec.counted(&value);
                let variable = Arc::new(Variable {
                    name: name.clone(),
                    spec,
                    value,
                    version: newest.version,
                    registered: kind == RecordKind::Registered,
                    revision: newest.revision,
                    updated_at: newest.time,
                    updated_by: newest.author,
                    reason: newest.reason,
                });
                self.by_revision.insert((variable.revision, name.clone()));
                self.trim(&name, Some(&variable), windows);
                self.variables.insert(name, variable);
            }
        }
        Ok(())
    }

    /// What is to be kept of it, without its event log and the repeats it would recognise: those are for clients of
    /// this life.
    pub fn keep(&self) -> Kept {
        let specs = self.variables().map(|variable| (variable.name.clone(), Arc::clone(&variable.spec)));
        let names = self.variables.keys().chain(self.deletions.names());
        let oldest_first = |name: &Name| {
            let mut versions: Vec<_> = self.history(name).into_iter().flatten().collect();
            versions.reverse();
            versions
        };
        Kept {
            incarnation: self.incarnation,
            revision: self.revision,
            created_at: self.created_at,
            ttl: self.ttl,
            metadata: Arc::clone(&self.metadata),
            last_event: self.last_event,
            forgotten: self.forgotten(),
            specs: specs.collect(),
            versions: names.map(|name| (name.clone(), oldest_first(name))).collect(),
            writes: Vec::new(),
            log: Vec::new(),
        }
    }

    /// What is known of the deletions that are no longer remembered.
    pub fn forgotten(&self) -> Forgotten {
        self.deletions.forgotten
    }

    /// Whether after this revision versions were dropped of names that did not change since.
    pub fn has_shrunk_since(&self, revision: u64) -> bool {
        self.deletions.shrunk > revision
    }

    /// How many names have a history.
    pub fn history_count(&self) -> usize {
        self.variables.len() + self.deletions.len()
    }

    /// How many versions of all names are kept.
    pub fn version_count(&self) -> usize {
        self.variables.len() + self.histories.values().map(History::len).sum::<usize>()
    }

    /// The version of the oldest record of a name that is kept.
    pub fn oldest_version(&self, name: &str) -> Option<u64> {
        let oldest = self.histories.get(name).and_then(|history| history.iter().next_back()).map(|it| it.version);
        oldest.or_else(|| self.variable(name).map(|variable| variable.version))
    }

    /// The writes whose repeats are recognised, oldest first.
    pub fn remembered(&self) -> impl Iterator<Item = &Arc<Original>> {
        self.remembered.iter()
    }

    /// The revision of the oldest event in the log; the next revision if it has none.
    pub fn oldest_event(&self) -> u64 {
        self.revision + 1 - self.log.len()
    }

    /// The revision of the oldest event that is held; the next revision if none is.
    pub fn oldest_held(&self) -> u64 {
        self.revision + 1 - self.log.held()
    }

    /// The bytes of each event in the log, oldest first.
    pub fn event_sizes(&self) -> impl Iterator<Item = u32> {
        self.log.sizes()
    }

    /// The same session without the events that its home has; none if it holds none.
    pub fn at_rest(&self) -> Option<Self> {
        let holds = self.log.held() > 0;
        holds.then(|| {
            let mut rest = self.clone();
            rest.log.let_go();
            rest
        })
    }
}
