//! That a check ends, whatever schema and arguments.

use super::*;

/// `{"a": {"a": …}}`, as deep as a value may be with the arguments around it.
fn deep(innermost: Value) -> Vec<(Arc<str>, Value)> {
    let nest = |inner, _| Value::Map([("a".into(), inner)].into());
    vec![("a".into(), (0..29).fold(innermost, nest))]
}

#[test]
fn schema_and_arguments_that_multiply_are_refused() {
    let level = |i: usize| {
        let next = json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", i + 1)}}});
        (format!("d{i}"), json!({"allOf": [next, next]}))
    };
    let mut defs: serde_json::Map<_, _> = (0..29).map(level).collect();
    defs.insert("d29".into(), json!({"type": "integer"}));
    let twice = schema(&json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs}));
    assert_eq!(refusal(&twice, &deep(Value::Int(1))).0, "arguments");
    let options: Vec<_> = (0..9_000).map(|n| json!({"const": n})).collect();
    let product = schema(&json!({"properties": {"a": {"items": {"anyOf": options}}}}));
    let items: Value = (0..10_000).map(|_| Value::Int(8_999)).collect();
    assert_eq!(refusal(&product, &[("a".into(), items)]).0, "arguments");
}

#[test]
fn big_arguments_are_checked_all_the_same() {
    let list = schema(&json!({"properties": {"a": {"items": {"type": ["integer", "string"]}}}}));
    let items = |last: Value| (0..1_000_000).map(Value::Int).chain([last]).collect::<Value>();
    assert!(list.check("tool", &[("a".into(), items(Value::from("x")))]).is_ok());
    assert_eq!(refusal(&list, &[("a".into(), items(Value::Null))]).0, "arguments.a[1000000]");
}

#[test]
fn a_pattern_is_asked_about_32_kib_at_most() {
    let letters = schema(&json!({"properties": {"a": {"pattern": "^a*$"}}}));
    assert!(takes(&letters, json!({"a": "a".repeat(32 * 1024)})));
    assert_eq!(field(&letters, json!({"a": "a".repeat(32 * 1024 + 1)})), "arguments.a");
}

#[test]
fn names_are_matched_only_as_long_as_it_is_little_work() {
    let named = schema(&json!({"patternProperties": {r"^\w{5}": true}}));
    assert!(takes(&named, json!({"abcde": 1})));
    assert_eq!(field(&named, json!({"a".repeat(1_000_000): 1})), "arguments");
}

#[test]
fn the_deepest_schemas_and_arguments_take_little_stack() {
    let wraps: [fn(Json) -> Json; 6] = [
        |inner| json!({"allOf": [inner, {"minProperties": 1}]}),
        |inner| json!({"anyOf": [inner, {"type": "string"}]}),
        |inner| json!({"oneOf": [inner, false]}),
        |inner| json!({"if": inner, "then": true, "else": false}),
        |inner| json!({"not": {"not": inner}}),
        |inner| json!({"allOf": [inner], "unevaluatedProperties": false}),
    ];
    let check = move || {
        for wrap in wraps {
            let part = json!({"properties": {"a": {"$ref": "#/$defs/T"}}, "type": ["object", "integer"]});
            let of = |levels| {
                let wrapped = (0..levels).fold(part.clone(), |inner, _| wrap(inner));
                let whole = json!({"properties": {"a": {"$ref": "#/$defs/T"}}, "$defs": {"T": wrapped}});
                Schema::compile(&whole.to_string(), MANY).ok()
            };
            let deepest = (1..40).rev().find_map(of).unwrap();
            let _ = deepest.check("tool", &deep(Value::Int(1)));
            assert!(deepest.check("tool", &deep(Value::Null)).is_err());
        }
    };
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    small.spawn(check).unwrap().join().unwrap();
}
