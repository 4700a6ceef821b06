//! Checks a batch of operations as a whole: repeats, limits, all or nothing.

use std::{collections::HashSet, sync::Arc};

use snakepit_fault::injected;

use super::operation::{self, Planned};
use crate::{
    config::Limits,
    error::Error,
    session::{
        Answer, Body, Change, ChangeKind, Context, Decision, Event, Outcome, Position, Refused, SessionId, State,
        Write, Written,
    },
    value::Value,
};

const MAX_REASON: usize = 1024;
const MAX_KEY: usize = 128;

pub(super) fn write(id: &SessionId, state: &State, write: &Write, context: &Context<'_>) -> Result<Decision, Refused> {
    if let Some(written) = repeated(state, write)? {
        return Ok(Decision::Answer(Answer::Written(written)));
    }
    admit(write, context.limits)?;
    let mut names = HashSet::with_capacity(write.operations.len());
    let mut outcomes = Vec::with_capacity(write.operations.len());
    let mut changes = Vec::with_capacity(write.operations.len());
    for (index, operation) in write.operations.iter().enumerate() {
        let refused = |error| Refused { error, operation: Some(index) };
        if !names.insert(&operation.name) {
            let problem = format!("{:?} occurs twice in one write", &*operation.name);
            return Err(refused(Error::invalid("operations.name", problem)));
        }
        let Planned { version, value, change } = operation::plan(id, state, operation, context).map_err(refused)?;
        outcomes.push(Outcome {
            name: operation.name.clone(),
            changed: change.is_some(),
            version,
            value: value.map(Box::new),
        });
        changes.extend(change.map(|kind| Change { name: operation.name.clone(), version, kind }));
    }
    tellable(state, write, &outcomes, &changes, context)?;
    let outcomes: Arc<[Outcome]> = outcomes.into();
    if changes.is_empty() {
        return Ok(Decision::Answer(Answer::Written(Written { position: state.position(), outcomes })));
    }
    fit(state, &changes, context.limits)?;
    // The creation of a session is never lost: the server would not start.
    let reused = state.revision > 1 && injected!(ReuseRevision);
    let position = Position { revision: state.revision + u64::from(!reused), ..state.position() };
    let event = Event {
        position,
        time: context.now.max(state.last_event),
        lived: context.lived.max(state.last_lived),
        author: context.author.clone(),
        reason: Arc::clone(&write.reason),
        idempotency: write.idempotency.clone(),
        outcomes: Arc::clone(&outcomes),
        body: Body::Written(changes.into()),
    };
    Ok(Decision::Commit { event, answer: Answer::Written(Written { position, outcomes }) })
}

/// The original answer, if this write was committed before.
fn repeated(state: &State, write: &Write) -> Result<Option<Written>, Error> {
    let Some(idempotency) = &write.idempotency else { return Ok(None) };
    match state.remembered.find(idempotency) {
        Some(original) if original.idempotency.fingerprint != idempotency.fingerprint => {
            Err(Error::invalid("idempotency_key", format!("{:?} already named another write", &*idempotency.key)))
        }
        Some(original) => {
            let position = Position { revision: original.revision, ..state.position() };
            Ok(Some(Written { position, outcomes: Arc::clone(&original.outcomes) }))
        }
        None => Ok(None),
    }
}

/// What can be refused without looking at the session.
fn admit(write: &Write, limits: &Limits) -> Result<(), Error> {
    let count = write.operations.len();
    if count == 0 {
        return Err(Error::invalid("operations", "a write needs at least one"));
    }
    if count as u64 > limits.batch_operations {
        return Err(Error::LimitExceeded { limit: "batch_operations", max: limits.batch_operations });
    }
    if count > 1 && write.encoded_len > limits.batch_bytes {
        return Err(Error::LimitExceeded { limit: "batch_bytes", max: limits.batch_bytes });
    }
    short("reason", &write.reason, MAX_REASON)?;
    match &write.idempotency {
        Some(idempotency) => {
            short("client_id", &idempotency.client, MAX_KEY)?;
            short("idempotency_key", &idempotency.key, MAX_KEY)
        }
        None => Ok(()),
    }
}

/// Whether the answer, and what watches tell of the revision, fit into one message: afterwards it would be too late to
/// say so. What the server computes may be more than what was sent.
fn tellable(
    state: &State,
    write: &Write,
    outcomes: &[Outcome],
    changes: &[Change],
    context: &Context<'_>,
) -> Result<(), Error> {
    /// More than versions, times and flags take.
    const AROUND: u64 = 128;
    let answered: u64 = outcomes
        .iter()
        .map(|it| AROUND + it.name.len() as u64 + it.value.as_deref().map_or(0, Value::encoded_len))
        .sum();
    let around = AROUND + (write.reason.len() + context.author.name.len()) as u64;
    let told = |change: &Change| {
        let told = match &change.kind {
            ChangeKind::Registered { spec, value } => spec.encoded_len() + value.encoded_len(),
            ChangeKind::Set { value } => {
                let spec = state.variable(&change.name).map_or(0, |variable| variable.spec.encoded_len());
                spec + value.encoded_len()
            }
            ChangeKind::Deleted => 0,
        };
        around + change.name.len() as u64 + told
    };
    let max = context.limits.message_bytes;
    if answered.max(changes.iter().map(told).sum()) > max {
        return Err(Error::LimitExceeded { limit: "message_bytes", max });
    }
    Ok(())
}

fn short(field: &str, text: &str, max: usize) -> Result<(), Error> {
    // Counting is only needed for a text that has more bytes than that.
    if text.len() > max && text.chars().count() > max {
        return Err(Error::invalid(field, format!("at most {max} characters")));
    }
    Ok(())
}

/// Whether the session may grow to what the changes make of it. Shrinking is always allowed, even above a limit that was
/// lowered since.
fn fit(state: &State, changes: &[Change], limits: &Limits) -> Result<(), Error> {
    let (mut count, mut bytes) = (state.len() as u64, state.counted_bytes());
    for change in changes {
        let before = state.variable(&change.name);
        let described = before.map_or(0, |it| it.spec.described_len());
        let after = match &change.kind {
            ChangeKind::Registered { spec, value } => Some(spec.counted(value) + spec.described_len()),
            ChangeKind::Set { value } => Some(before.map_or(0, |it| it.spec.counted(value)) + described),
            ChangeKind::Deleted => None,
        };
        count = count + u64::from(after.is_some()) - u64::from(before.is_some());
        bytes = bytes + after.unwrap_or_default() - before.map_or(0, |it| it.spec.counted(&it.value) + described);
    }
    if count > limits.variables_per_session && count > state.len() as u64 {
        return Err(Error::LimitExceeded { limit: "variables_per_session", max: limits.variables_per_session });
    }
    if bytes > limits.session_value_bytes && bytes > state.counted_bytes() {
        return Err(Error::LimitExceeded { limit: "session_value_bytes", max: limits.session_value_bytes });
    }
    Ok(())
}
