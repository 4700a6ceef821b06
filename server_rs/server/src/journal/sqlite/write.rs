//! What a group writes: its events, and what begins and ends with them.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    chores::sweep,
    fold::{fold, put_session},
    rows::{LifeKey, RowKey, crc, execute, signed},
    tail::Tail,
    writer::Draft,
};
use crate::{
    journal::{
        Append,
        record::{Ended, Record as _},
    },
    session::{Body, Ended as EndedSlot, Event, SessionId, Slot},
};

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
    #[cfg(feature = "planted-faults")]
    crate::planted::make_room(db, &life.session, event)?;
    let body = event.encode();
    let crc = crc("events", life, RowKey::Number(event.position.revision), &body);
    // A revision that is there already would be a fork: the key refuses it.
    execute(
        db,
        "INSERT INTO events (session, incarnation, revision, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![&*life.session, life.incarnation.0, signed(event.position.revision), body, crc],
    )?;
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
    let EndedSlot { position, at, how } = ended;
    let body = Ended { revision: position.revision, at, how }.encode();
    put_session(db, life, position.revision, Some(at.0), &body)?;
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
