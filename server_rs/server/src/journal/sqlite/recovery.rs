//! From rows and events back to sessions. What cannot be read is told, and the rest is read all the same: whether to go
//! on without it is the caller's to decide.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, types::Value};
use snakepit_core::{
    config::Windows,
    session::{
        Ended as EndedSlot, Event, Incarnation, Kept, Original, Position, RecordKind, SessionId, Slot, State,
        VersionRecord, apply,
    },
    variable::{Name, Spec, Timestamp},
};
use snakepit_fault::injected;

use super::{
    Loss, Thoroughness,
    rows::{Damage, LifeKey, RowKey, record, signed},
    write::Tail,
};
use crate::journal::{
    Recovered,
    record::{Ended, Life, Record, Unreadable},
};

/// All that a journal holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) sessions: Vec<Recovered>,
    pub(super) tails: HashMap<SessionId, Tail>,
    pub(super) litter: VecDeque<LifeKey>,
    pub(super) losses: Vec<Loss>,
}

/// A row of `sessions`.
struct SessionRow {
    life: LifeKey,
    folded: u64,
    content: Content,
}

/// What such a row says.
enum Content {
    /// All there is of the session is its events.
    Unfolded,
    Folded(Life),
    Ended(Ended),
}

/// Reads everything that can be read, or what a server needs of it.
pub(super) fn read(db: &Connection, windows: &Windows, thoroughness: Thoroughness) -> Contents {
    let mut contents = Contents::default();
    if let Err(error) = read_into(db, windows, thoroughness, &mut contents) {
        let problem = format!("what follows cannot be read: {error}");
        contents.losses.push(Loss { session: None, problem });
    }
    let broken = integrity(db);
    if broken.is_empty() {
        let strays = strays(db, thoroughness);
        contents.losses.extend(strays.unwrap_or_else(|error| {
            let problem = format!("whether there are rows that belong to nothing cannot be read: {error}");
            vec![Loss { session: None, problem }]
        }));
    }
    contents.losses.extend(broken);
    contents
}

/// What SQLite finds wrong with the file. A row that is damaged is seen by its checksum; one that is no longer found,
/// because a page leads elsewhere, is not: the newest events of a session leave no gap. The quick check does not see keys
/// that are out of order, as on a page in another's place, and is hardly quicker.
fn integrity(db: &Connection) -> Vec<Loss> {
    let found = || -> rusqlite::Result<Vec<String>> {
        let mut check = db.prepare("PRAGMA integrity_check")?;
        let found = check.query_map([], |row| row.get::<_, String>(0))?;
        found.filter(|line| line.as_deref() != Ok("ok")).collect()
    };
    let problems = found().unwrap_or_else(|error| vec![error.to_string()]);
    problems.into_iter().map(|problem| Loss { session: None, problem: format!("the file: {problem}") }).collect()
}

fn read_into(
    db: &Connection,
    windows: &Windows,
    thoroughness: Thoroughness,
    contents: &mut Contents,
) -> rusqlite::Result<()> {
    let mut litter = db.prepare("SELECT session, incarnation FROM litter")?;
    for row in litter.query_map([], |row| Ok((row.get::<_, String>(0)?, Incarnation(row.get(1)?))))? {
        let (session, incarnation) = row?;
        contents.litter.extend(SessionId::parse(&session).ok().map(|session| LifeKey { session, incarnation }));
    }
    let touched = touches(db).unwrap_or_else(|error| {
        let problem = format!("when sessions were last used cannot be read: {error}");
        contents.losses.push(Loss { session: None, problem });
        HashMap::new()
    });
    let mut sessions =
        db.prepare("SELECT session, incarnation, folded, ended IS NOT NULL, body, crc FROM sessions ORDER BY session")?;
    let mut rows = sessions.query([])?;
    while let Some(row) = rows.next()? {
        match session_row(row) {
            Ok(row) => {
                let session = row.life.session.clone();
                let mut reader = Reader { db, life: &row.life, thoroughness, losses: &mut contents.losses };
                let (slot, tail) = reader.slot(row.folded, row.content, windows);
                let touched = touched.get(&session).filter(|(life, _)| *life == row.life.incarnation);
                let touched = touched.map_or_else(Timestamp::default, |(_, at)| *at);
                contents.tails.extend(tail.map(|tail| (session.clone(), tail)));
                contents.sessions.push(Recovered { session, slot, touched });
            }
            Err(damage) => {
                let problem = format!("all of it is lost: its row cannot be used: {damage}");
                contents.losses.push(Loss { session: row.get(0).ok(), problem });
            }
        }
    }
    Ok(())
}

/// When sessions were last used other than by an event, as far as that was saved, and in which life.
fn touches(db: &Connection) -> rusqlite::Result<HashMap<SessionId, (Incarnation, Timestamp)>> {
    let mut statement = db.prepare("SELECT session, incarnation, touched FROM touches")?;
    let mut rows = statement.query([])?;
    let mut touched = HashMap::new();
    while let Some(row) = rows.next()? {
        if let Ok(session) = SessionId::parse(row.get_ref(0)?.as_str()?) {
            touched.insert(session, (Incarnation(row.get(1)?), Timestamp(row.get(2)?)));
        }
    }
    Ok(touched)
}

