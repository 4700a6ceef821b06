//! Limits on arrays, collections and bytes.

use super::invalid_constraint as invalid;
use crate::{
    error::Error,
    value::{Dtype, MAX_DEPTH, NdArray, Value},
};

/// Limits on an embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EmbeddingConstraints {
    /// The number of dimensions.
    pub dimensions: Option<u64>,
    /// The dtype, a float; none: any float.
    pub dtype: Option<Dtype>,
}

impl EmbeddingConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        match self.dtype.filter(|dtype| !dtype.is_float()) {
            Some(dtype) => Err(invalid("dtype", format!("float16, float32 or float64, got {}", dtype.name()))),
            None => Ok(()),
        }
    }

    /// The constraint that the array breaks.
    pub(super) fn broken(&self, array: &NdArray) -> Option<String> {
        if let Some(dimensions) = self.dimensions.filter(|dimensions| array.shape() != [*dimensions]) {
            return Some(format!("dimensions={dimensions}"));
        }
        broken_dtype(self.dtype, array)
    }
}

/// Limits on a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TensorConstraints {
    /// The length of each axis, -1: any. Empty: any shape.
    pub shape: Vec<i64>,
    /// The dtype; none: any.
    pub dtype: Option<Dtype>,
}

impl TensorConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        match self.shape.iter().find(|axis| **axis < -1) {
            Some(axis) => Err(invalid("shape", format!("an axis is a length, or -1 for any, got {axis}"))),
            None => Ok(()),
        }
    }

    /// The constraint that the array breaks.
    pub(super) fn broken(&self, array: &NdArray) -> Option<String> {
        let fits = |(wanted, got): (&i64, &u64)| *wanted == -1 || u64::try_from(*wanted) == Ok(*got);
        let all_fit = self.shape.len() == array.shape().len() && self.shape.iter().zip(array.shape()).all(fits);
        if !(self.shape.is_empty() || all_fit) {
            return Some(format!("shape={:?}", self.shape));
        }
        broken_dtype(self.dtype, array)
    }
}

fn broken_dtype(wanted: Option<Dtype>, array: &NdArray) -> Option<String> {
    wanted.filter(|dtype| *dtype != array.dtype()).map(|dtype| format!("dtype={}", dtype.name()))
}

/// Limits on a list or a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CollectionConstraints {
    /// The greatest number of items at the top level.
    pub max_items: Option<u64>,
    /// The greatest nesting; 1: no list or map inside.
    pub max_depth: Option<u64>,
}

impl CollectionConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        match self.max_depth {
            Some(0) => Err(invalid("max_depth", "has to be at least 1: a flat list or map")),
            Some(_) | None => Ok(()),
        }
    }

    /// The constraint that a list or map of so many items breaks.
    pub(super) fn broken(&self, items: usize, value: &Value) -> Option<String> {
        if let Some(max) = self.max_items.filter(|max| items as u64 > *max) {
            return Some(format!("max_items={max}"));
        }
        let max = self.max_depth.unwrap_or(u64::MAX).min(MAX_DEPTH as u64);
        (value.depth() as u64 > max).then(|| format!("max_depth={max}"))
    }
}

/// Limits on bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BytesConstraints {
    /// The greatest length.
    pub max_length: Option<u64>,
}

impl BytesConstraints {
    /// The constraint that so many bytes break.
    pub(super) fn broken(&self, length: usize) -> Option<String> {
        self.max_length.filter(|max| length as u64 > *max).map(|max| format!("max_length={max}"))
    }
}
