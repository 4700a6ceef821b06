#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{error::Error, proto};

fn array() -> impl Strategy<Value = NdArray> {
    (0..Dtype::ALL.len(), prop::collection::vec(0u64..4, 0..4)).prop_map(|(dtype, shape)| {
        let bytes = shape.iter().product::<u64>() * Dtype::ALL[dtype].size();
        NdArray::try_new(Dtype::ALL[dtype], shape, vec![1; usize::try_from(bytes).unwrap()].into()).unwrap()
    })
}

/// Any value, nested a little, with every float's bits and both kinds of zero.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-3i64..200).prop_map(Value::Int),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, f64::INFINITY]).prop_map(Value::Float),
        ".{0,200}".prop_map(|text| Value::from(&*text)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(bytes.into())),
        array().prop_map(Value::Array),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from_iter),
            prop::collection::btree_map(".{0,5}", inner, 0..5)
                .prop_map(|map| Value::Map(map.into_iter().map(|(key, value)| (key.into(), value)).collect())),
        ]
    })
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn the_size_of_a_value_is_that_of_its_message(value in value()) {
        prop_assert_eq!(value.encoded_len(), proto::Value::from(&value).encoded_len() as u64);
    }

    #[test]
    fn a_value_is_read_back_from_its_message(value in value()) {
        prop_assert_eq!(Value::try_from(proto::Value::from(&value)), Ok(value));
    }

    #[test]
    fn values_are_equal_exactly_if_their_messages_are_the_same_bytes(a in value(), b in value()) {
        prop_assert_eq!(&a, &a.clone());
        prop_assert_eq!(hash(&a), hash(&a.clone()));
        prop_assert_eq!(a == b, proto::Value::from(&a).encode_to_vec() == proto::Value::from(&b).encode_to_vec());
    }

    #[test]
    fn an_array_takes_exactly_the_bytes_of_its_shape(
        shape in prop::collection::vec(any::<u64>(), 0..5), dtype in 0..Dtype::ALL.len(), data in 0usize..64,
    ) {
        let elements = shape.iter().try_fold(1u128, |n, axis| n.checked_mul(u128::from(*axis)));
        let bytes = if shape.contains(&0) { Some(0) } else { elements.and_then(|n| n.checked_mul(Dtype::ALL[dtype].size().into())) };
        let made = NdArray::try_new(Dtype::ALL[dtype], shape, vec![0; data].into());
        prop_assert_eq!(made.is_ok(), bytes == Some(data as u128));
    }
}

#[test]
fn equality_is_bitwise() {
    let quiet = Value::Float(f64::from_bits(0x7ff8_0000_0000_0001));
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(1),
        Value::Float(1.0),
        Value::Float(0.0),
        Value::Float(-0.0),
        Value::Float(f64::NAN),
        quiet,
        Value::from("1"),
        Value::Bytes(Bytes::from_static(b"1")),
        [Value::Int(1)].into_iter().collect(),
        [Value::Float(1.0)].into_iter().collect(),
        Value::Map([("a".into(), Value::Int(1)), ("b".into(), Value::Int(2))].into()),
        Value::Map([("b".into(), Value::Int(2)), ("a".into(), Value::Int(1))].into()),
    ];
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
    assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
}

#[test]
fn an_array_refuses_a_shape_that_overflows_and_a_boolean_that_is_none() {
    let refused = |dtype, shape: &[u64], data: &'static [u8]| {
        let error = NdArray::try_new(dtype, shape, Bytes::from_static(data)).unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { field, .. } if field == "data"));
    };
    refused(Dtype::Float64, &[u64::MAX, u64::MAX], &[]);
    refused(Dtype::Float64, &[1 << 61], &[]);
    refused(Dtype::Int8, &[], &[]);
    refused(Dtype::Bool, &[2], &[1, 2]);
    assert!(NdArray::try_new(Dtype::Float64, [u64::MAX, 0, u64::MAX], Bytes::new()).is_ok());
    assert!(NdArray::try_new(Dtype::Bool, [2], Bytes::from_static(&[0, 1])).is_ok());
}

#[test]
fn depth_counts_lists_and_maps_however_deep() {
    let nested = |levels: usize| {
        (0..levels).fold(Value::Int(1), |inner, level| {
            if level % 2 == 0 {
                Value::Map([("k".into(), inner)].into())
            } else {
                [Value::Null, inner].into_iter().collect()
            }
        })
    };
    for levels in [0, 1, 2, 64, 65, 100, 2_000] {
        assert_eq!(nested(levels).depth(), levels);
    }
    assert_eq!(Value::from_iter([]).depth(), 1);
}

#[test]
fn a_preview_is_short_whatever_the_value() {
    let long = "ä".repeat(1_000_000);
    let array = NdArray::try_new(Dtype::Int8, vec![1; 1_000], Bytes::from_static(&[0])).unwrap();
    for value in [Value::from(&*long), Value::Array(array), Value::Bytes(long.into())] {
        assert!(value.preview().chars().count() < 100, "{}", value.preview());
    }
}
