//! What a variable can hold: one immutable value, cheap to clone, compared bit by bit.

mod array;
mod json;
mod size;
#[cfg(test)]
mod tests;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;

pub use array::{Dtype, NdArray};
pub(crate) use size::in_steps;

/// How deep lists and maps may nest; a list of scalars is 1 deep. Protobuf parsers give up at 100 messages inside each
/// other, and a level of a map is three, with an array at the bottom and up to five messages around the value.
pub const MAX_DEPTH: usize = 30;

/// The greatest magnitude up to which every integer is a float exactly: 2^53.
pub const MAX_EXACT_INTEGER: i64 = 1 << 53;

const PREVIEW_CHARS: usize = 60;

/// One value. Clones share their content. Two values are equal if their kinds are and their content is bitwise equal: a
/// NaN equals a NaN with the same bits, 0.0 is not -0.0, 1 is not 1.0, and the order of a map's entries counts.
#[derive(Clone, Debug)]
pub enum Value {
    /// The absence of a value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// An IEEE 754 double.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Raw bytes.
    Bytes(Bytes),
    /// An ordered list.
    List(Arc<[Value]>),
    /// An ordered map; whoever builds it sees to it that no key occurs twice.
    Map(Arc<[(Arc<str>, Value)]>),
    /// An array of numbers or booleans.
    Array(NdArray),
}

impl Value {
    /// The kind's name, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Array(_) => "ndarray",
        }
    }

    /// The value for a message: scalars as they are (long text cut), anything bigger by its size only.
    pub fn preview(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => match text.char_indices().nth(PREVIEW_CHARS) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
            },
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(entries) => format!("a map of {}", entries.len()),
            Self::Array(array) => array.to_string(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        match self {
            Self::Null => (),
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Text(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::List(items) => items.hash(state),
            Self::Map(entries) => entries.hash(state),
            Self::Array(array) => array.hash(state),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::List(items.into_iter().collect())
    }
}
