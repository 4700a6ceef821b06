//! Values as JSON, in the form that `snakepit var --help` describes.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use snakepit_core::{error::Error, value::Value};
use snakepit_proto::v1 as proto;

use crate::output::terminal;

/// The JSON form of a value. One that this release cannot read, of a newer server, is an object that says why.
pub(crate) fn of(value: &proto::Value) -> Json {
    Value::try_from(value.clone())
        .map_or_else(|error| json!({"$unreadable": problem(error)}), |value| Json::from(&value))
}

/// An object on one line. What a terminal would obey is escaped as JSON has it, wherever it goes: it means the same, and who
/// pages through it is in a terminal, too.
pub(crate) fn line(object: &Json) -> String {
    let text = object.to_string();
    if !text.contains(terminal::obeyed) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if terminal::obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The value that a JSON form stands for; a message for the user if it stands for none.
pub(crate) fn parse(json: Json) -> Result<proto::Value, String> {
    Value::try_from(json).map(|value| proto::Value::from(&value)).map_err(problem)
}

fn problem(error: Error) -> String {
    if let Error::InvalidRequest { problem, .. } = error { problem } else { error.to_string() }
}
