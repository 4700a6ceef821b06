//! Whether a variable takes a value.

use super::{CollectionConstraints, Constraints, FloatConstraints, Name, Spec, Type};
use crate::{
    error::Error,
    value::{MAX_EXACT_INTEGER, Value},
};

impl Spec {
    /// The value as the variable holds it: an integer up to 2^53 becomes a float for a float variable, anything else
    /// stays. `TYPE_MISMATCH`, or `CONSTRAINT_VIOLATED` with the value withheld if it is secret.
    pub fn accept(&self, variable: &Name, value: Value) -> Result<Value, Error> {
        if matches!(value, Value::Null) {
            return if self.nullable { Ok(value) } else { Err(self.mismatch(variable, value.kind())) };
        }
        let value = match (self.ty, value) {
            (Type::Float, Value::Int(whole)) => {
                if whole.unsigned_abs() > MAX_EXACT_INTEGER.unsigned_abs() {
                    return Err(self.mismatch(variable, "integer beyond 2^53"));
                }
                #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
                Value::Float(whole as f64)
            }
            (_, value) => value,
        };
        if !self.ty.holds(&value) {
            return Err(self.mismatch(variable, &got(&value)));
        }
        match self.constraints.broken(&value) {
            None => Ok(value),
            Some(constraint) => {
                Err(Error::ConstraintViolated { variable: variable.shared(), constraint, value: self.show(&value) })
            }
        }
    }

    /// The value for a message, unless it is secret.
    pub fn show(&self, value: &Value) -> String {
        if self.secret { "a secret value".into() } else { value.preview() }
    }

    fn mismatch(&self, variable: &Name, got: &str) -> Error {
        let expected = if self.nullable { format!("{} or null", self.ty.name()) } else { self.ty.name().into() };
        Error::TypeMismatch { variable: variable.shared(), expected, got: got.into() }
    }
}

/// The kind, and for an array its dtype and shape: that is what an embedding or a tensor goes by.
fn got(value: &Value) -> String {
    if let Value::Array(array) = value { array.to_string() } else { value.kind().into() }
}

impl Type {
    /// Whether the value is one of this type's, constraints aside.
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Float => matches!(value, Value::Float(_)),
            Self::Integer => matches!(value, Value::Int(_)),
            Self::String | Self::Module => matches!(value, Value::Text(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Choice => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)),
            Self::Embedding => matches!(value, Value::Array(a) if a.shape().len() == 1 && a.dtype().is_float()),
            Self::Tensor => matches!(value, Value::Array(_)),
            Self::List => matches!(value, Value::List(_)),
            Self::Map => matches!(value, Value::Map(_)),
            Self::Bytes => matches!(value, Value::Bytes(_)),
        }
    }
}

impl Constraints {
    /// The constraint that a value of the right type breaks.
    fn broken(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Float(limits), Value::Float(float)) => limits.broken(*float),
            (Self::None, Value::Float(float)) => FloatConstraints::default().broken(*float),
            (Self::Integer(limits), Value::Int(whole)) => limits.broken(*whole),
            (Self::String(limits), Value::Text(text)) => limits.broken(text),
            (Self::Choice(limits), value) => limits.broken(value),
            (Self::Module(limits), Value::Text(name)) => limits.broken(name),
            (Self::Embedding(limits), Value::Array(array)) => limits.broken(array),
            (Self::Tensor(limits), Value::Array(array)) => limits.broken(array),
            (Self::Collection(limits), Value::List(items)) => limits.broken(items.len(), value),
            (Self::Collection(limits), Value::Map(entries)) => limits.broken(entries.len(), value),
            (Self::None, Value::List(_) | Value::Map(_)) => CollectionConstraints::default().broken(0, value),
            (Self::Bytes(limits), Value::Bytes(bytes)) => limits.broken(bytes.len()),
            (
                Self::None,
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Bytes(_) | Value::Array(_),
            ) => None,
            // Registration lets none of these through. If it did, a constraint that nothing enforces would be worse.
            (
                Self::Float(_)
                | Self::Integer(_)
                | Self::String(_)
                | Self::Module(_)
                | Self::Embedding(_)
                | Self::Tensor(_)
                | Self::Collection(_)
                | Self::Bytes(_),
                value,
            ) => Some(format!("{} constraints, which are not for {}", self.kind(), value.kind())),
        }
    }
}
