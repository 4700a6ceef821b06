#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use proptest::prelude::*;

use super::*;
use crate::{error::Error, testing::values::value};

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn equal_values_have_equal_hashes(value in value()) {
        prop_assert_eq!(&value, &value.clone());
        prop_assert_eq!(hash(&value), hash(&value.clone()));
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
