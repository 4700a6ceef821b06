//! Dense arrays: embeddings and tensors.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::error::Error;

/// The type of an array's elements. Numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// IEEE 754 binary16.
    Float16,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Two binary32.
    Complex64,
    /// Two binary64.
    Complex128,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Float16,
        Self::Float32,
        Self::Float64,
        Self::Complex64,
        Self::Complex128,
    ];

    /// The bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 | Self::Float16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
        }
    }

    /// Numpy's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
        }
    }

    /// The one that numpy calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Whether the elements are real floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Float32 | Self::Float64)
    }
}

/// A dense, row-major array. Its data always fit its shape and dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NdArray {
    dtype: Dtype,
    shape: Arc<[u64]>,
    data: Bytes,
}

impl NdArray {
    /// An array of `data`; an empty `shape` is a single element. `INVALID_REQUEST` if the data are not exactly as long as
    /// dtype and shape say, or if booleans are other than 0 and 1.
    pub fn try_new(dtype: Dtype, shape: impl Into<Arc<[u64]>>, data: Bytes) -> Result<Self, Error> {
        let shape = shape.into();
        // An axis of length 0 empties the array however long the others claim to be.
        let elements =
            if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1u64, |n, axis| n.checked_mul(*axis)) };
        let expected = elements.and_then(|n| n.checked_mul(dtype.size()));
        if expected != Some(data.len() as u64) {
            let expected = expected.map_or_else(|| "more than 2^64".into(), |n| n.to_string());
            let (dtype, got) = (dtype.name(), data.len());
            return Err(Error::invalid(
                "data",
                format!("{dtype} of shape {shape:?} takes {expected} bytes, got {got}"),
            ));
        }
        if dtype == Dtype::Bool
            && let Some(byte) = data.iter().find(|byte| **byte > 1)
        {
            return Err(Error::invalid("data", format!("a boolean element is the byte 0 or 1, got {byte}")));
        }
        Ok(Self { dtype, shape, data })
    }

    /// The type of every element.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The elements, row-major and little-endian.
    pub fn data(&self) -> &Bytes {
        &self.data
    }
}

/// As in `float32[2, 3]`.
impl fmt::Display for NdArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AXES: usize = 8;
        let rest = if self.shape.len() > AXES { "…" } else { "" };
        write!(f, "{}{:?}{rest}", self.dtype.name(), &self.shape[..self.shape.len().min(AXES)])
    }
}
