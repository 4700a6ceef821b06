//! Between the messages of the protocol and what the server thinks in.

mod answer;
pub(super) mod tool;
mod write;

use prost::bytes::Bytes;

pub(super) use answer::{change, outcomes, sync, variable, version};
pub(super) use write::{author, parse as parse_write};

pub(super) use crate::wire::{duration, shown, span, timestamp, value::encode as encode_value};
use crate::{
    error::Error,
    session::{Incarnation, Position},
    variable::Name,
    wire::{spec, value},
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
