//! Random values.

use proptest::prelude::*;

use crate::value::{Dtype, NdArray, Value};

fn array() -> impl Strategy<Value = NdArray> {
    (0..Dtype::ALL.len(), prop::collection::vec(0u64..4, 0..4)).prop_map(|(dtype, shape)| {
        let bytes = shape.iter().product::<u64>() * Dtype::ALL[dtype].size();
        NdArray::try_new(Dtype::ALL[dtype], shape, vec![1; usize::try_from(bytes).unwrap()].into()).unwrap()
    })
}

/// Any value, nested a little, with every float's bits and both kinds of zero.
pub fn value() -> impl Strategy<Value = Value> {
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
