//! What a schema asks for, in a few words.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::document::Declared;

/// How long a description gets, in characters.
const LONGEST: usize = 120;
/// How many references are followed.
const DEEPEST: usize = 4;

/// As in `integer or null`, or `one of "a", "b"`.
pub(super) fn schema(root: &Json, schema: &Json) -> String {
    cut(described(root, schema, 0), LONGEST)
}

/// As in `city (string), limit (integer, optional)`.
pub(super) fn arguments(root: &Json, declared: &[Declared<'_>]) -> String {
    const SHOWN: usize = 12;
    if declared.is_empty() {
        return "no arguments".into();
    }
    let one = |argument: &Declared<'_>| {
        let what = argument.schema.map_or_else(|| "anything".into(), |it| schema(root, it));
        let optional = if argument.required { "" } else { ", optional" };
        format!("{} ({what}{optional})", cut(argument.name.to_owned(), LONGEST))
    };
    let mut text = declared.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    if declared.len() > SHOWN {
        let _ = write!(text, " and {} more", declared.len() - SHOWN);
    }
    text
}

fn described(root: &Json, schema: &Json, depth: usize) -> String {
    if depth > DEEPEST {
        return "anything".into();
    }
    let inner = |schema| described(root, schema, depth + 1);
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    if let Some(options) = schema["enum"].as_array() {
        return format!("one of {}", listed(options.iter().map(Json::to_string), ", "));
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|it| root.pointer(it.strip_prefix('#')?)) {
        return inner(target);
    }
    if let Some(any) = ["anyOf", "oneOf"].iter().find_map(|keyword| schema[*keyword].as_array()) {
        return listed(any.iter().map(inner), " or ");
    }
    match &schema["type"] {
        Json::String(ty) if ty == "array" && schema["items"].is_object() => {
            format!("array of {}", inner(&schema["items"]))
        }
        Json::String(ty) => ty.clone(),
        Json::Array(types) => listed(types.iter().map(|ty| ty.as_str().unwrap_or_default().to_owned()), " or "),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
            schema["allOf"].as_array().and_then(|all| all.first()).map_or_else(|| "anything".into(), inner)
        }
    }
}

/// The distinct ones of these, with something between them.
pub(super) fn listed(parts: impl Iterator<Item = String>, separator: &str) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for part in parts.take(LONGEST) {
        if !distinct.contains(&part) {
            distinct.push(part);
        }
    }
    cut(distinct.join(separator), LONGEST)
}

/// So many characters of a text: a message has to fit into a header.
pub(super) fn cut(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
