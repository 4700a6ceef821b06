//! Which arguments fit, and what is said of those that do not.

use prost::bytes::Bytes;
use snakepit_core::value::{Dtype, NdArray};

use super::*;

fn population() -> Schema {
    schema(&json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "filter": {"anyOf": [{"$ref": "#/$defs/Filter"}, {"type": "null"}]},
            "order": {"enum": ["up", "down"]},
            "shape": {"oneOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}]},
        },
        "required": ["city"],
        "$defs": {
            "Filter": {
                "type": "object",
                "properties": {"tags": {"type": "array", "items": {"type": "string"}}, "a b": {"type": "null"}},
                "required": ["tags"],
                "additionalProperties": false,
            },
            "Circle": {"properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind"]},
            "Square": {"properties": {"kind": {"const": "square"}, "side": {"type": "number"}}, "required": ["kind"]},
        },
    }))
}

#[test]
fn arguments_that_fit_are_taken() {
    for fitting in [
        json!({"city": "Paris"}),
        json!({"city": "", "limit": null, "filter": null}),
        json!({"limit": 3, "filter": {"tags": ["a", "b"]}, "city": "Paris", "order": "up"}),
        json!({"city": "Paris", "shape": {"kind": "square", "side": 1.5}}),
    ] {
        assert!(takes(&population(), fitting));
    }
}

