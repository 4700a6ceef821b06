//! A protobuf message without its schema: fields in fields, which can be changed and written again.

/// A field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u64,
    pub content: Content,
}

/// What is in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Number(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(Vec<u8>),
    /// Bytes that are fields themselves, or happen to look like it.
    Fields(Vec<Field>),
    /// Bytes that say they are so many.
    Lie(u64, Vec<u8>),
}

/// The deepest fields that are told apart.
const DEEPEST: usize = 40;

/// The fields of a message, if these bytes are one.
pub fn parse(bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let (mut rest, mut fields) = (bytes, Vec::new());
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = tag >> 3;
        if !(1..=1_000).contains(&number) {
            return None;
        }
        let content = match tag & 7 {
            0 => Content::Number(varint(&mut rest)?),
            1 => Content::Eight(take(&mut rest, 8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let bytes = take(&mut rest, length)?;
                let inner = if depth < DEEPEST && !bytes.is_empty() { parse(bytes, depth + 1) } else { None };
                inner.map_or_else(|| Content::Bytes(bytes.to_vec()), Content::Fields)
            }
            5 => Content::Four(take(&mut rest, 4)?.try_into().ok()?),
            _ => return None,
        };
        fields.push(Field { number, content });
    }
    Some(fields)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// The bytes of a message.
pub fn write(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { number, content } in fields {
        let wire = match content {
            Content::Number(_) => 0,
            Content::Eight(_) => 1,
            Content::Bytes(_) | Content::Fields(_) | Content::Lie(..) => 2,
            Content::Four(_) => 5,
        };
        put(&mut bytes, number << 3 | wire);
        match content {
            Content::Number(value) => put(&mut bytes, *value),
            Content::Eight(value) => bytes.extend(value),
            Content::Four(value) => bytes.extend(value),
            Content::Bytes(value) => sized(&mut bytes, value.len() as u64, value),
            Content::Fields(inner) => {
                let inner = write(inner);
                sized(&mut bytes, inner.len() as u64, &inner);
            }
            Content::Lie(length, value) => sized(&mut bytes, *length, value),
        }
    }
    bytes
}

fn sized(bytes: &mut Vec<u8>, length: u64, content: &[u8]) {
    put(bytes, length);
    bytes.extend(content);
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        bytes.push(value.to_le_bytes()[0] | 128);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// How many fields there are, at any depth.
pub fn count(fields: &[Field]) -> usize {
    let below = |field: &Field| if let Content::Fields(inner) = &field.content { count(inner) } else { 0 };
    fields.iter().map(|field| 1 + below(field)).sum()
}

/// Does something to one field, told by its place in the order of writing, and to the fields it is among.
pub fn at(fields: &mut Vec<Field>, place: usize, change: &mut dyn FnMut(&mut Vec<Field>, usize)) -> bool {
    let mut passed = 0;
    for index in 0..fields.len() {
        if passed == place {
            change(fields, index);
            return true;
        }
        passed += 1;
        if let Content::Fields(inner) = &mut fields[index].content {
            let below = count(inner);
            if place < passed + below {
                return at(inner, place - passed, change);
            }
            passed += below;
        }
    }
    false
}

#[test]
fn what_is_parsed_is_written_as_it_was() {
    let bytes = [8, 150, 1, 18, 4, 10, 2, 104, 105, 25, 1, 2, 3, 4, 5, 6, 7, 8];
    let fields = parse(&bytes, 0).unwrap();
    assert_eq!((fields.len(), count(&fields)), (3, 5));
    assert_eq!(write(&fields), bytes);
}
