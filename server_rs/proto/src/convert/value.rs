//! Values as messages of the protocol.

use std::{collections::HashSet, sync::Arc};

use snakepit_core::{
    error::Error,
    value::{Dtype, MAX_DEPTH, NdArray, Value},
};

use crate::{v1 as proto, v1::value::Kind};

/// The value of a field that has to be given.
pub fn parse(field: &str, value: Option<proto::Value>) -> Result<Value, Error> {
    let value = value.ok_or_else(|| Error::invalid(field, "has to be given"))?;
    parse_at(field, value, 0)
}

/// The items of a list, each as deep as leaves room for the list around it.
pub fn parse_items(field: &str, items: Vec<proto::Value>) -> Result<Vec<Value>, Error> {
    items.into_iter().map(|item| parse_at(field, item, 1)).collect()
}

/// A value that `depth` lists and maps are around.
fn parse_at(field: &str, value: proto::Value, depth: usize) -> Result<Value, Error> {
    let kind = value.kind.ok_or_else(|| Error::invalid(field, "a value needs a kind: null is one, nothing is not"))?;
    let inner = || {
        let problem = || format!("lists and maps nest at most {MAX_DEPTH} levels deep");
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Error::invalid(field, problem())) }
    };
    Ok(match kind {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::Int64Value(value) => Value::Int(value),
        Kind::DoubleValue(value) => Value::Float(value),
        Kind::StringValue(text) => Value::Text(text.into()),
        Kind::BytesValue(bytes) => Value::Bytes(bytes),
        Kind::ListValue(list) => {
            let depth = inner()?;
            Value::List(list.items.into_iter().map(|item| parse_at(field, item, depth)).collect::<Result<_, _>>()?)
        }
        Kind::MapValue(map) => parse_map(field, map, inner()?)?,
        Kind::NdarrayValue(array) => {
            let dtype =
                parse_dtype(field, array.dtype)?.ok_or_else(|| Error::invalid(field, "an ndarray needs a dtype"))?;
            Value::Array(NdArray::try_new(dtype, array.shape, array.data).map_err(|error| error.within(field))?)
        }
    })
}

/// A map that `depth - 1` lists and maps are around.
pub fn parse_map(field: &str, map: proto::MapValue, depth: usize) -> Result<Value, Error> {
    let mut keys = HashSet::with_capacity(map.entries.len());
    let mut entries = Vec::with_capacity(map.entries.len());
    for proto::MapEntry { key, value } in map.entries {
        let key: Arc<str> = key.into();
        if !keys.insert(Arc::clone(&key)) {
            let shown: String = key.chars().take(128).collect();
            return Err(Error::invalid(field, format!("the key {shown:?} occurs twice in a map")));
        }
        let value = value.ok_or_else(|| Error::invalid(field, "every map entry needs a value"))?;
        entries.push((key, parse_at(field, value, depth)?));
    }
    Ok(Value::Map(entries.into()))
}

/// None if it is not given.
pub fn parse_dtype(field: &str, dtype: i32) -> Result<Option<Dtype>, Error> {
    let unknown = |_| Error::invalid(field, format!("{dtype} is no dtype of this protocol version"));
    Ok(match proto::Dtype::try_from(dtype).map_err(unknown)? {
        proto::Dtype::Unspecified => None,
        proto::Dtype::Bool => Some(Dtype::Bool),
        proto::Dtype::Int8 => Some(Dtype::Int8),
        proto::Dtype::Int16 => Some(Dtype::Int16),
        proto::Dtype::Int32 => Some(Dtype::Int32),
        proto::Dtype::Int64 => Some(Dtype::Int64),
        proto::Dtype::Uint8 => Some(Dtype::Uint8),
        proto::Dtype::Uint16 => Some(Dtype::Uint16),
        proto::Dtype::Uint32 => Some(Dtype::Uint32),
        proto::Dtype::Uint64 => Some(Dtype::Uint64),
        proto::Dtype::Float16 => Some(Dtype::Float16),
        proto::Dtype::Float32 => Some(Dtype::Float32),
        proto::Dtype::Float64 => Some(Dtype::Float64),
        proto::Dtype::Complex64 => Some(Dtype::Complex64),
        proto::Dtype::Complex128 => Some(Dtype::Complex128),
    })
}

pub fn encode_dtype(dtype: Dtype) -> proto::Dtype {
    match dtype {
        Dtype::Bool => proto::Dtype::Bool,
        Dtype::Int8 => proto::Dtype::Int8,
        Dtype::Int16 => proto::Dtype::Int16,
        Dtype::Int32 => proto::Dtype::Int32,
        Dtype::Int64 => proto::Dtype::Int64,
        Dtype::Uint8 => proto::Dtype::Uint8,
        Dtype::Uint16 => proto::Dtype::Uint16,
        Dtype::Uint32 => proto::Dtype::Uint32,
        Dtype::Uint64 => proto::Dtype::Uint64,
        Dtype::Float16 => proto::Dtype::Float16,
        Dtype::Float32 => proto::Dtype::Float32,
        Dtype::Float64 => proto::Dtype::Float64,
        Dtype::Complex64 => proto::Dtype::Complex64,
        Dtype::Complex128 => proto::Dtype::Complex128,
    }
}

pub fn encode(value: &Value) -> proto::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Int(value) => Kind::Int64Value(*value),
        Value::Float(value) => Kind::DoubleValue(*value),
        Value::Text(text) => Kind::StringValue(text.to_string()),
        Value::Bytes(bytes) => Kind::BytesValue(bytes.clone()),
        Value::List(items) => Kind::ListValue(proto::ListValue { items: items.iter().map(encode).collect() }),
        Value::Map(entries) => {
            let entry =
                |(key, value): &(Arc<str>, Value)| proto::MapEntry { key: key.to_string(), value: Some(encode(value)) };
            Kind::MapValue(proto::MapValue { entries: entries.iter().map(entry).collect() })
        }
        Value::Array(array) => Kind::NdarrayValue(proto::NdArray {
            dtype: encode_dtype(array.dtype()).into(),
            shape: array.shape().to_vec(),
            data: array.data().clone(),
        }),
    };
    proto::Value { kind: Some(kind) }
}
