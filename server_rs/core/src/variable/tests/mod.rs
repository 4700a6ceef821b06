#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod laws;
mod patterns;
mod specs;

use super::*;
use crate::{error::Error, value::Value};

fn name() -> Name {
    Name::parse("v").unwrap()
}

fn float(limits: FloatConstraints) -> Spec {
    Spec::new(Type::Float, Constraints::Float(limits))
}

fn plain(ty: Type) -> Spec {
    Spec::new(ty, Constraints::None)
}

/// The constraint that refuses the value.
fn broken(spec: &Spec, value: impl Into<Value>) -> String {
    match spec.accept(&name(), value.into()) {
        Err(Error::ConstraintViolated { constraint, .. }) => constraint,
        other => panic!("{other:?}"),
    }
}

fn mismatched(spec: &Spec, value: impl Into<Value>) -> bool {
    matches!(spec.accept(&name(), value.into()), Err(Error::TypeMismatch { .. }))
}

/// The field that a spec is refused for.
fn refused_field(spec: &Spec) -> String {
    match spec.validate() {
        Err(Error::InvalidRequest { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}
