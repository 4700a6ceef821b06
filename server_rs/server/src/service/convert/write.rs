use std::sync::Arc;

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use snakepit_core::{
    access::{Principal, Role},
    error::Error,
    session::{Action, Idempotency, Operation, Write},
    variable::{Author, Name},
};
use snakepit_proto::{
    Refusal, v1 as proto,
    v1::{WriteVariablesRequest, operation::Action as Requested},
};

use super::{incarnation, spec, value};

const MAX_REASON: usize = 1_024;
const MAX_ID: usize = 128;

/// Who does something: who the principal is, or says that it is.
pub(in crate::service) fn author(claimed: String, principal: &Principal) -> Result<Author, Refusal> {
    short("author", &claimed, MAX_ID)?;
    Ok(if principal.verified || claimed.is_empty() {
        Author { name: Arc::clone(&principal.name), verified: principal.verified }
    } else {
        Author { name: claimed.into(), verified: false }
    })
}

/// A write and who it is by. `session_id` is the caller's to parse.
pub(in crate::service) fn parse(
    request: WriteVariablesRequest,
    principal: &Principal,
) -> Result<(Write, Author), Refusal> {
    let encoded_len = request.encoded_len() as u64;
    let incarnation = incarnation(&request.incarnation)?;
    short("reason", &request.reason, MAX_REASON)?;
    short("client_id", &request.client_id, MAX_ID)?;
    short("idempotency_key", &request.idempotency_key, MAX_ID)?;
    let author = author(request.author, principal)?;
    let asked = WriteVariablesRequest {
        operations: request.operations,
        reason: request.reason,
        ..WriteVariablesRequest::default()
    };
    let idempotency = match (request.client_id, request.idempotency_key) {
        (_, key) if key.is_empty() => None,
        (client, _) if client.is_empty() => {
            return Err(
                Error::invalid("client_id", "has to come with an idempotency_key: keys are unique per client").into()
            );
        }
        (client, key) => {
            Some(Idempotency { client: client.into(), key: key.into(), fingerprint: fingerprint(&asked, principal) })
        }
    };
    if asked.operations.is_empty() {
        return Err(Error::invalid("operations", "a write needs at least one").into());
    }
    let operation = |(index, operation)| {
        parse_operation(operation).map_err(|error| Refusal { error, position: None, operation: Some(index) })
    };
    let operations = asked.operations.into_iter().enumerate().map(operation).collect::<Result<_, _>>()?;
    Ok((Write { incarnation, operations, reason: asked.reason.into(), idempotency, encoded_len }, author))
}

/// What tells a repeat of a write from another one. Whoever may not read secrets repeats only their own: if the key of
/// somebody else's write worked for them together with a guess of its values, the answer would confirm the guess.
fn fingerprint(asked: &WriteVariablesRequest, principal: &Principal) -> [u8; 32] {
    let content = Sha256::digest(asked.encode_to_vec());
    if principal.may(Role::ReadSecret) {
        return content.into();
    }
    Sha256::new_with_prefix(content).chain_update(principal.name.as_bytes()).finalize().into()
}

fn parse_operation(operation: proto::Operation) -> Result<Operation, Error> {
    let mut name = Name::parse(&operation.name)?;
    let action = operation.action.ok_or_else(|| Error::invalid("action", "an operation needs one"))?;
    if matches!(action, Requested::Register(_)) {
        name = name.interned();
    }
    let action = match action {
        Requested::Register(register) => Action::Register {
            spec: spec::parse(register.spec)?.shared(),
            value: value::parse("value", register.value)?,
            replace: register.replace,
        },
        Requested::Set(set) => Action::Set(value::parse("value", set.value)?),
        Requested::Increment(increment) => Action::Increment(value::parse("amount", increment.amount)?),
        Requested::Append(append) => Action::Append(value::parse_items("items", append.items)?),
        Requested::Delete(_) => Action::Delete,
        Requested::Rollback(rollback) => Action::Rollback { version: rollback.version },
    };
    Ok(Operation { name, expected_version: operation.expected_version, action })
}

fn short(field: &str, text: &str, max: usize) -> Result<(), Error> {
    // Bytes first: counting characters is not free.
    if text.len() <= max || text.chars().count() <= max {
        Ok(())
    } else {
        Err(Error::invalid(field, format!("takes at most {max} characters, got {}", text.chars().count())))
    }
}
