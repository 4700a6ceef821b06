//! What is written: the events of a group with what begins and ends with them; folds, by which what a session is at a
//! revision becomes rows, so that its older events are needed no more; and the removal of what nobody needs.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, params};
use snakepit_core::{
    config::Upkeep,
    session::{Body, Ended as EndedSlot, Event, RecordKind, SessionId, Slot, State},
    variable::Timestamp,
};

use super::rows::{LifeKey, RowKey, crc, execute, signed};
use crate::journal::{
    Append, Touch,
    record::{Ended, Life, Record as _},
};

/// What is known of a live session: its newest durable state, and up to where it is folded.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) state: Arc<State>,
    pub(super) folded: u64,
    /// The revision of its oldest event that is kept.
    pub(super) oldest_event: u64,
    /// The events after the fold, and their bytes.
    pub(super) events: usize,
    pub(super) bytes: u64,
    /// Whether the next fold has to look at every row.
    pub(super) reconcile: bool,
    /// Whether it waits to be folded.
    pub(super) queued: bool,
}

impl Tail {
    /// A session whose newest state is in rows.
    pub(super) fn folded(state: Arc<State>) -> Self {
        let (folded, oldest_event) = (state.revision, state.oldest_event());
        Self { state, folded, oldest_event, events: 0, bytes: 0, reconcile: false, queued: false }
    }

    /// A session whose life begins with this event.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, folded: 0, oldest_event: 1, events: 0, bytes: 0, reconcile: false, queued: false }
    }

    /// Whether it is to be folded.
    pub(super) fn is_due(&self, upkeep: &Upkeep) -> bool {
        self.events >= upkeep.fold_events || self.bytes >= upkeep.fold_bytes
    }
}

/// What a group changes of what the writer knows, once it is durable.
#[derive(Default)]
pub(super) struct Draft {
    /// The sessions that it changes; none for those that have ended.
    pub(super) tails: HashMap<SessionId, Option<Tail>>,
    /// The lives that it ends.
    pub(super) litter: Vec<LifeKey>,
    /// Whether the first of the sessions that are due was folded.
    pub(super) folded: bool,
    /// How many of the lives that have ended have no rows any more.
    pub(super) swept: usize,
}

/// Writes one event, and what it means for the id's row.
pub(super) fn append_event(
    db: &Connection,
    append: &Append,
    tails: &HashMap<SessionId, Tail>,
    draft: &mut Draft,
) -> rusqlite::Result<()> {
    let event = &append.event;
    let life = LifeKey { session: append.session.clone(), incarnation: event.position.incarnation };
    if let Body::Created { .. } = event.body {
        begin(db, &life)?;
    }
    put_event(db, &life, event)?;
    let tail = match (&append.after, &event.body) {
        (Slot::Live(state), Body::Created { .. } | Body::Written(_)) => {
            let before = draft.tails.remove(&append.session).unwrap_or_else(|| tails.get(&append.session).cloned());
            let before = before.filter(|before| before.state.incarnation == life.incarnation);
            let mut tail = before.unwrap_or_else(|| Tail::new(Arc::clone(state)));
            tail.state = Arc::clone(state);
            tail.events += 1;
            tail.bytes += event.encoded_len();
            Some(tail)
        }
        (Slot::Ended(ended), Body::Deleted | Body::Expired) => {
            end(db, &life, *ended)?;
            draft.litter.push(life);
            None
        }
        // The state and its event do not belong together, which the store never does.
        (Slot::Vacant | Slot::Live(_) | Slot::Ended(_), _) => return Err(rusqlite::Error::InvalidQuery),
    };
    draft.tails.insert(append.session.clone(), tail);
    Ok(())
}

fn put_event(db: &Connection, life: &LifeKey, event: &Event) -> rusqlite::Result<()> {
    let body = event.encode();
    let crc = crc("events", life, RowKey::Number(event.position.revision), &body);
    // A revision that is there already would be a fork: the key refuses it.
    let insert = if snakepit_fault::is_chosen!(ReuseRevision) {
        "REPLACE INTO events (session, incarnation, revision, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)"
    } else {
        "INSERT INTO events (session, incarnation, revision, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)"
    };
    execute(db, insert, params![&*life.session, life.incarnation.0, signed(event.position.revision), body, crc])?;
    Ok(())
}

/// A life begins: from this row on it is the id's newest.
fn begin(db: &Connection, life: &LifeKey) -> rusqlite::Result<()> {
    // An incarnation that was used long before must not meet what is left of it.
    let mut litter = db.prepare_cached("SELECT 1 FROM litter WHERE session = ?1 AND incarnation = ?2")?;
    if litter.exists(params![&*life.session, life.incarnation.0])? {
        sweep(db, life, usize::MAX)?;
    }
    put_session(db, life, 0, None, &[])
}

