//! Checks one operation against the variable before the batch and computes its result.
//!
//! Invariant: for a caller without `read_secret`, neither whether an operation is refused, nor why, nor what it changes
//! depends on the value of a secret. So what computes on a secret takes that role, and a write of an equal value counts
//! as a change. A secret stops being one only by an admin's hand: by a registration with `replace`, or by its deletion,
//! after which the name is free once that is no longer remembered.

use std::sync::Arc;

use snakepit_fault::injected;

use crate::{
    access::Role,
    error::Error,
    session::{Action, ChangeKind, Context, Operation, SessionId, State},
    value::{MAX_EXACT_INTEGER, Value},
    variable::{Spec, Type, Variable},
};

/// What an operation will do.
pub(super) struct Planned {
    /// The version after it.
    pub version: u64,
    /// The new value, if the server computed it.
    pub value: Option<Value>,
    /// None if it changes nothing.
    pub change: Option<ChangeKind>,
}

/// Whose value the outcome reports.
#[derive(Clone, Copy)]
enum Report {
    /// Nobody's: the caller gave it.
    Nothing,
    /// The one the server computed.
    Value,
}

pub(super) fn plan(
    id: &SessionId,
    state: &State,
    operation: &Operation,
    context: &Context<'_>,
) -> Result<Planned, Error> {
    let name = &operation.name;
    let current = state.variable(name);
    let actual = current.map_or(0, |variable| variable.version);
    if let Some(expected) =
        operation.expected_version.filter(|expected| *expected != actual && !injected!(SkipExpectedVersion))
    {
        return Err(Error::VersionConflict { variable: name.shared(), expected, actual });
    }
    if let Action::Register { spec, value, replace } = &operation.action {
        return register(state, operation, (spec, value), *replace, context);
    }
    let Some(current) = current else {
        let (session, variable) = (id.shared(), name.shared());
        return Err(Error::VariableNotFound { session, variable, closest: state.closest(name) });
    };
    if current.spec.read_only {
        return Err(Error::VariableReadOnly { variable: name.shared() });
    }
    if current.spec.secret {
        takes(&operation.action, context)?;
    }
    match &operation.action {
        Action::Register { .. } | Action::Delete => {
            Ok(Planned { version: current.version + 1, value: None, change: Some(ChangeKind::Deleted) })
        }
        Action::Set(value) => update(current, value.clone(), Report::Nothing, context),
        Action::Increment(amount) => update(current, sum(current, amount)?, Report::Value, context),
        Action::Append(items) => update(current, appended(current, items)?, Report::Value, context),
        Action::Rollback { version } => {
            let (kept, secret) = state.value_at(name, *version).ok_or_else(|| {
                Error::invalid("version", format!("version {version} of {:?} holds no value that is kept", &**name))
            })?;
            // What was a secret does not become plain with the name.
            if secret && !current.spec.secret {
                let problem = format!("version {version} of {:?} is a secret's, and the variable is none now", &**name);
                return Err(Error::invalid("version", problem));
            }
            update(current, kept.clone(), Report::Value, context)
        }
    }
}

fn register(
    state: &State,
    operation: &Operation,
    (spec, value): (&Arc<Spec>, &Value),
    replace: bool,
    context: &Context<'_>,
) -> Result<Planned, Error> {
    if replace && !context.admin {
        return Err(denied(Role::Admin));
    }
    let name = &operation.name;
    let current = state.variable(name);
    match current.filter(|_| !replace) {
        Some(current) if current.spec == *spec => {
            return Ok(Planned { version: current.version, value: None, change: None });
        }
        Some(_) => return Err(Error::VariableExists { session: state.id.shared(), variable: name.shared() }),
        None => (),
    }
    // Whoever goes on setting the name believes it to be a secret.
    if current.is_none() && !spec.secret && state.was_secret(name) && !context.admin {
        return Err(denied(Role::Admin));
    }
    spec.validate()?;
    let value = spec.accept(name, value.clone())?;
    small(spec.encoded_len().max(value.encoded_len()), context)?;
    if let Some(same) = current.filter(|current| current.spec == *spec && is_unchanged(current, &value, context)) {
        return Ok(Planned { version: same.version, value: None, change: None });
    }
    let change = Some(ChangeKind::Registered { spec: Arc::clone(spec), value });
    Ok(Planned { version: state.next_version(name), value: None, change })
}

