//! Folding: what a session is at a revision becomes rows, so that its older events are needed no more.

use rusqlite::{Connection, params};

use super::{
    rows::{LifeKey, RowKey, crc, execute, signed},
    tail::Tail,
};
use crate::{
    journal::record::{Life, Record as _},
    session::{RecordKind, State},
};

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