fn end(db: &Connection, life: &LifeKey, ended: EndedSlot) -> rusqlite::Result<()> {
    let EndedSlot { position, at, lived, how } = ended;
    let body = Ended { revision: position.revision, at, lived, how }.encode();
    put_session(db, life, position.revision, Some(lived.0), &body)?;
    execute(
        db,
        "INSERT OR IGNORE INTO litter (session, incarnation) VALUES (?1, ?2)",
        params![&*life.session, life.incarnation.0],
    )?;
    execute(db, "DELETE FROM touches WHERE session = ?1", params![&*life.session])?;
    Ok(())
}

/// Folds a session if it still lives.
pub(super) fn fold_one(
    db: &Connection,
    id: &SessionId,
    tails: &HashMap<SessionId, Tail>,
    draft: &mut Draft,
) -> rusqlite::Result<()> {
    let tail = draft.tails.remove(id).unwrap_or_else(|| tails.get(id).cloned());
    if let Some(tail) = &tail {
        fold(db, tail)?;
    }
    draft.tails.insert(id.clone(), tail.map(|tail| Tail::folded(tail.state)));
    Ok(())
}

/// Brings the rows of a session from its last fold to its newest state, and drops what its windows have dropped. Costs
/// as much as has changed since, unless it has to look at all there is: then rows go that other windows kept.
pub(super) fn fold(db: &Connection, tail: &Tail) -> rusqlite::Result<()> {
    let Tail { state, folded, oldest_event, reconcile, .. } = tail;
    let life = LifeKey { session: state.id.clone(), incarnation: state.incarnation };
    if *reconcile || state.has_shrunk_since(*folded) {
        drop_strange(db, state, &life)?;
    }
    let mut names: Vec<_> = state.touched_since(*folded).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        put_name(db, state, &life, name, *folded)?;
    }
    put_writes(db, state, &life, *oldest_event)?;
    execute(
        db,
        "DELETE FROM events WHERE session = ?1 AND incarnation = ?2 AND revision < ?3",
        params![&*life.session, life.incarnation.0, signed(state.oldest_event())],
    )?;
    put_session(db, &life, state.revision, None, &Life::of(state).encode())
}

/// The one row that says which life of an id is its newest, up to where it is folded, and how it ended if it has.
pub(super) fn put_session(
    db: &Connection,
    life: &LifeKey,
    folded: u64,
    ended: Option<u64>,
    body: &[u8],
) -> rusqlite::Result<()> {
    let crc = crc("sessions", life, RowKey::Number(folded), body);
    execute(
        db,
        "REPLACE INTO sessions (session, incarnation, folded, ended, body, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![&*life.session, life.incarnation.0, signed(folded), ended.map(signed), body, crc],
    )?;
    Ok(())
}

