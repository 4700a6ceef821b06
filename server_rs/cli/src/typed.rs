//! What a user typed, as a value of the type that a variable declares.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use snakepit_proto::v1::{Value, VariableSpec, VariableType, constraints::Kind as Limits, value::Kind};

use crate::{input::Given, output::json};

/// The names of all types.
pub(super) const TYPES: [&str; 11] =
    ["float", "integer", "string", "boolean", "choice", "module", "embedding", "tensor", "list", "map", "bytes"];

/// Takes the name of a type.
pub(super) fn type_parser() -> impl TypedValueParser<Value = VariableType> {
    PossibleValuesParser::new(TYPES).try_map(|name| type_named(&name).ok_or("no type"))
}

/// The type of this name.
pub(super) fn type_named(name: &str) -> Option<VariableType> {
    let known = TYPES.contains(&name);
    known.then(|| VariableType::from_str_name(&format!("VARIABLE_TYPE_{}", name.to_uppercase()))).flatten()
}

/// The name of a type.
pub(super) fn type_name(ty: VariableType) -> String {
    ty.as_str_name().trim_start_matches("VARIABLE_TYPE_").to_lowercase()
}

/// The value that it stands for; a message for the user if it stands for none. Constraints are the server's to check.
pub(super) fn parse(given: Given, spec: &VariableSpec) -> Result<Value, String> {
    if let (Given::Content(content), VariableType::Bytes) = (&given, spec.r#type()) {
        return Ok(Value { kind: Some(Kind::BytesValue(content.clone().into())) });
    }
    let text = given.text()?;
    let kind = match spec.r#type() {
        VariableType::Integer => {
            Kind::Int64Value(text.trim().parse().map_err(|_| takes("a whole number of 64 bits", &text))?)
        }
        VariableType::Float => Kind::DoubleValue(float(text.trim()).ok_or_else(|| takes("a number, e.g. 0.7", &text))?),
        VariableType::Boolean => match text.trim() {
            "true" => Kind::BoolValue(true),
            "false" => Kind::BoolValue(false),
            _ => return Err(takes("true or false", &text)),
        },
        VariableType::String | VariableType::Module => Kind::StringValue(text),
        VariableType::Choice => return Ok(choice(&text, spec)),
        VariableType::Unspecified
        | VariableType::Embedding
        | VariableType::Tensor
        | VariableType::List
        | VariableType::Map
        | VariableType::Bytes => {
            let parsed = serde_json::from_str(&text).map_err(|error| error.to_string()).and_then(json::parse);
            return parsed.map_err(|problem| {
                let ty = type_name(spec.r#type());
                format!("a {ty} variable takes a value in JSON (see `snakepit var --help`): {problem}")
            });
        }
    };
    Ok(Value { kind: Some(kind) })
}

/// A number that is written as one. What only overflows to infinity is none.
pub(super) fn float(text: &str) -> Option<f64> {
    let float: f64 = text.parse().ok()?;
    let written_out = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_alphabetic());
    (float.is_finite() || written_out).then_some(float)
}

/// The declared choice that is written like this; else the text itself, for the server to refuse.
fn choice(text: &str, spec: &VariableSpec) -> Value {
    let choices = match spec.constraints.as_ref().and_then(|constraints| constraints.kind.as_ref()) {
        Some(Limits::Choice(limits)) => &limits.choices[..],
        Some(_) | None => &[],
    };
    let as_text = Value { kind: Some(Kind::StringValue(text.into())) };
    let written_like_this = |choice: &&Value| {
        let written = json::of(choice).to_string();
        **choice == as_text || written == text
    };
    choices.iter().find(written_like_this).cloned().unwrap_or(as_text)
}

fn takes(what: &str, text: &str) -> String {
    format!("the variable takes {what}, got {text:?}")
}
