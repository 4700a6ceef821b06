//! A live session taken apart into what a home keeps of it in rows, and put together again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{deletions::Deletions, history::History, log::Log, remembered::Remembered};
use crate::{
    config::Windows,
    session::{Event, Forgotten, Incarnation, Original, RecordKind, SessionId, State, VersionRecord},
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
    /// The newest events, a contiguous run up to the revision; may be empty.
    pub log: Vec<Arc<Event>>,
}

impl State {
    /// The session that was kept, under these windows. Says what is missing if it is not whole.
    pub(crate) fn restore(id: &SessionId, mut kept: Kept, windows: &Windows) -> Result<Self, String> {
        let mut log = Log::default();
        kept.log.iter().for_each(|event| log.push(event, windows));
        let mut state = Self {
            id: id.clone(),
            incarnation: kept.incarnation,
            revision: kept.revision,
            created_at: kept.created_at,
            ttl: kept.ttl,
            metadata: kept.metadata,
            last_event: kept.last_event,
            variables: imbl::OrdMap::new(),
            by_revision: imbl::OrdMap::new(),
            value_bytes: 0,
            histories: imbl::OrdMap::new(),
            deletions: Deletions::after(kept.forgotten),
            log,
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
        let history = self.histories.entry(name.clone()).or_default();
        for record in versions {
            history.push(record, windows);
        }
        match (newest.value, newest.kind) {
            (None, _) | (_, RecordKind::Deleted) => {
                let bytes = history.bytes();
                self.deletions.insert(&name, newest.version, newest.revision, bytes);
            }
            (Some(value), RecordKind::Registered | RecordKind::Set) => {
                let spec = specs.remove(&name).ok_or_else(|| format!("variable {:?} has no spec", &*name))?;
                self.value_bytes += value.encoded_len();
                let variable = Arc::new(Variable {
                    name: name.clone(),
                    spec,
                    value,
                    version: newest.version,
                    revision: newest.revision,
                    updated_at: newest.time,
                    updated_by: newest.author,
                    reason: newest.reason,
                });
                self.by_revision.insert((variable.revision, name.clone()), Arc::clone(&variable));
                self.variables.insert(name, variable);
            }
        }
        Ok(())
    }

    /// What is to be kept of it, without its event log and the repeats it would recognise: those are for clients of
    /// this life.
    pub(crate) fn keep(&self) -> Kept {
        let specs = self.variables().map(|variable| (variable.name.clone(), Arc::clone(&variable.spec)));
        let oldest_first = |history: &History| history.iter().rev().cloned().collect();
        Kept {
            incarnation: self.incarnation,
            revision: self.revision,
            created_at: self.created_at,
            ttl: self.ttl,
            metadata: Arc::clone(&self.metadata),
            last_event: self.last_event,
            forgotten: self.forgotten(),
            specs: specs.collect(),
            versions: self.histories.iter().map(|(name, history)| (name.clone(), oldest_first(history))).collect(),
            writes: Vec::new(),
            log: Vec::new(),
        }
    }

    /// What is known of the deletions that are no longer remembered.
    pub(crate) fn forgotten(&self) -> Forgotten {
        self.deletions.forgotten
    }

    /// Whether after this revision versions were dropped of names that did not change since.
    pub(crate) fn has_shrunk_since(&self, revision: u64) -> bool {
        self.deletions.shrunk > revision
    }

    /// How many names have a history.
    pub(crate) fn history_count(&self) -> usize {
        self.histories.len()
    }

    /// How many versions of all names are kept.
    pub(crate) fn version_count(&self) -> usize {
        self.histories.values().map(|history| history.iter().count()).sum()
    }

    /// The version of the oldest record of a name that is kept.
    pub(crate) fn oldest_version(&self, name: &str) -> Option<u64> {
        self.history(name)?.last().map(|record| record.version)
    }

    /// The writes whose repeats are recognised, oldest first.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = &Arc<Original>> {
        self.remembered.iter()
    }

    /// The revision of the oldest event in the log; the next revision if it has none.
    pub(crate) fn oldest_event(&self) -> u64 {
        self.log.oldest().unwrap_or(self.revision + 1)
    }
}
