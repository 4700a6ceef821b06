//! Values as JSON, losslessly: what JSON itself cannot say is an object with one key that begins with `$`.
//!
//! | value | JSON |
//! |---|---|
//! | null, boolean, integer, text, list, map | itself; a map keeps its order |
//! | float | a number with a fraction or an exponent; `{"$float": "NaN"}`, `"Infinity"` or `"-Infinity"` |
//! | bytes | `{"$bytes": BASE64}` |
//! | ndarray | `{"$ndarray": {"dtype": "float32", "shape": [2, 3], "data": BASE64}}` |
//! | a map that would read as one of these | `{"$map": [[KEY, VALUE], …]}` |

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value as Json, json};

use super::{Dtype, MAX_DEPTH, NdArray, Value};
use crate::error::Error;

/// Losslessly, but for the bits of a NaN.
impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Number((*value).into()),
            Value::Float(value) => {
                Number::from_f64(*value).map_or_else(|| json!({"$float": non_finite(*value)}), Self::Number)
            }
            Value::Text(text) => Self::String(text.to_string()),
            Value::Bytes(bytes) => json!({"$bytes": STANDARD.encode(bytes)}),
            Value::List(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Map(entries) => of_map(entries),
            Value::Array(array) => json!({"$ndarray": {
                "dtype": array.dtype().name(),
                "shape": array.shape(),
                "data": STANDARD.encode(array.data()),
            }}),
        }
    }
}

/// `INVALID_REQUEST` with field `value` for what stands for no value: integers that need more than 64 bits with a sign,
/// unknown `$` keys, lists and maps more than [`MAX_DEPTH`] deep.
impl TryFrom<Json> for Value {
    type Error = Error;

    fn try_from(json: Json) -> Result<Self, Error> {
        parse(json, 0).map_err(|problem| Error::invalid("value", problem))
    }
}

fn of_map(entries: &[(Arc<str>, Value)]) -> Json {
    if let [(key, value)] = entries
        && key.starts_with('$')
    {
        return json!({"$map": [[**key, Json::from(value)]]});
    }
    Json::Object(entries.iter().map(|(key, value)| (key.to_string(), value.into())).collect())
}

/// A value that `depth` lists and maps are around.
fn parse(json: Json, depth: usize) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(float)) if number.is_f64() => Value::Float(float),
            (None, _) => return Err(format!("{number} does not fit into 64 bits with a sign")),
        },
        Json::String(text) => Value::Text(text.into()),
        Json::Array(items) => {
            let depth = inside(depth)?;
            Value::List(items.into_iter().map(|item| parse(item, depth)).collect::<Result<_, _>>()?)
        }
        Json::Object(object) => parse_object(object, depth)?,
    })
}

fn inside(depth: usize) -> Result<usize, String> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(format!("lists and maps nest at most {MAX_DEPTH} levels deep")) }
}

fn parse_object(mut object: Map<String, Json>, depth: usize) -> Result<Value, String> {
    let special = object.keys().next().filter(|key| object.len() == 1 && key.starts_with('$')).cloned();
    if let Some(key) = special {
        let content = object.remove(&key).unwrap_or_default();
        return parse_special(&key, content, depth);
    }
    parse_entries(object, depth)
}

fn parse_entries(pairs: impl IntoIterator<Item = (String, Json)>, depth: usize) -> Result<Value, String> {
    let depth = inside(depth)?;
    let entry = |(key, value): (String, Json)| Ok((key.into(), parse(value, depth)?));
    Ok(Value::Map(pairs.into_iter().map(entry).collect::<Result<_, String>>()?))
}

