//! Between the messages of the protocol and what the server thinks in.

mod answer;
mod constraints;
mod spec;
pub(super) mod tool;
mod write;

use std::time::Duration;

use prost::bytes::Bytes;

pub(super) use answer::{change, outcomes, sync, variable, version};
pub(super) use value::encode as encode_value;
pub(super) use write::{author, parse as parse_write};

use crate::{
    error::Error,
    session::{Incarnation, Position},
    value::wire as value,
    variable::{Name, Timestamp},
};

/// The life meant; none: whichever is current.
pub(super) fn incarnation(bytes: &Bytes) -> Result<Option<Incarnation>, Error> {
    if bytes.is_empty() { Ok(None) } else { Incarnation::try_from(&bytes[..]).map(Some) }
}

/// Revision and incarnation, as every answer carries them.
pub(super) fn position(position: Position) -> (u64, Bytes) {
    (position.revision, Bytes::copy_from_slice(&position.incarnation.0))
}

/// Checks every name of a list.
pub(super) fn check_names(field: &str, names: &[String]) -> Result<(), Error> {
    names.iter().try_for_each(|name| Name::check(name)).map_err(|error| error.within(field))
}

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, micros) = (time.0 / 1_000_000, time.0 % 1_000_000);
    prost_types::Timestamp {
        seconds: seconds.try_into().unwrap_or(i64::MAX),
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    }
}

/// None for what protobuf cannot say: more than 292 billion years.
pub(super) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}
