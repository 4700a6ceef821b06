//! The events of the journal for those who are behind: read by a connection of its own, which the writer never waits for.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rusqlite::{Connection, params};
use snakepit_core::session::{Event, Incarnation, SessionId};

use super::{
    OpenError,
    directory::Identity,
    rows::{Damage, LifeKey, RowKey, record, signed},
    schema,
};
use crate::journal::{Events, EventsLost};

/// How much is read at once. Each watch that is behind holds as much.
const EVENTS: usize = 64;
const BYTES: u64 = 128 * 1024;

/// Reads events of a journal that a server writes.
#[derive(Debug)]
pub(super) struct Stored {
    journal: PathBuf,
    /// Which file that is. Once the directory was moved, its old path may lead to another server's journal.
    identity: Identity,
    /// Opened at the start, so that it goes on where the directory is moved to; and anew after a failure.
    db: Mutex<Option<Connection>>,
}

impl Stored {
    pub(super) fn of(journal: PathBuf) -> Result<Self, OpenError> {
        let db = Mutex::new(Some(schema::look(&journal)?));
        let identity = identity(&journal)?;
        Ok(Self { journal, identity, db })
    }

    fn open_again(&self) -> Result<Connection, OpenError> {
        if identity(&self.journal)? != self.identity {
            return Err(OpenError::Missing { directory: self.journal.parent().unwrap_or(&self.journal).into() });
        }
        schema::look(&self.journal)
    }
}

fn identity(journal: &Path) -> Result<Identity, OpenError> {
    let failed = |error| OpenError::Directory { directory: journal.parent().unwrap_or(journal).into(), error };
    Ok(Identity::of(&fs::metadata(journal).map_err(failed)?))
}

impl Events for Stored {
    fn after(
        &self,
        session: &SessionId,
        incarnation: Incarnation,
        revision: u64,
    ) -> Result<Vec<Arc<Event>>, EventsLost> {
        let mut kept = self.db.lock();
        let lost = |cause: String| EventsLost { cause };
        let db = match kept.take() {
            Some(db) => db,
            None => self.open_again().map_err(|error: OpenError| lost(error.to_string()))?,
        };
        let life = LifeKey { session: session.clone(), incarnation };
        let events = read(&db, &life, revision).map_err(|(revision, damage)| {
            lost(format!("event {revision} of session {:?} cannot be read: {damage}", &**session))
        })?;
        *kept = Some(db);
        Ok(events)
    }
}

fn read(db: &Connection, life: &LifeKey, after: u64) -> Result<Vec<Arc<Event>>, (u64, Damage)> {
    let (mut events, mut bytes, mut next) = (Vec::<Arc<Event>>::new(), 0, after.saturating_add(1));
    let failed = |next| move |error: rusqlite::Error| (next, Damage::from(error));
    let mut statement = db
        .prepare_cached(
            "SELECT revision, body, crc FROM events WHERE session = ?1 AND incarnation = ?2 AND revision > ?3
             ORDER BY revision",
        )
        .map_err(failed(next))?;
    let mut rows = statement.query(params![&*life.session, life.incarnation.0, signed(after)]).map_err(failed(next))?;
    while events.len() < EVENTS
        && bytes < BYTES
        && let Some(row) = rows.next().map_err(failed(next))?
    {
        let revision: u64 = row.get(0).map_err(failed(next))?;
        if revision != next && !events.is_empty() {
            return Err((next, Damage::Missing));
        }
        let event: Event = record("events", life, RowKey::Number(revision), row, 1).map_err(|damage| (next, damage))?;
        bytes += event.encoded_len();
        events.push(Arc::new(event));
        next = revision + 1;
    }
    Ok(events)
}
