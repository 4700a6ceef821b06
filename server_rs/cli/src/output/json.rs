//! Values as JSON, in the form that `snakepit var --help` describes.

use serde_json::{Value as Json, json};
use snakepit_core::{error::Error, value::Value};
use snakepit_proto::v1 as proto;

/// The JSON form of a value. One that this release cannot read, of a newer server, is an object that says why.
pub(crate) fn of(value: &proto::Value) -> Json {
    Value::try_from(value.clone())
        .map_or_else(|error| json!({"$unreadable": problem(error)}), |value| Json::from(&value))
}

/// The value that a JSON form stands for; a message for the user if it stands for none.
pub(crate) fn parse(json: Json) -> Result<proto::Value, String> {
    Value::try_from(json).map(|value| proto::Value::from(&value)).map_err(problem)
}

fn problem(error: Error) -> String {
    if let Error::InvalidRequest { problem, .. } = error { problem } else { error.to_string() }
}