fn update(current: &Variable, value: Value, report: Report, context: &Context<'_>) -> Result<Planned, Error> {
    let value = current.spec.accept(&current.name, value)?;
    small(value.encoded_len(), context)?;
    let reported = match report {
        Report::Nothing => None,
        Report::Value => Some(value.clone()),
    };
    if is_unchanged(current, &value, context) {
        return Ok(Planned { version: current.version, value: reported, change: None });
    }
    Ok(Planned { version: current.version + 1, value: reported, change: Some(ChangeKind::Set { value }) })
}

/// What an operation on a secret takes besides `write`.
fn takes(action: &Action, context: &Context<'_>) -> Result<(), Error> {
    match action {
        // Whether it is refused, and what it comes to, would tell about the value. So would that of an earlier version.
        Action::Increment(_) | Action::Append(_) | Action::Rollback { .. } if !context.read_secret => {
            Err(denied(Role::ReadSecret))
        }
        // Whoever goes on setting the name believes it to be a secret, and deletions are not remembered for ever.
        Action::Delete if !context.admin => Err(denied(Role::Admin)),
        Action::Increment(_)
        | Action::Append(_)
        | Action::Rollback { .. }
        | Action::Delete
        | Action::Set(_)
        | Action::Register { .. } => Ok(()),
    }
}

fn denied(role: Role) -> Error {
    Error::PermissionDenied { role: role.name(), session: None }
}

/// Whether a variable is left as it is by a value. Of a secret only those who may read it are told: for others each
/// write is a change, and no guess is confirmed.
fn is_unchanged(current: &Variable, value: &Value, context: &Context<'_>) -> bool {
    (context.read_secret || injected!(ConfirmGuess) || !current.spec.secret) && current.value == *value
}

fn small(bytes: u64, context: &Context<'_>) -> Result<(), Error> {
    let max = context.limits.value_bytes;
    if bytes > max { Err(Error::LimitExceeded { limit: "value_bytes", max }) } else { Ok(()) }
}

fn mismatch(current: &Variable, expected: &str, got: &str) -> Error {
    Error::TypeMismatch { variable: current.name.shared(), expected: expected.into(), got: got.into() }
}

fn sum(current: &Variable, amount: &Value) -> Result<Value, Error> {
    match (current.spec.ty, &current.value, amount) {
        (Type::Integer, Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or_else(|| {
            let sum = i128::from(*a) + i128::from(*b);
            Error::ConstraintViolated {
                variable: current.name.shared(),
                constraint: if *b > 0 { format!("max={}", i64::MAX) } else { format!("min={}", i64::MIN) },
                value: if current.spec.secret { current.spec.show(&current.value) } else { sum.to_string() },
            }
        }),
        (Type::Float, Value::Float(a), Value::Float(b)) => Ok(Value::Float(a + b)),
        (Type::Float, Value::Float(a), Value::Int(b)) if b.unsigned_abs() <= MAX_EXACT_INTEGER.unsigned_abs() =>
        {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
            Ok(Value::Float(a + *b as f64))
        }
        (Type::Float, Value::Float(_), Value::Int(_)) => Err(mismatch(current, "float", "integer beyond 2^53")),
        (Type::Integer | Type::Float, Value::Null, _) => Err(mismatch(current, "a number to add to", "null")),
        (Type::Integer | Type::Float, _, amount) => Err(mismatch(current, current.spec.ty.name(), amount.kind())),
        (ty, _, _) => Err(mismatch(current, "float or integer", ty.name())),
    }
}

fn appended(current: &Variable, items: &[Value]) -> Result<Value, Error> {
    if items.is_empty() {
        return Err(Error::invalid("items", "an append needs at least one"));
    }
    match (current.spec.ty, &current.value) {
        (Type::List, Value::List(list)) => Ok(list.iter().chain(items).cloned().collect()),
        (Type::List, value) => Err(mismatch(current, "a list to append to", value.kind())),
        (ty, _) => Err(mismatch(current, "list", ty.name())),
    }
}
