//! Between what a session is made of and the messages of `journal.proto`. Lossless both ways; what cannot be read is
//! damage, never a guess.

mod event;
mod row;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use prost::{Message, bytes::Bytes};

pub(super) use row::{Ended, Life};
use snakepit_core::{
    error::Error,
    session::{Idempotency, Incarnation, Outcome},
    value::Value,
    variable::{Author, Name, Timestamp},
};
use snakepit_proto::{convert as wire, journal as kept, v1 as proto};

/// A record that cannot be what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// What is written as one message.
pub(super) trait Record: Sized {
    /// The bytes of the message.
    fn encode(&self) -> Vec<u8>;

    /// The record of these bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Unreadable>;
}

/// The message in some bytes. They are copied once, and the values in the message share them.
fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, Unreadable> {
    M::decode(Bytes::copy_from_slice(bytes)).map_err(|error| Unreadable(error.to_string()))
}

fn given<T>(what: &str, value: Option<T>) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("{what} is missing")))
}

fn time(time: Option<prost_types::Timestamp>) -> Result<Timestamp, Unreadable> {
    let time = given("a time", time)?;
    let micros = u64::try_from(time.seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
    let below = u64::try_from(time.nanos).ok().map(|nanos| nanos / 1_000);
    let micros = micros.zip(below).and_then(|(whole, below)| whole.checked_add(below));
    micros.map(Timestamp).ok_or_else(|| Unreadable(format!("{} s and {} ns is no time", time.seconds, time.nanos)))
}

/// How many microseconds of those before a time were not lived. An older release knows nothing of it, writes none, and so
/// counts all of them as lived.
fn not_lived(time: Timestamp, lived: Timestamp) -> i64 {
    let not_lived = i128::from(time.0) - i128::from(lived.0);
    i64::try_from(not_lived).unwrap_or(if not_lived > 0 { i64::MAX } else { i64::MIN })
}

/// The time that was lived until then.
fn lived(time: Timestamp, not_lived: i64) -> Timestamp {
    let lived = i128::from(time.0) - i128::from(not_lived);
    Timestamp(u64::try_from(lived).unwrap_or(if lived > 0 { u64::MAX } else { 0 }))
}

fn ttl(ttl: Option<prost_types::Duration>) -> Result<Option<Duration>, Unreadable> {
    let read = |ttl| wire::span(ttl).ok_or_else(|| Unreadable(format!("{} is no ttl", wire::shown(ttl))));
    ttl.map(read).transpose()
}

fn author(author: Option<proto::Author>) -> Result<Author, Unreadable> {
    let author = given("an author", author)?;
    Ok(Author { name: author.name.into(), verified: author.verified })
}

fn incarnation(bytes: &[u8]) -> Result<Incarnation, Unreadable> {
    Ok(Incarnation::try_from(bytes)?)
}

fn value(value: Option<proto::Value>) -> Result<Value, Unreadable> {
    Ok(wire::value::parse("value", value)?)
}

fn idempotency(idempotency: &Idempotency) -> kept::Idempotency {
    kept::Idempotency {
        client_id: idempotency.client.to_string(),
        key: idempotency.key.to_string(),
        fingerprint: Bytes::copy_from_slice(&idempotency.fingerprint),
    }
}

fn read_idempotency(idempotency: kept::Idempotency) -> Result<Idempotency, Unreadable> {
    let wrong = |_| Unreadable(format!("a fingerprint of {} bytes", idempotency.fingerprint.len()));
    let fingerprint = <[u8; 32]>::try_from(&idempotency.fingerprint[..]).map_err(wrong)?;
    Ok(Idempotency { client: idempotency.client_id.into(), key: idempotency.key.into(), fingerprint })
}

fn outcomes(outcomes: &[Outcome]) -> Vec<proto::OperationOutcome> {
    outcomes.iter().map(wire::outcome).collect()
}

fn read_outcomes(outcomes: Vec<proto::OperationOutcome>) -> Result<Arc<[Outcome]>, Unreadable> {
    let outcome = |outcome: proto::OperationOutcome| {
        Ok(Outcome {
            name: Name::parse(&outcome.name)?.interned(),
            changed: outcome.changed,
            version: outcome.version,
            value: outcome.value.map(|given| value(Some(given))).transpose()?.map(Box::new),
        })
    };
    outcomes.into_iter().map(outcome).collect()
}
