//! Arguments as the JSON that a schema speaks of, read where they are.
//!
//! Text, numbers, lists and maps are themselves; bytes are their base64 as a string; an ndarray is an object of its
//! `dtype` and its `shape`.

use std::{borrow::Cow, ptr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonschema::{
    JsonType,
    json::{Array, Json, JsonNumber, Node, NodeIdentity, Object},
};
use serde_json::{Number, Value as Parsed};
use snakepit_core::value::{NdArray, Value};

use super::work;

/// The representation.
pub(super) struct Arguments;

/// One value.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// All arguments.
    Arguments(&'a [(Arc<str>, Value)]),
    /// One of them, or what is in it.
    Value(&'a Value),
    /// A name, or an array's dtype.
    Text(&'a str),
    /// An array's shape.
    Shape(&'a [u64]),
    /// One of its axes.
    Axis(&'a u64),
}

impl Json for Arguments {
    type Node<'a> = Seen<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    // A lookup here is a search: one pass through the members is cheaper than several of them.
    const KEYS_PER_LOOKUP: usize = 64;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Seen<'_>) -> T) -> T {
        f(Seen::Text(string))
    }
}

impl<'a> Node<'a, Arguments> for Seen<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = Numeric;

    fn as_object(&self) -> Option<Members<'a>> {
        work::step(1);
        match *self {
            Self::Arguments(entries) => Some(Members::Entries(entries)),
            Self::Value(Value::Map(entries)) => Some(Members::Entries(entries)),
            Self::Value(Value::Array(array)) => Some(Members::Array(array)),
            Self::Value(_) | Self::Text(_) | Self::Shape(_) | Self::Axis(_) => None,
        }
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        work::step(1);
        match *self {
            Self::Value(Value::List(items)) => Some(Elements::Items(items)),
            Self::Shape(axes) => Some(Elements::Axes(axes)),
            Self::Value(_) | Self::Arguments(_) | Self::Text(_) | Self::Axis(_) => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        work::step(1);
        match *self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Value(Value::Text(text)) => Some(Cow::Borrowed(text)),
            Self::Value(Value::Bytes(bytes)) => {
                work::step(bytes.len() / 16);
                Some(Cow::Owned(STANDARD.encode(bytes)))
            }
            Self::Value(_) | Self::Arguments(_) | Self::Shape(_) | Self::Axis(_) => None,
        }
    }

    fn as_number(&self) -> Option<Numeric> {
        work::step(1);
        match *self {
            Self::Value(Value::Int(value)) => Some(Numeric::Int(*value)),
            Self::Value(Value::Float(value)) => Some(Numeric::Float(*value)),
            Self::Axis(length) => Some(Numeric::Axis(*length)),
            Self::Value(_) | Self::Arguments(_) | Self::Text(_) | Self::Shape(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        if let Self::Value(Value::Bool(value)) = *self { Some(*value) } else { None }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Value(Value::Null))
    }

    fn json_type(&self) -> JsonType {
        work::step(1);
        match self {
            Self::Arguments(_) | Self::Value(Value::Map(_) | Value::Array(_)) => JsonType::Object,
            Self::Shape(_) | Self::Value(Value::List(_)) => JsonType::Array,
            Self::Text(_) | Self::Value(Value::Text(_) | Value::Bytes(_)) => JsonType::String,
            Self::Axis(_) | Self::Value(Value::Int(_) | Value::Float(_)) => JsonType::Number,
            Self::Value(Value::Bool(_)) => JsonType::Boolean,
            Self::Value(Value::Null) => JsonType::Null,
        }
    }

    fn string_length(&self) -> Option<u64> {
        match *self {
            Self::Value(Value::Bytes(bytes)) => Some((bytes.len() as u64).div_ceil(3) * 4),
            Self::Value(_) | Self::Arguments(_) | Self::Text(_) | Self::Shape(_) | Self::Axis(_) => {
                let text = self.as_string()?;
                work::step(text.len() / 64);
                Some(text.chars().count() as u64)
            }
        }
    }

    fn equals_value(&self, expected: &Parsed) -> bool {
        work::step(1);
        match expected {
            Parsed::Null => self.is_null(),
            Parsed::Bool(expected) => self.as_boolean() == Some(*expected),
            Parsed::Number(expected) => {
                self.as_number().is_some_and(|number| jsonschema::json::cmp::equal_numbers(&number, expected))
            }
            Parsed::String(expected) => self.as_string().is_some_and(|text| text == expected.as_str()),
            Parsed::Array(expected) => self.as_array().is_some_and(|array| {
                array.len() == expected.len() && array.elements().zip(expected).all(|(a, b)| a.equals_value(b))
            }),
            Parsed::Object(expected) => self.as_object().is_some_and(|object| {
                let same = |(name, member): (&str, Seen<'_>)| {
                    expected.get(name).is_some_and(|expected| member.equals_value(expected))
                };
                object.len() == expected.len() && object.members().all(same)
            }),
        }
    }

    // Only errors show it, and whoever tells of them finds the value by its path: a copy for each would cost a lot.
    fn to_value(&self) -> Cow<'a, Parsed> {
        work::step_error();
        Cow::Owned(Parsed::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match *self {
            Self::Arguments(entries) => Some(NodeIdentity::tagged(entries.as_ptr().addr(), 1)),
            Self::Shape(axes) => Some(NodeIdentity::tagged(axes.as_ptr().addr(), 2)),
            Self::Value(value @ (Value::List(_) | Value::Map(_) | Value::Array(_))) => {
                Some(NodeIdentity::new(ptr::from_ref(value).addr()))
            }
            // No schema is applied to a value from inside of its own application (see `document`), so that nothing
            // has to be recognised again.
            Self::Value(_) | Self::Text(_) | Self::Axis(_) => None,
        }
    }
}

impl Seen<'_> {
    /// A copy.
    pub(super) fn parsed(self) -> Parsed {
        work::step(4);
        if let Some(object) = self.as_object() {
            object.members().map(|(name, member)| (name.to_owned(), member.parsed())).collect()
        } else if let Some(array) = self.as_array() {
            array.elements().map(Self::parsed).collect()
        } else if let Some(text) = self.as_string() {
            work::step(text.len() / 16);
            Parsed::String(text.into_owned())
        } else if let Some(number) = self.as_number() {
            Parsed::Number(number.to_number().into_owned())
        } else {
            self.as_boolean().map_or(Parsed::Null, Parsed::Bool)
        }
    }
}

/// A number.
#[derive(Clone, Copy)]
pub(super) enum Numeric {
    /// With a sign.
    Int(i64),
    /// A finite float.
    Float(f64),
    /// An axis of an array.
    Axis(u64),
}

impl JsonNumber for Numeric {
    fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => value.try_into().ok(),
            Self::Axis(value) => Some(value),
            Self::Float(_) => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            Self::Axis(value) => value.try_into().ok(),
            Self::Float(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        self.to_number().as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_number().to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(match *self {
            Self::Int(value) => value.into(),
            Self::Axis(value) => value.into(),
            Self::Float(value) => Number::from_f64(value).unwrap_or_else(|| 0.into()),
        })
    }

    fn is_integer(&self) -> bool {
        match self {
            Self::Int(_) | Self::Axis(_) => true,
            Self::Float(value) => value.fract() == 0.0,
        }
    }

    fn is_written_as_integer(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Axis(_))
    }
}

/// The members of an object.
#[derive(Clone, Copy)]
pub(super) enum Members<'a> {
    /// Of a map.
    Entries(&'a [(Arc<str>, Value)]),
    /// Of an array as the object that it is seen as.
    Array(&'a NdArray),
}

impl<'a> Members<'a> {
    fn at(self, index: usize) -> Option<(&'a str, Seen<'a>)> {
        match self {
            Self::Entries(entries) => entries.get(index).map(|(name, value)| (&**name, Seen::Value(value))),
            Self::Array(array) => match index {
                0 => Some(("dtype", Seen::Text(array.dtype().name()))),
                1 => Some(("shape", Seen::Shape(array.shape()))),
                _ => None,
            },
        }
    }
}

impl<'a> Object<'a, Arguments> for Members<'a> {
    type Node = Seen<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.len(),
            Self::Array(_) => 2,
        }
    }

    fn get(&self, key: &Box<str>) -> Option<Seen<'a>> {
        work::step(1 + self.len() / 8);
        let found = (0..self.len()).filter_map(|index| self.at(index)).find(|(name, _)| *name == &**key);
        found.map(|(_, member)| member).filter(|_| !work::is_over())
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter { members: *self, next: 0 }
    }
}

