//! Objects and arrays of arguments.

use std::sync::Arc;

use jsonschema::json::{Array, Object};

use super::{
    node::{Arguments, Seen},
    work,
};
use crate::value::{NdArray, Value};

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
