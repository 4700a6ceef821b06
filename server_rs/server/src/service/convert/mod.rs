//! Between the messages of the protocol and what the server thinks in.

mod answer;
pub(super) mod tool;
mod write;

use prost::bytes::Bytes;

pub(super) use answer::{change, outcomes, sync, variable, version};
use snakepit_core::{
    session::{Incarnation, Position},
    variable::Name,
};
pub(super) use snakepit_proto::convert::{duration, shown, span, timestamp, value::encode as encode_value};
use snakepit_proto::{
    Refusal,
    convert::{spec, value},
};
pub(super) use write::{author, parse as parse_write};

/// The life meant; none: whichever is current.
pub(super) fn incarnation(bytes: &Bytes) -> Result<Option<Incarnation>, Refusal> {
    if bytes.is_empty() { Ok(None) } else { Incarnation::try_from(&bytes[..]).map(Some).map_err(Refusal::from) }
}

/// Revision and incarnation, as every answer carries them.
pub(super) fn position(position: Position) -> (u64, Bytes) {
    (position.revision, Bytes::copy_from_slice(&position.incarnation.0))
}

/// Checks every name of a list.
pub(super) fn check_names(field: &str, names: &[String]) -> Result<(), Refusal> {
    names.iter().try_for_each(|name| Name::check(name)).map_err(|error| error.within(field).into())
}
