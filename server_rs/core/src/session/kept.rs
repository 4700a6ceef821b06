//! A live session taken apart into what a home keeps of it in rows, and put together again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{decide::MIN_TTL, deletions::Deletions, history::History, log::Log, remembered::Remembered};
use crate::{
    config::Windows,
    session::{Forgotten, Incarnation, Original, RecordKind, SessionId, State, VersionRecord},
    value::Value,
    variable::{MAX_LABELS, Name, Spec, Timestamp, Variable},
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
    /// The time that was lived until then.
    pub last_lived: Timestamp,
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

impl Kept {
    /// No revision and no version that comes from elsewhere is above this, 2^62: as many more fit into what a home counts
    /// with, 63 bits.
    pub const MOST: u64 = 1 << 62;
    /// The end of the year 9999, in microseconds: the last moment that protobuf can write.
    pub const LAST_MOMENT: Timestamp = Timestamp(253_402_300_799_999_999);
    /// 10,000 years of 365.25 days: the longest span that protobuf can write.
    const LONGEST_TTL: Duration = Duration::from_secs(315_576_000_000);

    /// This session as a server could have made it, if it comes from elsewhere: with each value as its spec takes it. Says
    /// what a server could not go on from.
    pub fn of_elsewhere(mut self) -> Result<Self, String> {
        self.check_counts()?;
        self.check_times()?;
        if self.metadata.len() > MAX_LABELS {
            return Err(format!("it has {} labels, and at most {MAX_LABELS} are allowed", self.metadata.len()));
        }
        for (name, spec) in &self.specs {
            spec.validate().map_err(|error| format!("variable {:?}: {error}", &**name))?;
            let newest = self.versions.get_mut(name).and_then(|versions| versions.last_mut());
            if let Some(value) = newest.and_then(|newest| newest.value.as_mut()) {
                *value = spec.accept(name, std::mem::replace(value, Value::Null)).map_err(|error| error.to_string())?;
            }
        }
        Ok(self)
    }

    fn check_counts(&self) -> Result<(), String> {
        let most = Self::MOST;
        if !(1..=most).contains(&self.revision) {
            return Err(format!("its revision is {}; it has to be 1 to {most}", self.revision));
        }
        let Forgotten { revision, version } = self.forgotten;
        if revision > self.revision {
            return Err(format!(
                "it has forgotten a deletion of revision {revision}, and is at revision {}",
                self.revision
            ));
        }
        if version > most {
            return Err(format!("it has forgotten a version {version}; versions go up to {most}"));
        }
        for (name, record) in self.records() {
            if !(1..=most).contains(&record.version) {
                return Err(format!("{name:?} has a version {}; it has to be 1 to {most}", record.version));
            }
            if !(1..=self.revision).contains(&record.revision) {
                let (of, at) = (record.revision, self.revision);
                return Err(format!(
                    "version {} of {name:?} is of revision {of}, and the session is at {at}",
                    record.version
                ));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), String> {
        let late = |time: Timestamp| time > Self::LAST_MOMENT;
        if late(self.created_at) || late(self.last_event) {
            return Err("it began or changed after the year 9999, which no client can read".into());
        }
        if let Some((name, record)) = self.records().find(|(_, record)| late(record.time)) {
            return Err(format!("version {} of {name:?} is from after the year 9999", record.version));
        }
        match self.ttl.filter(|ttl| !(MIN_TTL..=Self::LONGEST_TTL).contains(ttl)) {
            Some(ttl) => Err(format!("its ttl is {} s; it has to be 1 to 315576000000 s, or none", ttl.as_secs_f64())),
            None => Ok(()),
        }
    }

    /// All versions, with the name they are of.
    fn records(&self) -> impl Iterator<Item = (&str, &VersionRecord)> {
        self.versions.iter().flat_map(|(name, records)| records.iter().map(|record| (&**name, record)))
    }
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
            last_lived: kept.last_lived,
            variables: imbl::OrdMap::new(),
            by_revision: imbl::OrdSet::new(),
            value_bytes: 0,
            described_bytes: 0,
            histories: imbl::OrdMap::new(),
            deletions: Deletions::after(kept.forgotten),
            log: Log::unheld(kept.log, windows),
            remembered: Remembered::restore(kept.writes, kept.last_lived, windows),
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
                self.described_bytes += spec.described_len();
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
            last_lived: self.last_lived,
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
