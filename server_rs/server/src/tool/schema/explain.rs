//! Why arguments do not fit, for whoever gave them.

use std::{fmt::Write as _, sync::Arc};

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::Value as Json;
use snakepit_core::value::Value;

use super::{ARGUMENTS, describe};

type Entries = [(Arc<str>, Value)];

/// What is wrong, and with which field.
pub(super) struct Problem {
    pub(super) field: String,
    pub(super) text: String,
    /// Whether all arguments together are at fault, one that is missing or unknown included.
    pub(super) whole: bool,
}

impl Problem {
    /// With all arguments together.
    pub(super) fn of_all(text: impl Into<String>) -> Self {
        Self { field: ARGUMENTS.into(), text: text.into(), whole: true }
    }

    /// With one that is not known.
    pub(super) fn unknown(name: &str, text: impl Into<String>) -> Self {
        let mut problem = Self::of_all(text);
        push_member(&mut problem.field, name);
        problem
    }
}

/// What an error means for its reader.
pub(super) fn explain(error: &ValidationError<'_>, root: &Json, arguments: &Entries) -> Problem {
    let error = nearest(error);
    let (path, expected) = variants(error).unwrap_or_else(|| (error.instance_path().as_str(), None));
    let (mut field, given) = follow(path, arguments);
    let given = given.map_or_else(|| "this".into(), Value::preview);
    if let Some(name) = misnamed(error) {
        push_member(&mut field, name);
    }
    let expected = expected.or_else(|| asked_for(error, root));
    let text = match expected {
        Some(expected) => format!("expected {expected}, got {given}"),
        None => told(error, &given),
    };
    Problem { field, text: describe::cut(text, 500), whole: path.is_empty() }
}

/// The member that is missing, or should not be there.
fn misnamed<'e>(error: &'e ValidationError<'_>) -> Option<&'e str> {
    if let Kind::Required { property } = error.kind() {
        property.as_str()
    } else if let Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } = error.kind()
    {
        unexpected.first().map(String::as_str)
    } else {
        None
    }
}

/// What the schema at fault asks for, if the error is that the value is something else altogether.
fn asked_for(error: &ValidationError<'_>, root: &Json) -> Option<String> {
    let other = matches!(
        error.kind(),
        Kind::Type { .. } | Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::Enum { .. } | Kind::Constant { .. }
    );
    let (schema, _) = error.schema_path().as_str().rsplit_once('/')?;
    root.pointer(schema).filter(|_| other).map(|schema| describe::schema(root, schema))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is left is told well enough by the library")]
fn told(error: &ValidationError<'_>, given: &str) -> String {
    match error.kind() {
        Kind::Required { property } => format!("{property} is missing"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("{} unknown", names(unexpected))
        }
        Kind::AdditionalItems { limit } => format!("expected at most {limit} items, got {given}"),
        Kind::PropertyNames { error } => format!("a name does not fit: {}", told(error, "it")),
        Kind::Custom { message, .. } => format!("{given} {message}"),
        Kind::FalseSchema => "has to be left out".into(),
        _ => error.masked_with(given).to_string(),
    }
}

/// The error that tells most: where only one of several schemas is near, what that one misses.
fn nearest<'e>(error: &'e ValidationError<'e>) -> &'e ValidationError<'e> {
    let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else { return error };
    let other_altogether = |inner: &ValidationError<'_>| {
        inner.instance_path().as_str().len() == error.instance_path().as_str().len()
            && matches!(inner.kind(), Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. } | Kind::FalseSchema)
    };
    let mut near: Vec<_> = context.iter().filter(|errors| !errors.iter().any(other_altogether)).collect();
    if near.len() > 1 {
        near.retain(|errors| constant(errors).is_none());
    }
    match &near[..] {
        [errors] => errors.first().map_or(error, nearest),
        _ => error,
    }
}

/// Where several schemas are told apart by a constant, and none has the one that is given: its path and all of them.
fn variants<'e>(error: &'e ValidationError<'e>) -> Option<(&'e str, Option<String>)> {
    let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else { return None };
    let constants: Vec<_> = context.iter().map(|errors| constant(errors)).collect::<Option<_>>()?;
    let (path, _) = constants.first()?;
    let same = constants.iter().all(|(other, _)| other == path);
    same.then(|| (*path, Some(describe::listed(constants.iter().map(|(_, value)| value.to_string()), " or "))))
}

fn constant<'e>(errors: &'e [ValidationError<'e>]) -> Option<(&'e str, &'e Json)> {
    errors.iter().find_map(|error| {
        let Kind::Constant { expected_value } = error.kind() else { return None };
        Some((error.instance_path().as_str(), &**expected_value))
    })
}

/// Where a float is that JSON cannot say.
pub(super) fn not_finite(arguments: &Entries) -> Option<Problem> {
    let path = in_entries(arguments)?;
    let (field, given) = follow(&path, arguments);
    let given = given.map_or_else(String::new, Value::preview);
    let text = format!("{given} is no JSON; give null, or leave it out");
    Some(Problem { field, text, whole: false })
}

fn in_entries(entries: &Entries) -> Option<String> {
    entries.iter().find_map(|(key, value)| {
        let below = in_value(value)?;
        Some(format!("/{}{below}", key.replace('~', "~0").replace('/', "~1")))
    })
}

fn in_value(value: &Value) -> Option<String> {
    match value {
        Value::Float(float) => (!float.is_finite()).then(String::new),
        Value::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| in_value(item).map(|below| format!("/{index}{below}")))
        }
        Value::Map(entries) => in_entries(entries),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Bytes(_) | Value::Array(_) => None,
    }
}

/// The field that a JSON pointer means, and what is there, if it is a value of its own.
fn follow<'a>(pointer: &str, arguments: &'a Entries) -> (String, Option<&'a Value>) {
    let mut field = String::from(ARGUMENTS);
    let mut entries = Some(arguments);
    let mut current: Option<&Value> = None;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if let Some(Value::List(items)) = current {
            let _ = write!(field, "[{segment}]");
            current = segment.parse().ok().and_then(|index: usize| items.get(index));
        } else {
            push_member(&mut field, &segment);
            current = entries.into_iter().flatten().find(|(key, _)| **key == *segment).map(|(_, value)| value);
        }
        entries = if let Some(Value::Map(entries)) = current { Some(entries) } else { None };
    }
    (field, current)
}

fn push_member(field: &mut String, name: &str) {
    const LONGEST: usize = 64;
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let _ = if !name.is_empty() && name.len() <= LONGEST && name.chars().all(plain) {
        write!(field, ".{name}")
    } else {
        write!(field, "[{:?}]", name.chars().take(LONGEST).collect::<String>())
    };
}

/// As in `"a" and 2 more are`.
fn names(names: &[String]) -> String {
    let first: String = names.iter().take(1).flat_map(|name| name.chars().take(64)).collect();
    match names.len() {
        0 | 1 => format!("{first:?} is"),
        all => format!("{first:?} and {} more are", all - 1),
    }
}
