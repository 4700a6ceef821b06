//! How big and how deep a value is.

use snakepit_fault::injected;

use super::{NdArray, Value};

/// The bytes of a protobuf varint.
fn varint(value: u64) -> u64 {
    u64::from((u64::BITS - value.leading_zeros()).max(1).div_ceil(7))
}

/// The bytes of a length-delimited field with a one-byte tag.
pub fn delimited(len: u64) -> u64 {
    1 + varint(len) + len
}

/// The same, if proto3 omits it when empty.
pub fn omitted_if_empty(len: u64) -> u64 {
    if len == 0 { 0 } else { delimited(len) }
}

/// The steps in which sizes count wherever it shows what they add up to: a limit that is reached, a history or a log that
/// ends. A smaller secret is not told from another one by it.
const STEP: u64 = 512;

/// So many bytes, up to the next step.
pub fn in_steps(bytes: u64) -> u64 {
    if injected!(ExactSizes) {
        return bytes;
    }
    bytes.next_multiple_of(STEP)
}

impl NdArray {
    fn encoded_len(&self) -> u64 {
        let shape = self.shape().iter().copied().map(varint).sum();
        2 + omitted_if_empty(shape) + omitted_if_empty(self.data().len() as u64)
    }
}

impl Value {
    /// The bytes of the protobuf `Value` message. Costs a walk through lists and maps, nothing for anything else.
    pub fn encoded_len(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) => 2,
            #[expect(clippy::cast_sign_loss, reason = "a protobuf int64 is the varint of its two's complement")]
            Self::Int(value) => 1 + varint(*value as u64),
            Self::Float(_) => 9,
            Self::Text(text) => delimited(text.len() as u64),
            Self::Bytes(bytes) => delimited(bytes.len() as u64),
            Self::List(items) => delimited(items.iter().map(|item| delimited(item.encoded_len())).sum()),
            Self::Map(entries) => {
                let entry = |(key, value): &(_, Self)| {
                    let key: &std::sync::Arc<str> = key;
                    delimited(omitted_if_empty(key.len() as u64) + delimited(value.encoded_len()))
                };
                delimited(entries.iter().map(entry).sum())
            }
            Self::Array(array) => delimited(array.encoded_len()),
        }
    }

    /// How deep lists and maps nest: 0 for anything else, 1 for a list of scalars.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut rest = vec![(self, 0)];
        while let Some((value, above)) = rest.pop() {
            match value {
                Self::List(items) => {
                    deepest = deepest.max(above + 1);
                    rest.extend(items.iter().map(|item| (item, above + 1)));
                }
                Self::Map(entries) => {
                    deepest = deepest.max(above + 1);
                    rest.extend(entries.iter().map(|(_, item)| (item, above + 1)));
                }
                Self::Null
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Float(_)
                | Self::Text(_)
                | Self::Bytes(_)
                | Self::Array(_) => (),
            }
        }
        deepest
    }
}
