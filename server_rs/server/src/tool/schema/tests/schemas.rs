//! Which schemas are taken.

use super::*;

#[test]
fn an_empty_text_takes_any_arguments() {
    let any = Schema::compile("", 0).unwrap();
    assert!(takes(&any, json!({"a": [1, {"b": null}]})));
}

#[test]
fn a_schema_is_of_an_object() {
    for other in [json!({"type": "array"}), json!({"type": ["object", "null"]}), json!(true), json!([]), json!("x")] {
        problem(&other);
    }
    assert!(Schema::compile("{", MANY).is_err());
    assert!(takes(&schema(&json!({"properties": {"a": true}})), json!({"a": 1})));
}

#[test]
fn a_schema_has_to_be_a_valid_one() {
    for keyword in [
        json!({"type": "strin"}),
        json!({"minimum": "1"}),
        json!({"allOf": {}}),
        json!({"properties": 1}),
        json!({"pattern": 1}),
        json!({"$ref": 1}),
        json!({"required": "a"}),
    ] {
        problem(&json!({"properties": {"a": keyword}}));
    }
}

#[test]
fn a_schema_has_a_greatest_size() {
    let text = json!({"properties": {"a": {}}}).to_string();
    assert!(Schema::compile(&text, text.len() as u64).is_ok());
    let max = text.len() as u64 - 1;
    let refused = Schema::compile(&text, max).unwrap_err();
    assert_eq!(refused, Error::LimitExceeded { limit: "tool_schema_bytes", max });
}

#[test]
fn a_schema_refers_to_nothing_outside_of_itself() {
    for reference in ["https://example.com/city.json", "city.json", "file:///etc/passwd", "#/$defs/missing", "#missing"]
    {
        for keyword in ["$ref", "$dynamicRef"] {
            problem(&json!({"properties": {"a": {keyword: reference}}}));
        }
    }
    problem(&json!({"$schema": "https://example.com/dialect"}));
    problem(&json!({"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}));
    problem(&json!({"properties": {"a": {"$id": "https://example.com/a"}}}));
}

#[test]
fn a_schema_may_refer_to_its_parts_by_pointer_and_by_anchor() {
    let one = schema(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/whole",
        "properties": {
            "a": {"$ref": "#/$defs/a~1%20text"},
            "b": {"$ref": "#number"},
            "c": {"$dynamicRef": "#number"},
            "d": {"$ref": "#/x-own/deep"},
            "$ref": {"const": 1},
        },
        "$defs": {"a/ text": {"type": "string"}, "n": {"$anchor": "number", "type": "integer"}},
        "x-own": {"deep": {"$ref": "#/$defs/n"}},
    }));
    assert!(takes(&one, json!({"a": "x", "b": 1, "c": 2, "d": 3, "$ref": 1})));
    for (name, value) in [("a", json!(1)), ("b", json!("x")), ("c", json!("x")), ("d", json!("x")), ("$ref", json!(2))]
    {
        assert!(!takes(&one, json!({name: value, "e": 1})), "{name}");
    }
}

#[test]
fn data_in_a_schema_is_not_taken_for_schemas() {
    let data = json!({"$ref": "https://example.com", "$id": "x", "pattern": "("});
    schema(&json!({"properties": {"a": {"const": data, "default": data, "examples": [data]}, "b": {"enum": [data]}}}));
}

#[test]
fn older_drafts_are_taken() {
    for draft in ["http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-07/schema#"] {
        let old = schema(&json!({
            "$schema": draft,
            "definitions": {"n": {"type": "integer"}},
            "properties": {"a": {"$ref": "#/definitions/n"}, "id": {"type": "string"}},
        }));
        assert!(takes(&old, json!({"a": 1, "id": "x"})));
        assert!(!takes(&old, json!({"a": "1"})));
    }
    problem(&json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"id": "x"}}}));
}

#[test]
fn a_pattern_runs_in_linear_time() {
    let huge = format!("^({})$", "a".repeat(2_000));
    for pattern in ["(?=a)b", "(?<!a)b", r"(a)\1", "(", r"(\w{100}){100}", &huge] {
        problem(&json!({"properties": {"a": {"pattern": pattern}}}));
        problem(&json!({"patternProperties": {pattern: true}}));
    }
    let many: Vec<_> = (0..50).map(|_| json!({"pattern": r"^\w{10}$"})).collect();
    problem(&json!({"properties": {"a": {"allOf": many}}}));
}

#[test]
fn a_schema_nests_64_levels() {
    let nested = |levels: usize| {
        let inner = (0..levels).fold(json!({"type": "string"}), |inner, _| json!({"properties": {"a": inner}}));
        Schema::compile(&inner.to_string(), MANY)
    };
    assert!(nested(31).is_ok());
    assert!(nested(32).is_err());
    assert!(Schema::compile(&"[".repeat(100_000), MANY).is_err());
}

#[test]
fn a_schema_that_refers_to_itself_for_the_same_value_is_refused() {
    for endless in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {
            "a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
        json!({"if": {"$dynamicRef": "#me"}, "$dynamicAnchor": "me"}),
        json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "anyOf": [{"$recursiveRef": "#"}]}),
    ] {
        problem(&endless);
    }
}

#[test]
fn a_schema_may_refer_to_itself_for_the_parts_of_a_value() {
    let tree = schema(&json!({
        "properties": {"root": {"$ref": "#/$defs/tree"}},
        "$defs": {"tree": {
            "properties": {"name": {"type": "string"}, "children": {"items": {"$ref": "#/$defs/tree"}}},
            "required": ["name"],
        }},
    }));
    assert!(takes(&tree, json!({"root": {"name": "a", "children": [{"name": "b", "children": []}]}})));
    let wrong = json!({"root": {"name": "a", "children": [{"name": "b", "children": [{}]}]}});
    assert_eq!(field(&tree, wrong), "arguments.root.children[0].children[0].name");
}

#[test]
fn what_multiplies_without_end_is_refused() {
    let multiplying = |levels: usize, times: usize| {
        let level = |i: usize| {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            (format!("d{i}"), json!({"anyOf": vec![next; times]}))
        };
        let mut defs: serde_json::Map<_, _> = (0..levels).map(level).collect();
        defs.insert(format!("d{levels}"), json!({"type": "string"}));
        json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs})
    };
    schema(&multiplying(3, 10));
    problem(&multiplying(4, 10));
    problem(&multiplying(1_000, 2));
    let left_over = |levels: usize| {
        let wrap = |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false});
        json!({"properties": {"a": (0..levels).fold(json!(true), wrap)}})
    };
    schema(&left_over(5));
    problem(&left_over(12));
    let wide: Vec<_> = (0..20_000).map(|_| true).collect();
    problem(&json!({"properties": {"a": {"anyOf": wide}}}));
}
