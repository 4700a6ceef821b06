//! Checks a command against a session and says what happens.

use std::{sync::Arc, time::Duration};

use super::{batch, state::labels_len};
use crate::{
    error::Error,
    session::{Answer, Body, Command, Context, Create, Decision, Event, Position, Refused, SessionId, Slot},
    variable::{MAX_LABELS, Timestamp},
};

/// No session lives shorter than this.
pub(super) const MIN_TTL: Duration = Duration::from_secs(1);

/// What a command does to a session: an event to commit, an answer without one, or a refusal that changes nothing.
pub fn decide(id: &SessionId, slot: &Slot, command: &Command, context: &Context<'_>) -> Result<Decision, Refused> {
    match command {
        Command::Create(create) => Ok(start(slot, create, context)?),
        Command::Write(write) => batch::write(id, slot.live(id, write.incarnation, context.lived)?, write, context),
        Command::Delete { incarnation } => {
            Ok(end(slot.live(id, *incarnation, context.lived)?.position(), slot, Body::Deleted, context))
        }
        Command::Expire => Ok(end(slot.live(id, None, context.lived)?.position(), slot, Body::Expired, context)),
    }
}

/// The context's time, or the newest event's if the clock has fallen behind it.
fn time(slot: &Slot, context: &Context<'_>) -> Timestamp {
    match slot {
        Slot::Vacant => context.now,
        Slot::Live(state) => context.now.max(state.last_event),
        Slot::Ended(ended) => context.now.max(ended.at),
    }
}

fn start(slot: &Slot, create: &Create, context: &Context<'_>) -> Result<Decision, Error> {
    match slot {
        Slot::Live(state) => {
            return Ok(Decision::Answer(Answer::Created { created: state.incarnation == create.incarnation }));
        }
        // A retry that arrives after the end must not bring the same life back.
        Slot::Ended(ended) if ended.position.incarnation == create.incarnation => {
            return Err(Error::invalid("incarnation", "names a life that has ended; a new one needs new random bytes"));
        }
        Slot::Ended(_) | Slot::Vacant => (),
    }
    if let Some(ttl) = create.ttl.filter(|ttl| *ttl < MIN_TTL) {
        return Err(Error::invalid("ttl", format!("has to be at least 1 s, got {ttl:?}")));
    }
    if create.metadata.len() > MAX_LABELS {
        return Err(Error::invalid("metadata", format!("at most {MAX_LABELS} entries, got {}", create.metadata.len())));
    }
    let max = context.limits.session_value_bytes;
    if labels_len(&create.metadata) > max {
        return Err(Error::LimitExceeded { limit: "session_value_bytes", max });
    }
    let body = Body::Created { ttl: create.ttl, metadata: Arc::new(create.metadata.clone()) };
    let event = event(Position { incarnation: create.incarnation, revision: 1 }, slot, body, context);
    Ok(Decision::Commit { event, answer: Answer::Created { created: true } })
}

fn end(position: Position, slot: &Slot, body: Body, context: &Context<'_>) -> Decision {
    let position = Position { revision: position.revision + 1, ..position };
    Decision::Commit { event: event(position, slot, body, context), answer: Answer::Ended(position) }
}

fn event(position: Position, slot: &Slot, body: Body, context: &Context<'_>) -> Event {
    Event {
        position,
        time: time(slot, context),
        lived: context.lived.max(slot.last_lived().unwrap_or_default()),
        author: context.author.clone(),
        reason: Arc::default(),
        idempotency: None,
        outcomes: Arc::default(),
        body,
    }
}
