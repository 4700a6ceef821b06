use std::sync::Arc;

use snakepit_core::{
    session::{Change, ChangeKind, Event, Outcome, Position, RecordKind, State, Sync, VersionRecord},
    value::Value,
    variable::{Spec, Variable},
};
use snakepit_proto::{convert as wire, convert::author, v1 as proto};

use super::{position, spec, timestamp, value};

/// Whether secrets are shown.
type Show = bool;

/// The value, or whether it is withheld.
fn show(value: &Value, secret: bool, secrets: Show) -> (Option<proto::Value>, bool) {
    if secret && !secrets { (None, true) } else { (Some(value::encode(value)), false) }
}

pub(in crate::service) fn variable(variable: &Variable, secrets: Show) -> proto::Variable {
    let (value, redacted) = show(&variable.value, variable.spec.secret, secrets);
    proto::Variable {
        name: variable.name.to_string(),
        spec: Some(spec::encode(&variable.spec)),
        value,
        version: variable.version,
        revision: variable.revision,
        updated_at: Some(timestamp(variable.updated_at)),
        updated_by: Some(author(&variable.updated_by)),
        reason: variable.reason.to_string(),
        redacted,
    }
}

fn state(variable: &Variable, secrets: Show) -> proto::VariableState {
    let (value, redacted) = show(&variable.value, variable.spec.secret, secrets);
    let (version, revision, secret) = (variable.version, variable.revision, variable.spec.secret);
    proto::VariableState { name: variable.name.to_string(), value, version, revision, redacted, secret }
}

pub(in crate::service) fn sync(at: Position, sync: Sync, secrets: Show) -> proto::SyncVariablesResponse {
    let (revision, incarnation) = position(at);
    let changed = sync.changed.iter().map(|variable| self::state(variable, secrets)).collect();
    proto::SyncVariablesResponse { revision, incarnation, full: sync.full, changed, absent: sync.absent }
}

/// A kept version. Histories never show secrets; `secret` says whether the variable is one now.
pub(in crate::service) fn version(record: &VersionRecord, secret: bool) -> proto::VariableVersion {
    let redacted = record.value.is_some() && (record.secret || secret);
    proto::VariableVersion {
        version: record.version,
        revision: record.revision,
        kind: wire::record_kind(record.kind).into(),
        value: record.value.as_ref().filter(|_| !redacted).map(value::encode),
        updated_at: Some(timestamp(record.time)),
        updated_by: Some(author(&record.author)),
        reason: record.reason.to_string(),
        redacted,
    }
}

/// What a write did. `secret` says of which outcomes with a value it is a secret's.
pub(in crate::service) fn outcomes(
    outcomes: &[Outcome],
    secret: impl Fn(&Outcome) -> bool,
    secrets: Show,
) -> Vec<proto::OperationOutcome> {
    let outcome = |outcome: &Outcome| {
        let secret = outcome.value.is_some() && secret(outcome);
        let told = wire::outcome(outcome);
        proto::OperationOutcome { secret, value: told.value.filter(|_| secrets || !secret), ..told }
    };
    outcomes.iter().map(outcome).collect()
}

/// One change of an event. `state` is a later state of the session, which knows the specs.
pub(in crate::service) fn change(state: &State, event: &Event, change: &Change, secrets: Show) -> proto::Change {
    let (kind, spec, value) = match &change.kind {
        ChangeKind::Registered { spec, value } => (proto::ChangeKind::Registered, Some(Arc::clone(spec)), Some(value)),
        ChangeKind::Set { value } => (proto::ChangeKind::Set, spec_at(state, change), Some(value)),
        ChangeKind::Deleted => (proto::ChangeKind::Deleted, None, None),
    };
    // A spec that is no longer known might have been a secret's.
    let secret = spec.as_ref().is_none_or(|spec| spec.secret);
    let (value, redacted) = value.map_or((None, false), |value| show(value, secret, secrets));
    proto::Change {
        kind: kind.into(),
        variable: Some(proto::Variable {
            name: change.name.to_string(),
            spec: spec.map(|spec| spec::encode(&spec)),
            value,
            version: change.version,
            revision: event.position.revision,
            updated_at: Some(timestamp(event.time)),
            updated_by: Some(author(&event.author)),
            reason: event.reason.to_string(),
            redacted,
        }),
    }
}

/// The spec that a variable had when its value was set; none if it was declared anew or deleted since, or if that is
/// no longer kept.
fn spec_at(state: &State, change: &Change) -> Option<Arc<Spec>> {
    let current = state.variable(&change.name)?;
    for record in state.history(&change.name)? {
        if record.version <= change.version {
            return Some(Arc::clone(&current.spec));
        }
        if record.kind != RecordKind::Set {
            break;
        }
    }
    None
}
