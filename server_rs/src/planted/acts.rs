//! What those faults do that take more than a condition.

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::Fault;
use crate::{
    journal::Entry,
    session::{Body, Event, Incarnation, Position, SessionId, Write, Written},
};

/// How long what was answered stays invisible.
const LATE: Duration = Duration::from_millis(5);

/// Answers the writers of a committed group, which is published only then.
pub(crate) async fn answer_first(mut group: Vec<Entry>) -> Vec<Entry> {
    // A session that is not there yet would be missed by anybody at once.
    let begins = |entry: &Entry| matches!(entry.event.body, Body::Created { .. });
    if !group.iter().any(begins) && Fault::AnswerBeforePublish.strikes() {
        for entry in &mut group {
            let settled = std::mem::replace(&mut entry.settled, oneshot::channel().0);
            let _gone = settled.send(Ok(()));
        }
        tokio::time::sleep(LATE).await;
    }
    group
}

/// A batch as two writes, the second of which is known by the batch's key.
pub(crate) fn in_two(write: &Write) -> Option<(Write, Write)> {
    if write.operations.len() < 2 || !Fault::SplitBatch.strikes() {
        return None;
    }
    let (mut first, mut rest) = (Write { idempotency: None, ..write.clone() }, write.clone());
    rest.operations = first.operations.split_off(write.operations.len() / 2);
    Some((first, rest))
}

/// The answer to a batch whose parts were answered so.
pub(crate) fn join(first: &Written, rest: &Written) -> Written {
    let outcomes = first.outcomes.iter().chain(rest.outcomes.iter()).cloned().collect();
    Written { position: rest.position, outcomes }
}

/// The position of a new event, or by mistake that of the one before it.
pub(crate) fn given_before(position: Position) -> Position {
    // The creation of a session is never lost: the server would not start.
    let again = position.revision > 2 && Fault::ReuseRevision.strikes();
    Position { revision: position.revision - u64::from(again), ..position }
}

/// An event that has the revision of another takes its place: the table's key would give the mistake away.
pub(crate) fn make_room(db: &Connection, session: &SessionId, event: &Event) -> rusqlite::Result<()> {
    if Fault::ReuseRevision.is_chosen() {
        remove(db, session, event.position.incarnation, event.position.revision)?;
    }
    Ok(())
}

/// The events after a session's fold without the newest, which is removed as if it were torn. A database that is only
/// looked at keeps it.
pub(crate) fn without_last(db: &Connection, session: &SessionId, mut events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
    if events.len() > 1
        && Fault::LoseTail.strikes()
        && let Some(last) = events.last()
        && remove(db, session, last.position.incarnation, last.position.revision).is_ok()
    {
        events.pop();
    }
    events
}

fn remove(db: &Connection, session: &SessionId, life: Incarnation, revision: u64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM events WHERE session = ?1 AND incarnation = ?2 AND revision = ?3";
    db.execute(sql, params![&**session, life.0, i64::try_from(revision).unwrap_or(i64::MAX)])?;
    Ok(())
}