fn session_row(row: &Row<'_>) -> Result<SessionRow, Damage> {
    let session = SessionId::parse(&row.get::<_, String>(0)?)?;
    let life = LifeKey { session, incarnation: Incarnation(row.get(1)?) };
    let (folded, ended): (u64, bool) = (row.get(2)?, row.get(3)?);
    let key = RowKey::Number(folded);
    let content = match (ended, folded) {
        (true, _) => Content::Ended(record("sessions", &life, key, row, 4)?),
        (false, 0) => {
            record::<Nothing>("sessions", &life, key, row, 4)?;
            Content::Unfolded
        }
        (false, 1..) => Content::Folded(record("sessions", &life, key, row, 4)?),
    };
    Ok(SessionRow { life, folded, content })
}

/// The body of a row that says everything by being there.
struct Nothing;

impl Record for Nothing {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(_: &[u8]) -> Result<Self, Unreadable> {
        Ok(Self)
    }
}

/// Reads one life of a session.
struct Reader<'a> {
    db: &'a Connection,
    life: &'a LifeKey,
    thoroughness: Thoroughness,
    /// Where it tells what cannot be read.
    losses: &'a mut Vec<Loss>,
}

impl Reader<'_> {
    fn lost(&mut self, problem: String) {
        self.losses.push(Loss { session: Some(self.life.session.to_string()), problem });
    }

    /// What the id stands for, and what the writer has to know of it if it lives.
    fn slot(&mut self, folded: u64, content: Content, windows: &Windows) -> (Slot, Option<Tail>) {
        let base = match content {
            Content::Ended(Ended { revision, at, lived, how }) => {
                let position = Position { incarnation: self.life.incarnation, revision };
                return (Slot::Ended(EndedSlot { position, at, lived, how }), None);
            }
            Content::Unfolded => None,
            Content::Folded(life) => Some(life),
        };
        let mut oldest_event = folded + 1;
        let mut slot = base.map_or(Slot::Vacant, |life| self.folded(folded, life, &mut oldest_event, windows));
        let mut after = self.events(folded, u64::MAX);
        if after.len() > 1 && injected!(LoseTail) {
            self.drop_newest(&mut after);
        }
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

    /// What a server does that has the fault `LoseTail`. A database that is only looked at keeps the event.
    fn drop_newest(&self, events: &mut Vec<Arc<Event>>) {
        let LifeKey { session, incarnation } = self.life;
        let sql = "DELETE FROM events WHERE session = ?1 AND incarnation = ?2 AND revision = ?3";
        if let Some(newest) = events.last()
            && self.db.execute(sql, params![&**session, incarnation.0, signed(newest.position.revision)]).is_ok()
        {
            events.pop();
        }
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
            last_lived: life.last_lived,
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
            let remembered = |event: &Arc<Event>| life.last_lived.since(event.lived) <= windows.idempotency_age;
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

/// A life as it stands in keys, whether or not it could be one.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    session: Value,
    incarnation: Value,
}

impl Key {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { session: row.get(0)?, incarnation: row.get(1)? })
    }

    /// What a life of ours has.
    fn known(&self) -> Option<(&str, &[u8])> {
        match (&self.session, &self.incarnation) {
            (Value::Text(session), Value::Blob(incarnation)) => Some((session, incarnation)),
            _ => None,
        }
    }
}

/// Looks for rows of lives that nothing knows of: a seek for each life in each table. Every life has an event, so a start
/// looks there alone. A sound journal has none: the row of a session is written before all others of its life, and a life
/// that has ended is litter until its last row is gone. One bit that turns in a key makes one, and so does a table that is
/// no longer found.
fn strays(db: &Connection, thoroughness: Thoroughness) -> rusqlite::Result<Vec<Loss>> {
    let mut known = HashSet::new();
    let mut lives =
        db.prepare("SELECT session, incarnation FROM sessions UNION ALL SELECT session, incarnation FROM litter")?;
    let mut rows = lives.query([])?;
    while let Some(row) = rows.next()? {
        if let Some((session, incarnation)) = Key::of(row)?.known() {
            known.insert((session.to_owned(), incarnation.to_owned()));
        }
    }
    let tables: &[&str] = match thoroughness {
        Thoroughness::Needed => &["events"],
        Thoroughness::All => &["events", "history", "variables", "writes"],
    };
    let mut losses = Vec::new();
    for table in tables {
        let mut first = db.prepare(&format!("SELECT session, incarnation FROM {table} LIMIT 1"))?;
        let mut next = db.prepare(&format!(
            "SELECT session, incarnation FROM {table} WHERE (session, incarnation) > (?1, ?2)
             ORDER BY session, incarnation LIMIT 1"
        ))?;
        let mut at = first.query_row([], Key::of).optional()?;
        while let Some(key) = at {
            let is_known =
                key.known().is_some_and(|(session, incarnation)| known.contains(&(session.into(), incarnation.into())));
            if !is_known {
                let session = key.known().map(|(session, _)| session.to_owned());
                let problem = format!("a row or more in the table {table} are of a life that nothing knows of");
                losses.push(Loss { session, problem });
            }
            at = next.query_row(params![&key.session, &key.incarnation], Key::of).optional()?;
        }
    }
    Ok(losses)
}