fn parse_special(key: &str, content: Json, depth: usize) -> Result<Value, String> {
    match key {
        "$float" => match content.as_str() {
            Some("NaN") => Ok(Value::Float(f64::NAN)),
            Some("Infinity") => Ok(Value::Float(f64::INFINITY)),
            Some("-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
            Some(_) | None => Err(r#"$float takes "NaN", "Infinity" or "-Infinity""#.into()),
        },
        "$bytes" => Ok(Value::Bytes(base64_of("$bytes", &content)?.into())),
        "$ndarray" => parse_array(&content),
        "$map" => {
            let pairs: Vec<(String, Json)> =
                serde_json::from_value(content).map_err(|_| "$map takes a list of [key, value] pairs")?;
            let mut keys = HashSet::new();
            if let Some((twice, _)) = pairs.iter().find(|(key, _)| !keys.insert(key)) {
                return Err(format!("the key {twice:?} occurs twice in a $map"));
            }
            parse_entries(pairs, depth)
        }
        _ => Err(format!(
            r#"{key} is none of $float, $bytes, $ndarray, $map; a map with that key is {{"$map": [["{key}", …]]}}"#
        )),
    }
}

fn parse_array(content: &Json) -> Result<Value, String> {
    let dtype = content["dtype"].as_str().and_then(Dtype::named);
    let shape = content["shape"].as_array().and_then(|axes| axes.iter().map(Json::as_u64).collect::<Option<Vec<_>>>());
    let (Some(dtype), Some(shape)) = (dtype, shape) else {
        return Err(r#"$ndarray takes {"dtype": "float32", "shape": [2, 3], "data": BASE64}"#.into());
    };
    let data = base64_of("data", &content["data"])?.into();
    NdArray::try_new(dtype, shape, data).map(Value::Array).map_err(|error| error.to_string())
}

fn base64_of(name: &str, content: &Json) -> Result<Vec<u8>, String> {
    let text = content.as_str().ok_or_else(|| format!("{name} takes base64"))?;
    STANDARD.decode(text).map_err(|error| format!("{name} is no base64: {error}"))
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn through_text(value: &Value) -> Result<Value, Error> {
        serde_json::from_str::<Json>(&Json::from(value).to_string()).unwrap().try_into()
    }

    /// The same with the one NaN that JSON can say.
    fn with_plain_nan(value: &Value) -> Value {
        if let Value::Float(float) = value
            && float.is_nan()
        {
            Value::Float(f64::NAN)
        } else if let Value::List(items) = value {
            items.iter().map(with_plain_nan).collect()
        } else if let Value::Map(entries) = value {
            Value::Map(entries.iter().map(|(key, value)| (key.clone(), with_plain_nan(value))).collect())
        } else {
            value.clone()
        }
    }

    proptest! {
        #[test]
        fn every_value_survives_json(value in crate::testing::values::value()) {
            let value = with_plain_nan(&value);
            prop_assert_eq!(through_text(&value), Ok(value));
        }
    }

    #[test]
    fn integers_and_floats_are_exact_and_stay_apart() {
        for whole in [0, (1 << 53) + 1, i64::MAX, i64::MIN] {
            assert_eq!(through_text(&Value::Int(whole)), Ok(Value::Int(whole)));
        }
        for float in [0.0, -0.0, 1.0, 0.1, 1e300, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(through_text(&Value::Float(float)), Ok(Value::Float(float)));
        }
    }

    #[test]
    fn maps_keep_their_order_and_are_never_taken_for_something_else() {
        for keys in [&["b", "a"][..], &["$bytes"], &["$bytes", "$float"]] {
            let map = Value::Map(keys.iter().map(|&key| (key.into(), Value::Int(1))).collect());
            assert_eq!(through_text(&map), Ok(map));
        }
    }

    #[test]
    fn what_stands_for_no_value_is_refused_rather_than_changed() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        for text in [
            "18446744073709551615",
            r#"{"$float": "1"}"#,
            r#"{"$other": 1}"#,
            r#"{"$bytes": "?"}"#,
            r#"{"$map": [["a", 1], ["a", 2]]}"#,
            r#"{"$ndarray": {"dtype": "int16", "shape": [2], "data": "AQ=="}}"#,
            r#"{"$ndarray": {"dtype": "int17", "shape": [], "data": "AQ=="}}"#,
            &deep,
        ] {
            assert!(Value::try_from(serde_json::from_str::<Json>(text).unwrap()).is_err(), "{text}");
        }
    }
}
