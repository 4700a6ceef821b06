//! From rows and events back to sessions. What cannot be read is told, and the rest is read all the same: whether to go
//! on without it is the caller's to decide.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Connection, Row};

use super::{
    reader::{Reader, Thoroughness},
    rows::{Damage, LifeKey, RowKey, record},
    strays,
    tail::Tail,
};
use crate::{
    config::Windows,
    journal::{
        Recovered,
        record::{Ended, Life, Record, Unreadable},
    },
    session::{Incarnation, SessionId},
    variable::Timestamp,
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

/// Reads everything that can be read, or what a server needs of it.
pub(super) fn read(db: &Connection, windows: &Windows, thoroughness: Thoroughness) -> Contents {
    let mut contents = Contents::default();
    if let Err(error) = read_into(db, windows, thoroughness, &mut contents) {
        let problem = format!("what follows cannot be read: {error}");
        contents.losses.push(Loss { session: None, problem });
    }
    let broken = integrity(db);
    if broken.is_empty() {
        let strays = strays::find(db, thoroughness);
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
