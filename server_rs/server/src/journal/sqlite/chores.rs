//! What is done for nobody in particular: removing what has ended, saving uses.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};

use super::rows::{LifeKey, execute, signed};
use crate::{journal::Touch, session::Ended};

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

/// Forgets the sessions that ended long ago.
pub(super) fn forget(db: &Connection) -> rusqlite::Result<()> {
    let remembered = i64::try_from(Ended::REMEMBERED.as_micros()).unwrap_or(i64::MAX);
    execute(db, "DELETE FROM sessions WHERE ended <= ?1", params![now() - remembered])?;
    Ok(())
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
