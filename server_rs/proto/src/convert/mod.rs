//! Between the messages that the protocol and the journal share and what the server thinks in: `parse` reads a message,
//! and refuses what is malformed; `encode` writes one.

#![allow(missing_docs, reason = "each function is named after the message it reads or writes")]

pub mod constraints;
pub mod spec;
pub mod value;

use std::time::Duration;

use snakepit_core::{
    error::Error,
    session::{Outcome, RecordKind},
    tool::Failure,
    value::Value,
    variable::{Author, Spec, Timestamp},
};

use crate::v1 as proto;

pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, micros) = (time.0 / 1_000_000, time.0 % 1_000_000);
    prost_types::Timestamp {
        seconds: seconds.try_into().unwrap_or(i64::MAX),
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    }
}

/// None for what protobuf cannot say: more than 292 billion years.
pub fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

/// None for less than nothing. The conversion that comes with the type overflows for the least number of seconds, as its
/// text does: see [`shown`].
pub fn span(duration: prost_types::Duration) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = duration.normalized();
    Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
}

/// A stranger's span of time, for a message.
pub fn shown(duration: prost_types::Duration) -> String {
    match duration.nanos {
        0 => format!("{} s", duration.seconds),
        nanos => format!("{} s and {nanos} ns", duration.seconds),
    }
}

pub fn author(author: &Author) -> proto::Author {
    proto::Author { name: author.name.to_string(), verified: author.verified }
}

pub fn record_kind(kind: RecordKind) -> proto::ChangeKind {
    match kind {
        RecordKind::Registered => proto::ChangeKind::Registered,
        RecordKind::Set => proto::ChangeKind::Set,
        RecordKind::Deleted => proto::ChangeKind::Deleted,
    }
}

/// What an operation did.
pub fn outcome(outcome: &Outcome) -> proto::OperationOutcome {
    proto::OperationOutcome {
        name: outcome.name.to_string(),
        changed: outcome.changed,
        version: outcome.version,
        value: outcome.value.as_deref().map(value::encode),
        // Whether it is one changes with the variable, so it is nothing to keep.
        secret: false,
    }
}

impl From<&Value> for proto::Value {
    fn from(value: &Value) -> Self {
        value::encode(value)
    }
}

impl TryFrom<proto::Value> for Value {
    type Error = Error;

    fn try_from(value: proto::Value) -> Result<Self, Error> {
        value::parse("value", Some(value))
    }
}

impl From<&Spec> for proto::VariableSpec {
    fn from(spec: &Spec) -> Self {
        spec::encode(spec)
    }
}

impl TryFrom<proto::VariableSpec> for Spec {
    type Error = Error;

    fn try_from(spec: proto::VariableSpec) -> Result<Self, Error> {
        spec::parse(Some(spec))
    }
}

impl From<proto::ToolFailure> for Failure {
    fn from(failure: proto::ToolFailure) -> Self {
        Self {
            kind: failure.r#type,
            bases: failure.bases,
            message: failure.message,
            retryable: failure.retryable,
            traceback: failure.traceback,
        }
    }
}

impl From<Failure> for proto::ToolFailure {
    fn from(failure: Failure) -> Self {
        Self {
            r#type: failure.kind,
            bases: failure.bases,
            message: failure.message,
            retryable: failure.retryable,
            traceback: failure.traceback,
        }
    }
}

#[test]
fn spans_of_time_are_what_they_say_or_none_at_the_edges_of_their_numbers_too() {
    for seconds in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX] {
        for nanos in [i32::MIN, -1_000_000_000, -1, 0, 1, 1_000_000_000, i32::MAX] {
            let given = prost_types::Duration { seconds, nanos };
            let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            let read = span(given);
            if seconds.unsigned_abs() < 1 << 62 {
                assert_eq!(read.map(|span| span.as_nanos()), u128::try_from(total).ok(), "{seconds} {nanos}");
            }
            assert_eq!(read.is_some(), total >= 0, "{}", shown(given));
        }
    }
}
