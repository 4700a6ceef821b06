//! What a variable takes, and what becomes of a number or a list.

use snakepit_proto::v1::{ListValue, Value, VariableSpec, VariableType, constraints::Kind as Limits, value::Kind};

use crate::history::Refusal;

fn mismatch(name: &str) -> Refusal {
    Refusal::of("TYPE_MISMATCH", [("variable", name)])
}

/// The value as a variable of this spec takes it.
pub fn accepted(name: &str, spec: &VariableSpec, value: Value) -> Result<Value, Refusal> {
    let limits = spec.constraints.as_ref().and_then(|constraints| constraints.kind.as_ref());
    let (value, fits) = match (spec.r#type(), value.kind.unwrap()) {
        (VariableType::Integer, Kind::Int64Value(whole)) => {
            let fits = match limits {
                Some(Limits::Integer(limits)) => {
                    limits.min.is_none_or(|min| whole >= min) && limits.max.is_none_or(|max| whole <= max)
                }
                _ => true,
            };
            (Kind::Int64Value(whole), fits)
        }
        (VariableType::Float, Kind::DoubleValue(double)) => float(double, limits),
        #[allow(clippy::cast_precision_loss, reason = "small enough")]
        (VariableType::Float, Kind::Int64Value(whole)) => float(whole as f64, limits),
        (VariableType::String, Kind::StringValue(text)) => {
            let length = text.chars().count() as u64;
            let fits = match limits {
                Some(Limits::String(limits)) => limits.max_length.is_none_or(|max| length <= max),
                _ => true,
            };
            (Kind::StringValue(text), fits)
        }
        (VariableType::List, Kind::ListValue(list)) => {
            let length = list.items.len() as u64;
            let fits = match limits {
                Some(Limits::Collection(limits)) => limits.max_items.is_none_or(|max| length <= max),
                _ => true,
            };
            (Kind::ListValue(list), fits)
        }
        _ => return Err(mismatch(name)),
    };
    if fits { Ok(Value { kind: Some(value) }) } else { Err(Refusal::of("CONSTRAINT_VIOLATED", [("variable", name)])) }
}

fn float(double: f64, limits: Option<&Limits>) -> (Kind, bool) {
    let fits = match limits {
        Some(Limits::Float(limits)) => {
            limits.min.is_none_or(|min| double >= min) && limits.max.is_none_or(|max| double <= max)
        }
        _ => true,
    };
    (Kind::DoubleValue(double), fits)
}

pub fn sum(name: &str, value: &Value, amount: &Value) -> Result<Value, Refusal> {
    let kind = match (value.kind.as_ref(), amount.kind.as_ref()) {
        (Some(Kind::Int64Value(a)), Some(Kind::Int64Value(b))) => Kind::Int64Value(a + b),
        (Some(Kind::DoubleValue(a)), Some(Kind::DoubleValue(b))) => Kind::DoubleValue(a + b),
        #[allow(clippy::cast_precision_loss, reason = "small enough")]
        (Some(Kind::DoubleValue(a)), Some(Kind::Int64Value(b))) => Kind::DoubleValue(a + *b as f64),
        _ => return Err(mismatch(name)),
    };
    Ok(Value { kind: Some(kind) })
}

pub fn appended(name: &str, value: &Value, items: &[Value]) -> Result<Value, Refusal> {
    match &value.kind {
        Some(Kind::ListValue(list)) => {
            let items = list.items.iter().chain(items).cloned().collect();
            Ok(Value { kind: Some(Kind::ListValue(ListValue { items })) })
        }
        _ => Err(mismatch(name)),
    }
}
