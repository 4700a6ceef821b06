//! From rows and events back to sessions. What cannot be read is told, and the rest is read all the same: whether to go
//! on without it is the caller's to decide.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Connection, Row};

use super::{
    reader::Reader,
    rows::{Damage, LifeKey, RowKey, record},
    writer::Tail,
};
use crate::{
    config::Windows,
    journal::{
        Recovered,
        record::{Ended, Life, Record, Unreadable},
    },
    session::{Incarnation, SessionId},
};

/// All that a journal holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) sessions: Vec<Recovered>,
    pub(super) tails: HashMap<SessionId, Tail>,
    pub(super) litter: VecDeque<LifeKey>,
    pub(super) losses: Vec<Loss>,
}

/// Something in a journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", of_session(.session.as_deref()))]
pub struct Loss {
    /// Whose, if that is known.
    pub session: Option<String>,
    /// What is lost, and why.
    pub problem: String,
}

fn of_session(session: Option<&str>) -> String {
    session.map_or_else(String::new, |session| format!("session {session:?}: "))
}

/// A row of `sessions`.
struct SessionRow {
    life: LifeKey,
    folded: u64,
    content: Content,
}

/// What such a row says.
pub(super) enum Content {
    /// All there is of the session is its events.
    Unfolded,
    Folded(Life),
    Ended(Ended),
}

/// Reads everything that can be read.
pub(super) fn read(db: &Connection, windows: &Windows) -> Contents {
    let mut contents = Contents::default();
    if let Err(error) = read_into(db, windows, &mut contents) {
        let problem = format!("what follows cannot be read: {error}");
        contents.losses.push(Loss { session: None, problem });
    }
    contents
}

fn read_into(db: &Connection, windows: &Windows, contents: &mut Contents) -> rusqlite::Result<()> {
    let mut litter = db.prepare("SELECT session, incarnation FROM litter")?;
    for row in litter.query_map([], |row| Ok((row.get::<_, String>(0)?, Incarnation(row.get(1)?))))? {
        let (session, incarnation) = row?;
        contents.litter.extend(SessionId::parse(&session).ok().map(|session| LifeKey { session, incarnation }));
    }
    let mut sessions =
        db.prepare("SELECT session, incarnation, folded, ended IS NOT NULL, body, crc FROM sessions ORDER BY session")?;
    let mut rows = sessions.query([])?;
    while let Some(row) = rows.next()? {
        match session_row(row) {
            Ok(row) => {
                let session = row.life.session.clone();
                let mut reader = Reader { db, life: &row.life, losses: &mut contents.losses };
                let (slot, tail) = reader.slot(row.folded, row.content, windows);
                let touched = reader.touched();
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