/// One member after the other, until the work is over.
pub(super) struct MembersIter<'a> {
    members: Members<'a>,
    next: usize,
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Seen<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, member) = self.members.at(self.next)?;
        self.next += 1;
        work::step_name(name);
        (!work::is_over()).then_some((name, member))
    }
}

/// The elements of a list or a shape.
#[derive(Clone, Copy)]
pub(super) enum Elements<'a> {
    /// Of a list.
    Items(&'a [Value]),
    /// Of a shape.
    Axes(&'a [u64]),
}

impl<'a> Array<'a, Arguments> for Elements<'a> {
    type Node = Seen<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Axes(axes) => axes.len(),
        }
    }

    fn elements(&self) -> ElementsIter<'a> {
        ElementsIter { elements: *self, next: 0 }
    }

    fn is_unique(&self) -> bool {
        let parsed: Vec<_> = self.elements().map(Seen::parsed).collect();
        jsonschema::json::unique::is_unique(&parsed)
    }
}

/// One element after the other, until the work is over.
pub(super) struct ElementsIter<'a> {
    elements: Elements<'a>,
    next: usize,
}

impl<'a> Iterator for ElementsIter<'a> {
    type Item = Seen<'a>;

    fn next(&mut self) -> Option<Seen<'a>> {
        let element = match self.elements {
            Elements::Items(items) => Seen::Value(items.get(self.next)?),
            Elements::Axes(axes) => Seen::Axis(axes.get(self.next)?),
        };
        self.next += 1;
        work::step(1);
        (!work::is_over()).then_some(element)
    }
}
