//! What holds for any schema and any arguments.

use proptest::prelude::*;
use serde_json::Map;

use super::*;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        (-3i64..4).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        prop::sample::select(vec![0.0, 1.0, 2.0, 0.5, 1e300]).prop_map(Json::from),
        "[abü]{0,3}".prop_map(Json::from),
    ]
}

fn json_value() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(name(), inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn one(keyword: &'static str) -> impl Fn(Json) -> Json {
    move |value| json!({keyword: value})
}

fn limits() -> impl Strategy<Value = Json> {
    let number = || (-2i64..3).prop_map(Json::from);
    let count = || (0u64..3).prop_map(Json::from);
    let types = vec!["null", "boolean", "integer", "number", "string", "array", "object"];
    prop_oneof![
        prop::sample::select(types).prop_map(|ty| json!({"type": ty})),
        number().prop_map(one("minimum")),
        number().prop_map(one("exclusiveMaximum")),
        Just(json!({"multipleOf": 2})),
        count().prop_map(one("maxLength")),
        count().prop_map(one("minItems")),
        count().prop_map(one("maxProperties")),
        Just(json!({"uniqueItems": true})),
        name().prop_map(|name| json!({"required": [name]})),
        Just(json!({"pattern": "^a*b?$"})),
        json_value().prop_map(one("const")),
        prop::collection::vec(json_value(), 1..3).prop_map(|values| json!({"enum": values})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"$ref": "#/$defs/b"})),
        any::<bool>().prop_map(Json::from),
    ]
}

/// Several keywords in one schema.
fn merged(parts: Vec<Json>) -> Json {
    let members =
        parts.into_iter().filter_map(|part| if let Json::Object(members) = part { Some(members) } else { None });
    Json::Object(members.flatten().collect::<Map<_, _>>())
}

fn subschema() -> impl Strategy<Value = Json> {
    limits().prop_recursive(4, 30, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..3);
        let by_name = || prop::collection::btree_map(name(), inner.clone(), 1..3).prop_map(|map| json!(map));
        let keyword = prop_oneof![
            several().prop_map(|schemas| json!({"allOf": schemas})),
            several().prop_map(|schemas| json!({"anyOf": schemas})),
            several().prop_map(|schemas| json!({"oneOf": schemas})),
            inner.clone().prop_map(one("not")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"if": a, "then": b})),
            by_name().prop_map(one("properties")),
            by_name().prop_map(one("dependentSchemas")),
            inner.clone().prop_map(|schema| json!({"patternProperties": {"^[ab]": schema}})),
            inner.clone().prop_map(one("propertyNames")),
            inner.clone().prop_map(one("additionalProperties")),
            inner.clone().prop_map(one("unevaluatedProperties")),
            inner.clone().prop_map(one("unevaluatedItems")),
            inner.clone().prop_map(one("items")),
            several().prop_map(|schemas| json!({"prefixItems": schemas})),
            inner.clone().prop_map(one("contains")),
        ];
        prop::collection::vec(prop_oneof![keyword, limits()], 1..4).prop_map(merged)
    })
}

/// An open schema of arguments.
fn whole() -> impl Strategy<Value = Json> {
    (subschema(), subschema(), subschema(), subschema()).prop_map(
        |(a, b, x, y)| json!({"properties": {"a": x, "b": y}, "additionalProperties": true, "$defs": {"a": a, "b": b}}),
    )
}

fn any_arguments() -> impl Strategy<Value = Vec<(Arc<str>, Value)>> {
    let argument = (name(), snakepit_core::testing::values::value()).prop_map(|(name, value)| (Arc::from(name), value));
    prop::collection::vec(argument, 0..3)
}

proptest! {
    #[test]
    fn arguments_fit_exactly_if_json_schema_says_so(
        whole in whole(), given in prop::collection::btree_map(name(), json_value(), 0..3),
    ) {
        let given = json!(given);
        if let Ok(compiled) = Schema::compile(&whole.to_string(), MANY) {
            let expected = jsonschema::is_valid(&whole, &given);
            prop_assert_eq!(takes(&compiled, given.clone()), expected, "{} for {}", given, whole);
        }
    }

    #[test]
    fn any_schema_and_any_arguments_get_an_answer(whole in whole(), given in any_arguments()) {
        if let Ok(compiled) = Schema::compile(&whole.to_string(), MANY) {
            let _ = compiled.check("tool", &given);
        }
    }

    #[test]
    fn any_text_is_a_schema_or_refused(text in prop_oneof![".{0,60}", json_value().prop_map(|json| json.to_string())]) {
        let _ = Schema::compile(&text, MANY);
    }

    #[test]
    fn a_check_that_runs_out_of_steps_at_any_point_still_ends(
        whole in whole(), given in any_arguments(), steps in 0usize..300,
    ) {
        if let Ok(Schema { compiled: Some(compiled) }) = Schema::compile(&whole.to_string(), MANY) {
            let seen = Seen::Arguments(&given);
            let outcome = super::super::work::limited_to(steps, 1, || {
                (compiled.validator.is_valid(seen), compiled.validator.iter_errors(seen).count())
            });
            prop_assert!(outcome.is_none() || steps > 0);
        }
    }
}