#[test]
fn what_does_not_fit_is_named_by_its_path() {
    for (path, wrong) in [
        ("arguments.city", json!({"city": 1})),
        ("arguments.city", json!({"city": null})),
        ("arguments.limit", json!({"city": "", "limit": "ten"})),
        ("arguments.limit", json!({"city": "", "limit": 0})),
        ("arguments.city", json!({})),
        ("arguments.town", json!({"town": "", "city": 1})),
        (r#"arguments["the town"]"#, json!({"the town": ""})),
        ("arguments.filter.tags", json!({"city": "", "filter": {}})),
        ("arguments.filter.other", json!({"city": "", "filter": {"tags": [], "other": 1}})),
        ("arguments.filter.tags[1]", json!({"city": "", "filter": {"tags": ["a", 2]}})),
        (r#"arguments.filter["a b"]"#, json!({"city": "", "filter": {"tags": [], "a b": 1}})),
        ("arguments.order", json!({"city": "", "order": "sideways"})),
        ("arguments.shape.side", json!({"city": "", "shape": {"kind": "square", "side": "1"}})),
        ("arguments.shape.kind", json!({"city": "", "shape": {"kind": "line"}})),
    ] {
        assert_eq!(field(&population(), wrong.clone()), path, "{wrong}");
    }
}

#[test]
fn a_refusal_says_what_was_expected_and_what_was_given() {
    for (expected, given, wrong) in [
        ("string", "1", json!({"city": 1})),
        ("integer or null", r#""ten""#, json!({"city": "", "limit": "ten"})),
        ("object or null", "a list of 0", json!({"city": "", "filter": []})),
        (r#"one of "up", "down""#, r#""sideways""#, json!({"city": "", "order": "sideways"})),
        (r#""circle" or "square""#, r#""line""#, json!({"city": "", "shape": {"kind": "line"}})),
        ("minimum of 1", "0", json!({"city": "", "limit": 0})),
    ] {
        let message = message(&population(), wrong);
        assert!(message.contains(expected) && message.contains(given), "{message}");
        assert!(message.starts_with(r#"tool "tool": "#), "{message}");
    }
    assert!(message(&population(), json!({"city": vec!["x"; 1_000]})).len() < 100);
    assert!(message(&population(), json!({"city": "", "order": "x".repeat(10_000)})).len() < 200);
}

#[test]
fn missing_and_unknown_arguments_are_named_with_those_that_there_are() {
    let missing = message(&population(), json!({"limit": 1}));
    assert!(missing.contains(r#""city" is missing; it takes city (string), limit (integer or null, optional), "#));
    let unknown = message(&population(), json!({"ciyt": "Paris", "x": 1, "y": 2}));
    assert!(unknown.contains(r#""ciyt" is unknown (did you mean "city"?) (and 2 more); it takes city (string), "#));
    assert!(message(&schema(&json!({})), json!({"a": 1})).ends_with("it takes no arguments"));
}

#[test]
fn of_several_problems_one_is_told_and_the_others_are_counted() {
    let two = message(&population(), json!({"city": 1, "order": 2}));
    assert!(two.ends_with("(and 1 more)"), "{two}");
}

#[test]
fn a_schema_may_say_itself_what_becomes_of_undeclared_names() {
    for open in [
        json!({"additionalProperties": true}),
        json!({"additionalProperties": {"type": "integer"}}),
        json!({"patternProperties": {"^a": true}}),
        json!({"properties": {"b": true}, "unevaluatedProperties": true}),
        json!({"$ref": "#/$defs/open", "$defs": {"open": {"additionalProperties": true}}}),
    ] {
        assert!(takes(&schema(&open), json!({"a": 1})), "{open}");
    }
    assert!(!takes(&schema(&json!({"additionalProperties": {"type": "integer"}})), json!({"a": "1"})));
    assert!(!takes(&schema(&json!({"additionalProperties": false})), json!({"a": 1})));
    assert!(!takes(&schema(&json!({"patternProperties": {"^a": {"type": "null"}}})), json!({"ab": 1})));
}

#[test]
fn names_are_declared_wherever_the_whole_is_described() {
    let declared = schema(&json!({
        "$ref": "#/$defs/args",
        "allOf": [{"properties": {"b": true}}],
        "anyOf": [{"properties": {"c": true}}, {"required": ["d"]}, true],
        "$defs": {"args": {"properties": {"a": {"properties": {"inner": true}}}}},
    }));
    assert!(takes(&declared, json!({"a": 1, "b": 2, "c": 3, "d": 4})));
    assert!(!takes(&declared, json!({"inner": 1})));
}

#[test]
fn floats_that_json_cannot_say_are_refused_even_if_anything_is_taken() {
    let any = Schema::compile("", MANY).unwrap();
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let list: Value = [Value::Int(1), Value::Float(float)].into_iter().collect();
        let nested = Value::Map([("b".into(), list)].into());
        assert_eq!(refusal(&any, &[("a".into(), nested)]).0, "arguments.a.b[1]");
    }
}

#[test]
fn bytes_are_their_base64_and_an_array_is_an_object() {
    let array = NdArray::try_new(Dtype::Int16, [2], Bytes::from_static(&[1, 0, 2, 0])).unwrap();
    let given = [("bytes".into(), Value::Bytes(Bytes::from_static(b"abcd"))), ("array".into(), Value::Array(array))];
    let array = json!({
        "type": "object",
        "properties": {"dtype": {"const": "int16"}, "shape": {"const": [2], "items": {"type": "integer"}}},
        "required": ["dtype", "shape"],
        "additionalProperties": false,
    });
    let fits = |bytes: Json, array: &Json| {
        schema(&json!({"properties": {"bytes": bytes, "array": array}})).check("tool", &given).is_ok()
    };
    assert!(fits(json!({"const": "YWJjZA==", "maxLength": 8, "pattern": "^Y.*=$"}), &array));
    assert!(!fits(json!({"maxLength": 7}), &array));
    assert!(!fits(json!({}), &json!({"properties": {"shape": {"items": {"minimum": 3}}}})));
}

#[test]
fn numbers_are_compared_exactly() {
    let big = (1_i64 << 53) + 1;
    let bounded = schema(&json!({"properties": {"n": {"type": "integer", "maximum": big}, "c": {"const": big}}}));
    assert!(takes(&bounded, json!({"n": big, "c": big})));
    assert!(!takes(&bounded, json!({"n": big + 1})));
    assert!(!takes(&bounded, json!({"c": big - 1})));
    let unique = schema(&json!({"properties": {"l": {"uniqueItems": true}}}));
    assert!(takes(&unique, json!({"l": [1, 2, "1", [1], {"a": 1, "b": 2}, {"a": 1}]})));
    assert!(!takes(&unique, json!({"l": [1, 1.0]})));
    assert!(!takes(&unique, json!({"l": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]})));
    assert!(takes(&bounded, json!({"n": 1.0})));
    assert!(!takes(&bounded, json!({"n": 1.5})));
}

#[test]
fn formats_and_encodings_are_annotations() {
    let annotated = schema(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"format": "date", "contentEncoding": "base64", "contentMediaType": "application/json"}},
    }));
    assert!(takes(&annotated, json!({"a": "!"})));
}
