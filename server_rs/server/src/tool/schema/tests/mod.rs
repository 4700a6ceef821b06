#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arguments;
mod hostile;
mod laws;
mod schemas;
mod work;

use serde_json::{Value as Json, json};

use super::*;

const MANY: u64 = 1 << 20;

fn schema(json: &Json) -> Schema {
    Schema::compile(&json.to_string(), MANY).unwrap()
}

/// Why a schema is refused.
fn problem(json: &Json) -> String {
    match Schema::compile(&json.to_string(), MANY) {
        Err(Error::InvalidRequest { field, problem }) if field == "arguments_schema" => problem,
        other => panic!("{json}: {other:?}"),
    }
}

fn arguments(json: Json) -> Vec<(Arc<str>, Value)> {
    let Value::Map(entries) = Value::try_from(json).unwrap() else { panic!("not an object") };
    entries.to_vec()
}

fn takes(schema: &Schema, json: Json) -> bool {
    schema.check("tool", &arguments(json)).is_ok()
}

/// The field at fault, and what is wrong with it.
fn refusal(schema: &Schema, arguments: &[(Arc<str>, Value)]) -> (String, String) {
    match schema.check("tool", arguments) {
        Err(Error::InvalidRequest { field, problem }) => (field, problem),
        other => panic!("{other:?}"),
    }
}

fn field(schema: &Schema, json: Json) -> String {
    refusal(schema, &arguments(json)).0
}

fn message(schema: &Schema, json: Json) -> String {
    refusal(schema, &arguments(json)).1
}
