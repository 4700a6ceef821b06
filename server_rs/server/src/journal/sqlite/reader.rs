//! One life of a session, read from its rows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use rusqlite::{Connection, Row, ToSql};

use super::{
    recovery::{Content, Loss},
    rows::{Damage, LifeKey, RowKey, record, signed},
    tail::Tail,
};
use crate::{
    config::Windows,
    journal::record::{Ended, Life},
    session::{Ended as EndedSlot, Event, Kept, Original, Position, RecordKind, Slot, State, VersionRecord, apply},
    variable::{Name, Spec},
};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoroughness {
    /// What a server has to know. Of the event log that is how far it reaches; who asks for its events is told if one
    /// cannot be read.
    Needed,
    /// All there is.
    All,
}

/// Reads one life of a session.
pub(super) struct Reader<'a> {
    pub(super) db: &'a Connection,
    pub(super) life: &'a LifeKey,
    pub(super) thoroughness: Thoroughness,
    /// Where it tells what cannot be read.
    pub(super) losses: &'a mut Vec<Loss>,
}

impl Reader<'_> {
    fn lost(&mut self, problem: String) {
        self.losses.push(Loss { session: Some(self.life.session.to_string()), problem });
    }

    /// What the id stands for, and what the writer has to know of it if it lives.
    pub(super) fn slot(&mut self, folded: u64, content: Content, windows: &Windows) -> (Slot, Option<Tail>) {
        let base = match content {
            Content::Ended(Ended { revision, at, how }) => {
                let position = Position { incarnation: self.life.incarnation, revision };
                return (Slot::Ended(EndedSlot { position, at, how }), None);
            }
            Content::Unfolded => None,
            Content::Folded(life) => Some(life),
        };
        let mut oldest_event = folded + 1;
        let mut slot = base.map_or(Slot::Vacant, |life| self.folded(folded, life, &mut oldest_event, windows));
        let after = self.events(folded, u64::MAX);
        #[cfg(feature = "planted-faults")]
        let after = crate::planted::without_last(self.db, &self.life.session, after);
        let (mut events, mut bytes, mut next) = (0, 0, folded + 1);
        for event in after {
            if event.position.revision != next {
                self.lost(format!("its events from revision {next} on are lost: that one is missing"));
                break;
            }
            slot = apply(&self.life.session, &slot, &event, windows);
            next += 1;
            events += 1;
            bytes += event.encoded_len();
        }
        if let Slot::Live(state) = &mut slot {
            // Its events are in the journal, for who asks.
            if let Some(rested) = state.at_rest() {
                *state = Arc::new(rested);
            }
            let (state, reconcile) = (Arc::clone(state), folded > 0);
            let tail = Tail { state, folded, oldest_event, events, bytes, reconcile, queued: false };
            return (slot, Some(tail));
        }
        self.lost("all of it is lost: it has no events".into());
        (slot, None)
    }

    /// The session at its fold, and the revision of its oldest event.
    fn folded(&mut self, folded: u64, life: Life, oldest_event: &mut u64, windows: &Windows) -> Slot {
        let (mut specs, mut versions) = (self.specs(), self.versions());
        for (name, versions) in &versions {
            let exists = versions.last().is_some_and(|newest| newest.kind != RecordKind::Deleted);
            if exists && !specs.contains_key(name) {
                self.lost(format!("variable {:?} is lost: its spec is missing", &**name));
            }
        }
        versions.retain(|name, versions| {
            specs.contains_key(name) || versions.last().is_some_and(|newest| newest.kind == RecordKind::Deleted)
        });
        let valueless: Vec<Name> = specs
            .keys()
            .filter(|name| versions.get(*name).and_then(|it| it.last()).is_none_or(|it| it.kind == RecordKind::Deleted))
            .cloned()
            .collect();
        for name in valueless {
            self.lost(format!("variable {:?} is lost: its value is missing", &*name));
            specs.remove(&name);
        }
        let (variables, names) = (specs.len() as u64, versions.len() as u64);
        if (variables, names) != (life.variables, life.names) {
            self.lost(format!(
                "it had {} variables and histories of {} names at revision {folded}; {variables} and {names} are left",
                life.variables, life.names
            ));
        }
        let (log, writes) = self.log(folded, &life, windows);
        *oldest_event -= log.len() as u64;
        let kept = Kept {
            incarnation: self.life.incarnation,
            revision: folded,
            created_at: life.created_at,
            ttl: life.ttl,
            metadata: life.metadata,
            last_event: life.last_event,
            forgotten: life.forgotten,
            specs,
            versions,
            writes,
            log,
        };
        match State::restore(&self.life.session, kept, windows) {
            Ok(state) => Slot::Live(Arc::new(state)),
            Err(problem) => {
                self.lost(problem);
                Slot::Vacant
            }
        }
    }

    /// The bytes of each event of the log up to the fold, and the writes that are remembered.
    fn log(&mut self, folded: u64, life: &Life, windows: &Windows) -> (Vec<u32>, Vec<Original>) {
        let mut writes = self.writes();
        let known = (1..=folded).contains(&(life.event_sizes.len() as u64));
        let (sizes, events) = if self.thoroughness == Thoroughness::Needed && known {
            (life.event_sizes.clone(), self.repeatable(folded, life, windows))
        } else {
            let events = self.events(0, folded);
            let events = self.newest_run(folded, life, events);
            (events.iter().map(|event| event.log_size()).collect(), events)
        };
        writes.extend(events.iter().filter_map(|event| Some(Original::of(event, event.idempotency.as_ref()?))));
        (sizes, writes)
    }

    /// The events of the log, up to the fold, whose writes may be repeated.
    fn repeatable(&mut self, folded: u64, life: &Life, windows: &Windows) -> Vec<Arc<Event>> {
        const STEP: u64 = 256;
        let oldest = folded + 1 - life.event_sizes.len() as u64;
        let (mut found, mut end) = (VecDeque::new(), folded);
        loop {
            let begin = end.saturating_sub(STEP).max(oldest - 1);
            let events = self.events(begin, end);
            if end == folded && events.last().is_none_or(|event| event.position.revision != folded) {
                self.lost(format!("its event of revision {folded} is missing, and what came after it may be"));
            }
            let remembered = |event: &Arc<Event>| life.last_event.since(event.time) <= windows.idempotency_age;
            let more = begin >= oldest && events.first().is_some_and(remembered);
            for event in events.into_iter().rev() {
                found.push_front(event);
            }
            if !more || found.len() >= windows.idempotency_writes {
                return found.into();
            }
            end = begin;
        }
    }

    /// The contiguous events up to the fold; watches resume from no others.
    fn newest_run(&mut self, folded: u64, life: &Life, mut log: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        let mut expected = folded;
        let gap = log.iter().rposition(|event| {
            let fits = event.position.revision == expected;
            expected = expected.saturating_sub(1);
            !fits
        });
        if let Some(gap) = gap {
            let kept = log.split_off(gap + 1);
            let first = kept.first().map_or(folded + 1, |event| event.position.revision);
            self.lost(format!("watches cannot resume from before revision {first}: an event is missing"));
            return kept;
        }
        let missing = life.event_sizes.len().saturating_sub(log.len());
        if missing > 0 {
            self.lost(format!("watches cannot resume as far back as they could: {missing} events are missing"));
        }
        log
    }

    /// The events after a revision, up to another.
    fn events(&mut self, after: u64, last: u64) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        let sql = "SELECT revision, body, crc FROM events WHERE session = ?1 AND incarnation = ?2
                   AND revision > ?3 AND revision <= ?4 ORDER BY revision";
        self.rows(sql, &[signed(after), signed(last)], "event", |life, row| {
            let revision: u64 = row.get(0)?;
            let event: Event = record("events", life, RowKey::Number(revision), row, 1)?;
            events.push(Arc::new(event));
            Ok(())
        });
        events
    }

    fn specs(&mut self) -> BTreeMap<Name, Arc<Spec>> {
        let mut specs = BTreeMap::new();
        let sql = "SELECT name, body, crc FROM variables WHERE session = ?1 AND incarnation = ?2 ORDER BY name";
        self.rows(sql, &[], "variable", |life, row| {
            let name = Name::parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?.interned();
            let spec: Spec = record("variables", life, RowKey::Name(&name), row, 1)?;
            specs.insert(name, spec.shared());
            Ok(())
        });
        specs
    }

    fn versions(&mut self) -> BTreeMap<Name, Vec<VersionRecord>> {
        let mut versions: BTreeMap<Name, Vec<VersionRecord>> = BTreeMap::new();
        let sql = "SELECT name, version, body, crc FROM history WHERE session = ?1 AND incarnation = ?2
                   ORDER BY name, version";
        self.rows(sql, &[], "version", |life, row| {
            let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let version = record("history", life, RowKey::Version(name, row.get(1)?), row, 2)?;
            match versions.get_mut(name) {
                Some(versions) => versions.push(version),
                None => drop(versions.insert(Name::parse(name)?.interned(), vec![version])),
            }
            Ok(())
        });
        versions
    }

    /// The writes that are remembered without their events.
    fn writes(&mut self) -> Vec<Original> {
        let mut writes = Vec::new();
        let sql = "SELECT revision, body, crc FROM writes WHERE session = ?1 AND incarnation = ?2 ORDER BY revision";
        self.rows(sql, &[], "write", |life, row| {
            writes.push(record("writes", life, RowKey::Number(row.get(0)?), row, 1)?);
            Ok(())
        });
        writes
    }

    /// Reads the rows of this life that a query selects, as far as they can be read.
    fn rows(
        &mut self,
        sql: &str,
        bounds: &[i64],
        what: &str,
        mut each: impl FnMut(&LifeKey, &Row<'_>) -> Result<(), Damage>,
    ) {
        let life = self.life;
        let session: &str = &life.session;
        let mut parameters: Vec<&dyn ToSql> = vec![&session, &life.incarnation.0];
        parameters.extend(bounds.iter().map(|bound| bound as &dyn ToSql));
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.db.prepare_cached(sql)?;
            let mut rows = statement.query(&parameters[..])?;
            while let Some(row) = rows.next()? {
                if let Err(damage) = each(life, row) {
                    let key: Vec<String> = (0..row.as_ref().column_count() - 2)
                        .filter_map(|column| row.get_ref(column).ok())
                        .map(|key| {
                            key.as_str().map_or_else(
                                |_| key.as_i64().map_or_else(|_| "?".into(), |n| n.to_string()),
                                Into::into,
                            )
                        })
                        .collect();
                    self.losses.push(Loss {
                        session: Some(life.session.to_string()),
                        problem: format!("{what} {} is lost: {damage}", key.join(" ")),
                    });
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            self.lost(format!("one {what} or more cannot be read: {error}"));
        }
    }
}
