//! Rows of lives that nothing knows of. A sound journal has none: the row of a session is written before all others of
//! its life, and a life that has ended is litter until its last row is gone. One bit that turns in a key makes one, and
//! so does a table that is no longer found.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Value};

use super::{reader::Thoroughness, recovery::Loss};

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

/// Looks for them: a seek for each life in each table. Every life has an event, so a start looks there alone.
pub(super) fn find(db: &Connection, thoroughness: Thoroughness) -> rusqlite::Result<Vec<Loss>> {
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