/// Drops the rows of names that the state remembers nothing of, and of versions older than it keeps.
fn drop_strange(db: &Connection, state: &State, life: &LifeKey) -> rusqlite::Result<()> {
    let mut names = db.prepare_cached(
        "SELECT name, min(version) FROM history WHERE session = ?1 AND incarnation = ?2 GROUP BY name",
    )?;
    let names = names.query_map(params![&*life.session, life.incarnation.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (name, oldest) in names.collect::<rusqlite::Result<Vec<(String, u64)>>>()? {
        match state.oldest_version(&name) {
            Some(kept) if kept <= oldest => {}
            Some(kept) => drop_versions(db, life, &name, kept)?,
            None => {
                drop_versions(db, life, &name, u64::MAX)?;
                drop_variable(db, life, &name)?;
            }
        }
    }
    Ok(())
}

fn put_name(db: &Connection, state: &State, life: &LifeKey, name: &str, folded: u64) -> rusqlite::Result<()> {
    let Some(oldest) = state.oldest_version(name) else {
        drop_versions(db, life, name, u64::MAX)?;
        return drop_variable(db, life, name);
    };
    drop_versions(db, life, name, oldest)?;
    let mut put = db.prepare_cached(
        "REPLACE INTO history (session, incarnation, name, version, body, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let (mut all_new, mut declared) = (true, false);
    for record in state.history(name).into_iter().flatten() {
        if record.revision <= folded {
            all_new = false;
            break;
        }
        declared |= record.kind == RecordKind::Registered;
        let body = record.encode();
        let crc = crc("history", life, RowKey::Version(name, record.version), &body);
        put.execute(params![&*life.session, life.incarnation.0, name, signed(record.version), body, crc])?;
    }
    match state.variable(name) {
        // With nothing left of the time before, the declaration may be among the versions that were dropped.
        Some(variable) if declared || all_new => {
            let body = variable.spec.encode();
            let crc = crc("variables", life, RowKey::Name(name), &body);
            execute(
                db,
                "REPLACE INTO variables (session, incarnation, name, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![&*life.session, life.incarnation.0, name, body, crc],
            )?;
            Ok(())
        }
        Some(_) => Ok(()),
        None => drop_variable(db, life, name),
    }
}

/// Drops the versions of a name that are older than this one.
fn drop_versions(db: &Connection, life: &LifeKey, name: &str, oldest: u64) -> rusqlite::Result<()> {
    execute(
        db,
        "DELETE FROM history WHERE session = ?1 AND incarnation = ?2 AND name = ?3 AND version < ?4",
        params![&*life.session, life.incarnation.0, name, signed(oldest)],
    )?;
    Ok(())
}

fn drop_variable(db: &Connection, life: &LifeKey, name: &str) -> rusqlite::Result<()> {
    execute(
        db,
        "DELETE FROM variables WHERE session = ?1 AND incarnation = ?2 AND name = ?3",
        params![&*life.session, life.incarnation.0, name],
    )?;
    Ok(())
}

/// A write is remembered by its event as long as that is kept, and by a row from then on. `oldest_event` is the oldest
/// kept so far.
fn put_writes(db: &Connection, state: &State, life: &LifeKey, oldest_event: u64) -> rusqlite::Result<()> {
    let oldest = state.remembered().next().map_or(u64::MAX, |original| original.revision);
    execute(
        db,
        "DELETE FROM writes WHERE session = ?1 AND incarnation = ?2 AND revision < ?3",
        params![&*life.session, life.incarnation.0, signed(oldest)],
    )?;
    let mut put = db.prepare_cached(
        "REPLACE INTO writes (session, incarnation, revision, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let dropped = state.remembered().skip_while(|original| original.revision < oldest_event);
    for original in dropped.take_while(|original| original.revision < state.oldest_event()) {
        let body = original.encode();
        let crc = crc("writes", life, RowKey::Number(original.revision), &body);
        put.execute(params![&*life.session, life.incarnation.0, signed(original.revision), body, crc])?;
    }
    Ok(())
}

/// Removes up to about so many rows of lives that have ended, oldest end first. Returns how many of the lives have none
/// left.
pub(super) fn sweep_first<'a>(
    db: &Connection,
    lives: impl IntoIterator<Item = &'a LifeKey>,
    most: usize,
) -> rusqlite::Result<usize> {
    let (mut done, mut removed) = (0, 0);
    for life in lives {
        let rows = sweep(db, life, most - removed)?;
        removed += rows;
        if removed >= most {
            break;
        }
        done += 1;
    }
    Ok(done)
}

/// Removes up to about so many rows of a life that has ended; all of them if they are fewer, and then it is no longer
/// known. Returns how many there were.
pub(super) fn sweep(db: &Connection, life: &LifeKey, most: usize) -> rusqlite::Result<usize> {
    let key = params![&*life.session, life.incarnation.0];
    let mut begun =
        db.prepare_cached("SELECT 1 FROM sessions WHERE session = ?1 AND incarnation = ?2 AND ended IS NULL")?;
    let mut removed = 0;
    // A life of the same name that has begun since has removed what was left of the old one.
    if !begun.exists(key)? {
        for (table, rest) in
            [("events", "revision"), ("history", "name, version"), ("variables", "name"), ("writes", "revision")]
        {
            let sql = format!(
                "DELETE FROM {table} WHERE session = ?1 AND incarnation = ?2 AND ({rest}) IN
                 (SELECT {rest} FROM {table} WHERE session = ?1 AND incarnation = ?2 LIMIT ?3)"
            );
            let limit = i64::try_from(most - removed).unwrap_or(i64::MAX);
            removed += execute(db, &sql, params![&*life.session, life.incarnation.0, limit])?;
            if removed >= most {
                return Ok(removed);
            }
        }
    }
    execute(db, "DELETE FROM litter WHERE session = ?1 AND incarnation = ?2", key)?;
    // Its own row, so that removing lives without any other ends, too.
    Ok(removed + 1)
}

pub(super) fn touch(db: &Connection, touches: &[Touch]) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("REPLACE INTO touches (session, incarnation, touched) VALUES (?1, ?2, ?3)")?;
    for touch in touches {
        put.execute(params![&*touch.session, touch.incarnation.0, signed(touch.at.0)])?;
    }
    Ok(())
}

/// Forgets the sessions that ended a day ago and more, by the time that was lived until now: a clock that was set forward
/// must not bring back a life by a late retry of its creation.
pub(super) fn forget(db: &Connection, lived: Timestamp) -> rusqlite::Result<()> {
    let remembered = i64::try_from(EndedSlot::REMEMBERED.as_micros()).unwrap_or(i64::MAX);
    execute(db, "DELETE FROM sessions WHERE ended <= ?1", params![signed(lived.0).saturating_sub(remembered)])?;
    Ok(())
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
