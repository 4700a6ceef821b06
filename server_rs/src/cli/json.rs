//! Values as JSON, in the form that `snakepit var --help` describes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value as Json, json};
use snakepit_server::proto::{Dtype, ListValue, MapEntry, MapValue, NdArray, Value, value::Kind};

/// The JSON form of a value.
pub(super) fn of(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::Int64Value(value)) => Json::Number((*value).into()),
        Some(Kind::DoubleValue(value)) => {
            Number::from_f64(*value).map_or_else(|| json!({"$float": non_finite(*value)}), Json::Number)
        }
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::BytesValue(bytes)) => json!({"$bytes": STANDARD.encode(bytes)}),
        Some(Kind::ListValue(list)) => Json::Array(list.items.iter().map(of).collect()),
        Some(Kind::MapValue(map)) => of_map(map),
        Some(Kind::NdarrayValue(array)) => json!({"$ndarray": {
            "dtype": dtype_name(array.dtype()),
            "shape": array.shape,
            "data": STANDARD.encode(&array.data),
        }}),
    }
}

fn of_map(map: &MapValue) -> Json {
    let value = |entry: &MapEntry| entry.value.as_ref().map_or(Json::Null, of);
    if let [only] = &map.entries[..]
        && only.key.starts_with('$')
    {
        return json!({"$map": [[only.key, value(only)]]});
    }
    Json::Object(map.entries.iter().map(|entry| (entry.key.clone(), value(entry))).collect())
}

/// The value that a JSON form stands for; a message for the user if it stands for none.
pub(super) fn parse(json: Json) -> Result<Value, String> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Kind::Int64Value(whole),
            (None, Some(float)) if number.is_f64() => Kind::DoubleValue(float),
            (None, _) => return Err(format!("{number} does not fit into 64 bits with a sign")),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => {
            Kind::ListValue(ListValue { items: items.into_iter().map(parse).collect::<Result<_, _>>()? })
        }
        Json::Object(object) => return parse_object(object),
    };
    Ok(Value { kind: Some(kind) })
}

fn parse_object(mut object: Map<String, Json>) -> Result<Value, String> {
    let special = object.keys().next().filter(|key| object.len() == 1 && key.starts_with('$')).cloned();
    let kind = if let Some(key) = special {
        let content = object.remove(&key).unwrap_or_default();
        parse_special(&key, content)?
    } else {
        entries(object.into_iter())?
    };
    Ok(Value { kind: Some(kind) })
}

fn entries(pairs: impl Iterator<Item = (String, Json)>) -> Result<Kind, String> {
    let entry = |(key, value)| Ok(MapEntry { key, value: Some(parse(value)?) });
    Ok(Kind::MapValue(MapValue { entries: pairs.map(entry).collect::<Result<_, String>>()? }))
}

fn parse_special(key: &str, content: Json) -> Result<Kind, String> {
    match key {
        "$float" => match content.as_str() {
            Some("NaN") => Ok(Kind::DoubleValue(f64::NAN)),
            Some("Infinity") => Ok(Kind::DoubleValue(f64::INFINITY)),
            Some("-Infinity") => Ok(Kind::DoubleValue(f64::NEG_INFINITY)),
            Some(_) | None => Err(r#"$float takes "NaN", "Infinity" or "-Infinity""#.into()),
        },
        "$bytes" => Ok(Kind::BytesValue(base64_of("$bytes", &content)?.into())),
        "$ndarray" => array(&content),
        "$map" => {
            let pairs: Vec<(String, Json)> =
                serde_json::from_value(content).map_err(|_| "$map takes a list of [key, value] pairs")?;
            entries(pairs.into_iter())
        }
        _ => Err(format!(
            r#"{key} is none of $float, $bytes, $ndarray, $map; a map with that key is {{"$map": [["{key}", …]]}}"#
        )),
    }
}

fn array(content: &Json) -> Result<Kind, String> {
    let expects = r#"$ndarray takes {"dtype": "float32", "shape": [2, 3], "data": BASE64}"#;
    let dtype =
        content["dtype"].as_str().and_then(|name| Dtype::from_str_name(&format!("DTYPE_{}", name.to_uppercase())));
    let shape = content["shape"].as_array().and_then(|axes| axes.iter().map(Json::as_u64).collect::<Option<Vec<_>>>());
    let (Some(dtype), Some(shape)) = (dtype, shape) else { return Err(expects.into()) };
    let data = base64_of("data", &content["data"])?.into();
    Ok(Kind::NdarrayValue(NdArray { dtype: dtype.into(), shape, data }))
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

fn dtype_name(dtype: Dtype) -> String {
    dtype.as_str_name().trim_start_matches("DTYPE_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(kind: Kind) {
        let value = Value { kind: Some(kind) };
        let text = of(&value).to_string();
        let read = serde_json::from_str(&text).map_err(|error| error.to_string()).and_then(parse);
        assert_eq!(read, Ok(value), "{text}");
    }

    #[test]
    fn every_kind_of_value_survives_json() {
        let inner = |kind| Value { kind: Some(kind) };
        round_trip(Kind::NullValue(0));
        round_trip(Kind::BoolValue(true));
        for whole in [0, (1 << 53) + 1, i64::MAX, i64::MIN] {
            round_trip(Kind::Int64Value(whole));
        }
        for float in [0.0, -0.0, 1.0, 0.1, 1e300, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY] {
            round_trip(Kind::DoubleValue(float));
        }
        round_trip(Kind::StringValue("ü\n\"".into()));
        round_trip(Kind::BytesValue(vec![0, 255].into()));
        let items = vec![inner(Kind::Int64Value(1)), inner(Kind::DoubleValue(1.0))];
        round_trip(Kind::ListValue(ListValue { items }));
        round_trip(Kind::NdarrayValue(NdArray {
            dtype: Dtype::Int16.into(),
            shape: vec![2],
            data: vec![1, 2, 3, 4].into(),
        }));
    }

    #[test]
    fn maps_keep_their_order_and_are_never_taken_for_something_else() {
        let entry = |key: &str| MapEntry { key: key.into(), value: Some(Value { kind: Some(Kind::Int64Value(1)) }) };
        round_trip(Kind::MapValue(MapValue { entries: vec![entry("b"), entry("a")] }));
        round_trip(Kind::MapValue(MapValue { entries: vec![entry("$bytes")] }));
        round_trip(Kind::MapValue(MapValue { entries: vec![entry("$bytes"), entry("$float")] }));
    }

    #[test]
    fn nan_stays_nan() {
        let nan = of(&Value { kind: Some(Kind::DoubleValue(f64::NAN)) });
        let read = parse(nan).map(|value| value.kind);
        assert!(matches!(read, Ok(Some(Kind::DoubleValue(float))) if float.is_nan()));
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused_rather_than_rounded() {
        for text in ["18446744073709551615", r#"{"$float": "1"}"#, r#"{"$other": 1}"#, r#"{"$bytes": "?"}"#] {
            assert!(serde_json::from_str(text).map_err(|error| error.to_string()).and_then(parse).is_err(), "{text}");
        }
    }
}
