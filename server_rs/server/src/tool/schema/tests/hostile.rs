//! Schemas that are made of keywords and of anything, texts that are almost JSON, and arguments of every kind.

use proptest::{prelude::*, sample::Index};
use snakepit_core::testing::{fuzz::config, values::value as any_value};

use super::*;

/// The keywords, those that this server does not know among them.
const KEYWORDS: &str = "type properties required items prefixItems additionalItems additionalProperties $ref $dynamicRef $recursiveRef $anchor \
    $dynamicAnchor $id id $schema $defs definitions allOf anyOf oneOf not if \
    then else dependentSchemas dependencies dependentRequired patternProperties propertyNames unevaluatedProperties unevaluatedItems contains minContains \
    maxContains const enum minimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxProperties \
    uniqueItems format";

fn keyword() -> BoxedStrategy<String> {
    prop::sample::select(KEYWORDS.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned).boxed()
}

const TEXTS: [&str; 22] = [
    "",
    "a",
    "object",
    "array",
    "string",
    "integer",
    "#",
    "#/$defs/a",
    "#/properties/a",
    "#a",
    "#/",
    "#/~2",
    "#%ff",
    "other.json",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2020-12/schema",
    "(a+)+$",
    "a{1000}{1000}",
    "(?=a)",
    "\\p{L}",
    "[",
    "\u{0}\u{1f4a9}",
];

fn text() -> BoxedStrategy<String> {
    prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned).boxed()
}

fn scalar() -> BoxedStrategy<Json> {
    let numbers = vec![json!(0), json!(-1), json!(0.5), json!(1e308), json!(5e-324), json!(u64::MAX), json!(i64::MIN)];
    prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => (0..4_u64).prop_map(Json::from),
        1 => prop::sample::select(numbers),
        4 => text().prop_map(Json::from),
    ]
    .boxed()
}

/// A document of keywords: some of it will make sense.
fn document() -> BoxedStrategy<Json> {
    let key = prop_oneof![
        5 => keyword(),
        1 => text(),
    ];
    let inner = scalar().prop_recursive(5, 60, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            4 => prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    });
    let property = prop_oneof![2 => keyword(), 1 => text()];
    prop::collection::btree_map(property, inner, 0..5)
        .prop_map(|mut top| {
            if top.get("type").is_some_and(|ty| ty != "object") {
                top.insert("type".into(), json!("object"));
            }
            top.into_iter().collect()
        })
        .boxed()
}

/// The text of a document, perhaps with other characters here and there, or very deep.
fn source() -> BoxedStrategy<String> {
    let other = (any::<Index>(), prop::sample::select(vec!["{", "}", "[", "\"", ",", "\\u", "1e9999", "\u{e9}", ""]));
    let deep =
        (prop::sample::select(vec!["[", "{\"not\":", "{\"a\":["]), prop::sample::select(vec![60, 127, 128, 900]));
    prop_oneof![
        6 => document().prop_map(|document| document.to_string()),
        2 => (document(), prop::collection::vec(other, 1..4)).prop_map(|(document, others)| {
            let mut characters: Vec<char> = document.to_string().chars().collect();
            for (place, other) in others {
                let place = place.index(characters.len());
                characters.splice(place..=place, other.chars());
                characters.push(' ');
            }
            characters.into_iter().collect()
        }),
        1 => deep.prop_map(|(opening, times)| opening.repeat(times)),
        1 => ".{0,40}".prop_map(String::from),
    ]
    .boxed()
}

fn given() -> BoxedStrategy<Vec<(Arc<str>, Value)>> {
    let value = prop_oneof![
        2 => any_value(),
        1 => document().prop_map(|document| Value::try_from(document).unwrap_or(Value::Null)),
    ];
    prop::collection::btree_map(text(), value, 0..5)
        .prop_map(|entries| entries.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
        .boxed()
}

proptest! {
    #![proptest_config(config(150, 1))]

    #[test]
    fn whatever_is_offered_as_a_schema_checks_whatever_is_given(
        source in source(), given in prop::collection::vec(given(), 4),
    ) {
        match Schema::compile(&source, MANY) {
            Ok(schema) => {
                for arguments in &given {
                    let first = schema.check("tool", arguments);
                    prop_assert_eq!(&first, &schema.check("tool", arguments), "checking changes nothing");
                    if let Err(error) = first {
                        let told = matches!(&error, Error::InvalidRequest { field, .. } if field.starts_with(ARGUMENTS));
                        prop_assert!(told, "{:?}", error);
                    }
                }
            }
            Err(error) => {
                let told = matches!(&error, Error::InvalidRequest { field, problem }
                    if field == "arguments_schema" && problem.len() < 20_000);
                prop_assert!(told, "{:?}", error);
            }
        }
    }
}
