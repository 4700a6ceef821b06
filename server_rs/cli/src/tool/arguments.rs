//! The arguments of a call, from what a user typed and the tool's schema.

use serde_json::{Map, Value as Json};

/// Schemas refer to others no deeper than this; a deeper one says nothing of a type.
const DEEPEST: usize = 16;

/// The JSON that `text` stands for as the argument `name`: the text itself where the schema allows text, else JSON. Of
/// an argument of which the schema says nothing, JSON if it is some.
pub(super) fn typed(name: &str, text: String, schema: &Json) -> Result<Json, String> {
    let mut types = Vec::new();
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) {
        collect(property, schema, 0, &mut types);
    }
    if types.contains(&"string") {
        return Ok(Json::String(text));
    }
    match serde_json::from_str(text.trim()) {
        Ok(json) => Ok(json),
        Err(_) if types.is_empty() => Ok(Json::String(text)),
        Err(_) => Err(format!("{name} takes {}, got {text:?}", types.join(" or "))),
    }
}

/// The types that a schema allows, as far as it names them.
fn collect<'a>(schema: &'a Json, root: &'a Json, depth: usize, types: &mut Vec<&'a str>) {
    if depth > DEEPEST {
        return;
    }
    let Json::Object(schema) = schema else { return };
    let mut add = |ty: &'a str| {
        if !types.contains(&ty) {
            types.push(ty);
        }
    };
    match schema.get("type") {
        Some(Json::String(ty)) => add(ty),
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).for_each(&mut add),
        _ => {}
    }
    let allowed = schema.get("enum").and_then(Json::as_array).into_iter().flatten().chain(schema.get("const"));
    for value in allowed {
        add(type_of(value));
    }
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|it| it.strip_prefix('#'));
    if let Some(target) = target.and_then(|path| root.pointer(path)) {
        collect(target, root, depth + 1, types);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for part in schema.get(key).and_then(Json::as_array).into_iter().flatten() {
            collect(part, root, depth + 1, types);
        }
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// The arguments in one JSON object.
pub(super) fn object(text: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("--arguments takes a JSON object, as in '{\"city\": \"Paris\"}'".into()),
        Err(error) => Err(format!("--arguments is no JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_read_as_the_schema_says() {
        let schema = json!({
            "properties": {
                "s": {"type": "string"}, "i": {"type": "integer"}, "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/S"}]},
                "o": {"$ref": "#/$defs/O"}, "any": {}, "pick": {"enum": [1, 2]}, "round": {"$ref": "#/properties/round"},
            },
            "$defs": {"S": {"type": ["string"]}, "O": {"type": "object"}},
        });
        for (name, text, expected) in [
            ("s", "5", json!("5")),
            ("s", "{}", json!("{}")),
            ("i", "9007199254740993", json!(9_007_199_254_740_993_i64)),
            ("maybe", "null", json!("null")),
            ("o", r#"{"a": 1}"#, json!({"a": 1})),
            ("any", "true", json!(true)),
            ("any", "yes", json!("yes")),
            ("unknown", "[1]", json!([1])),
            ("pick", "2", json!(2)),
            ("round", "x", json!("x")),
        ] {
            assert_eq!(typed(name, text.into(), &schema), Ok(expected), "{name}={text}");
        }
        assert_eq!(typed("i", "one".into(), &schema), Err(r#"i takes integer, got "one""#.into()));
        assert!(typed("pick", "two".into(), &schema).is_err());
    }
}
