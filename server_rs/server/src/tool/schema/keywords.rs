//! The keywords of JSON Schema, by what they do with the schemas that they hold.

use serde_json::Value as Json;

/// Keywords that apply what they hold to the same value, and for certain.
pub(super) const ALWAYS: [&str; 1] = ["allOf"];
/// Those that apply it to the same value, or ask whether it would fit.
pub(super) const PERHAPS: [&str; 8] =
    ["anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
/// Those that apply it to parts of the value, or only keep it.
pub(super) const ELSEWHERE: [&str; 13] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "contentSchema",
    "$defs",
    "definitions",
];
/// Those that hold schemas by names of any kind.
const MAPS: [&str; 6] = ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
pub(super) const ANCHORS: [&str; 2] = ["$anchor", "$dynamicAnchor"];
/// Those by which a schema says itself what becomes of properties that it does not declare.
pub(super) const OPEN: [&str; 3] = ["additionalProperties", "unevaluatedProperties", "patternProperties"];

/// Those that ask what other keywords left over.
pub(super) const LEFT_OVER: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// The schemas that a keyword holds.
pub(super) fn held<'a>(keyword: &str, value: &'a Json) -> Vec<&'a Json> {
    match value {
        Json::Object(members) if MAPS.contains(&keyword) => members.values().collect(),
        Json::Array(items) => items.iter().collect(),
        Json::Object(_) | Json::Bool(_) | Json::Null | Json::Number(_) | Json::String(_) => vec![value],
    }
}
