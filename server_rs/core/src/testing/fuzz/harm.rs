//! What can happen to the bytes of a message.

use proptest::{prelude::*, sample::Index};

use super::{
    edge,
    message::{Content, Field, at, count, parse, write},
};

/// Something that happens to the bytes of a message: to any of them, or to one of its fields at any depth.
#[derive(Clone, Debug)]
pub enum Harm {
    /// A bit turns.
    Turn(Index, u32),
    /// All behind a place is missing.
    Cut(Index),
    /// Bytes in place of others.
    Overwrite(Index, Vec<u8>),
    /// Bytes between others.
    Insert(Index, Vec<u8>),
    /// A field is there so many times more.
    Repeat(Index, usize),
    /// A field is missing.
    Drop(Index),
    /// A field has the number of another.
    Renumber(Index, u64),
    /// A field holds something else.
    Fill(Index, Content),
    /// A field has another's content.
    Graft(Index, Index),
    /// A field says that it is longer or shorter than it is.
    Lie(Index, u64),
    /// A field is in fields of these numbers, in turn, so many times.
    Nest(Index, &'static [u64], usize),
}

/// Texts that mean something somewhere, or nothing anywhere.
const TEXTS: [&[u8]; 18] = [
    b"",
    b"a",
    b"b",
    b"s",
    b"t",
    b"*",
    b"[",
    b"(a+)+$",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\0",
    b"\xf0\x9f\x92\xa9",
    b"-1",
    b"1e999",
    b"{\"type\": \"object\"}",
    b"{\"$ref\": \"#\"}",
    b"a.b-c",
    b"\x80\x04\x95\x0b.",
];

fn content() -> BoxedStrategy<Content> {
    prop_oneof![
        4 => edge().prop_map(Content::Number),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -0.0, 1e308, f64::MIN_POSITIVE])
            .prop_map(|number| Content::Eight(number.to_le_bytes())),
        1 => any::<[u8; 8]>().prop_map(Content::Eight),
        1 => any::<[u8; 4]>().prop_map(Content::Four),
        4 => prop::sample::select(TEXTS.to_vec()).prop_map(|text| Content::Bytes(text.to_vec())),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Content::Bytes),
        1 => prop::sample::select(vec![128, 129, 1_025, 5_000]).prop_map(|size| Content::Bytes(vec![b'x'; size])),
        1 => Just(Content::Fields(Vec::new())),
    ]
    .boxed()
}

pub fn harm() -> BoxedStrategy<Harm> {
    let place = any::<Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..9);
    let around = prop::sample::select(vec![&[7, 1][..], &[8, 1, 2], &[1], &[2], &[3]]);
    let deep = prop::sample::select(vec![1, 2, 15, 16, 30, 31, 33, 49, 99, 101, 2_000]);
    prop_oneof![
        3 => (place(), 0..8_u32).prop_map(|(at, bit)| Harm::Turn(at, bit)),
        1 => place().prop_map(Harm::Cut),
        1 => (place(), bytes()).prop_map(|(at, bytes)| Harm::Overwrite(at, bytes)),
        1 => (place(), bytes()).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        2 => (place(), prop::sample::select(vec![1, 1, 2, 7, 300])).prop_map(|(at, times)| Harm::Repeat(at, times)),
        2 => place().prop_map(Harm::Drop),
        2 => (place(), 1..12_u64).prop_map(|(at, number)| Harm::Renumber(at, number)),
        8 => (place(), content()).prop_map(|(at, content)| Harm::Fill(at, content)),
        4 => (place(), place()).prop_map(|(from, to)| Harm::Graft(from, to)),
        2 => (place(), edge()).prop_map(|(at, length)| Harm::Lie(at, length)),
        2 => (place(), around, deep).prop_map(|(at, numbers, times)| Harm::Nest(at, numbers, times)),
    ]
    .boxed()
}

impl Harm {
    /// The bytes after it.
    pub fn done_to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        match self {
            Self::Turn(place, bit) => {
                let place = place.index(bytes.len());
                bytes[place] ^= 1 << bit;
                bytes
            }
            Self::Cut(place) => {
                bytes.truncate(place.index(bytes.len()));
                bytes
            }
            Self::Overwrite(place, new) => {
                let place = place.index(bytes.len());
                let end = bytes.len().min(place + new.len());
                bytes.splice(place..end, new.iter().copied());
                bytes
            }
            Self::Insert(place, new) => {
                let place = place.index(bytes.len());
                bytes.splice(place..place, new.iter().copied());
                bytes
            }
            // What is no message any more has no fields.
            Self::Repeat(..)
            | Self::Drop(_)
            | Self::Renumber(..)
            | Self::Fill(..)
            | Self::Graft(..)
            | Self::Lie(..)
            | Self::Nest(..) => match parse(&bytes, 0) {
                Some(mut fields) => {
                    self.done_to_fields(&mut fields);
                    write(&fields)
                }
                None => bytes,
            },
        }
    }

    fn done_to_fields(&self, fields: &mut Vec<Field>) {
        let all = count(fields);
        let content_at = |fields: &mut Vec<Field>, place: &Index| {
            let mut found = Content::Number(0);
            at(fields, place.index(all), &mut |fields, index| found = fields[index].content.clone());
            found
        };
        let mut change = |place: &Index, change: &mut dyn FnMut(&mut Vec<Field>, usize)| {
            at(fields, place.index(all), change);
        };
        match self {
            Self::Turn(..) | Self::Cut(_) | Self::Overwrite(..) | Self::Insert(..) => {}
            Self::Repeat(place, times) => change(place, &mut |fields, index| {
                let again = std::iter::repeat_n(fields[index].clone(), *times);
                fields.splice(index..index, again);
            }),
            Self::Drop(place) => change(place, &mut |fields, index| drop(fields.remove(index))),
            Self::Renumber(place, number) => change(place, &mut |fields, index| fields[index].number = *number),
            Self::Fill(place, content) => change(place, &mut |fields, index| fields[index].content = content.clone()),
            Self::Graft(from, to) => {
                let content = content_at(fields, from);
                at(fields, to.index(all), &mut |fields, index| fields[index].content = content.clone());
            }
            Self::Lie(place, length) => change(place, &mut |fields, index| {
                let bytes = match &fields[index].content {
                    Content::Bytes(bytes) | Content::Lie(_, bytes) => bytes.clone(),
                    Content::Fields(inner) => write(inner),
                    Content::Number(_) | Content::Eight(_) | Content::Four(_) => return,
                };
                fields[index].content = Content::Lie(*length, bytes);
            }),
            Self::Nest(place, numbers, times) => change(place, &mut |fields, index| {
                let field = &mut fields[index];
                let mut bytes = match &field.content {
                    Content::Fields(inner) => write(inner),
                    Content::Bytes(bytes) => bytes.clone(),
                    Content::Number(_) | Content::Eight(_) | Content::Four(_) | Content::Lie(..) => return,
                };
                // As bytes: fields in fields would go as deep on this program's own stack.
                for number in (0..*times).flat_map(|_| numbers.iter().rev()) {
                    bytes = write(&[Field { number: *number, content: Content::Bytes(bytes) }]);
                }
                field.content = Content::Bytes(bytes);
            }),
        }
    }
}
