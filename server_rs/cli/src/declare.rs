//! Specs from what people write: a type, and limits by the same names for every type that has them.

use serde_json::{Map, Value as Json, json};
use snakepit_proto::v1::{VariableSpec, VariableType};

use crate::{spec, typed::type_name};

/// What a type can be limited by: as people name it, and as the protocol does.
type Known = &'static [(&'static str, &'static str)];

const FLOAT: Known = &[
    ("min", "min"),
    ("max", "max"),
    ("exclusive_min", "exclusive_min"),
    ("exclusive_max", "exclusive_max"),
    ("step", "step"),
    ("allow_nan", "allow_nan"),
    ("allow_infinity", "allow_infinity"),
];
const INTEGER: Known = &[("min", "min"), ("max", "max"), ("step", "step")];
const STRING: Known =
    &[("min_length", "min_length"), ("max_length", "max_length"), ("pattern", "pattern"), ("choices", "enum")];
const CHOICE: Known = &[("choices", "choices")];
const MODULE: Known = &[("choices", "modules")];
const EMBEDDING: Known = &[("dimensions", "dimensions"), ("dtype", "dtype")];
const TENSOR: Known = &[("shape", "shape"), ("dtype", "dtype")];
const COLLECTION: Known = &[("max_items", "max_items"), ("max_depth", "max_depth")];
const BYTES: Known = &[("max_length", "max_length")];

fn known(ty: VariableType) -> (&'static str, Known) {
    match ty {
        VariableType::Float => ("float", FLOAT),
        VariableType::Integer => ("integer", INTEGER),
        VariableType::String => ("string", STRING),
        VariableType::Choice => ("choice", CHOICE),
        VariableType::Module => ("module", MODULE),
        VariableType::Embedding => ("embedding", EMBEDDING),
        VariableType::Tensor => ("tensor", TENSOR),
        VariableType::List | VariableType::Map => ("collection", COLLECTION),
        VariableType::Bytes => ("bytes", BYTES),
        VariableType::Boolean | VariableType::Unspecified => ("", &[]),
    }
}

/// What is said of a variable besides its type and value.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// By the names that people give them.
    pub(super) limits: Map<String, Json>,
    pub(super) description: String,
    pub(super) metadata: Map<String, Json>,
    pub(super) nullable: bool,
    pub(super) secret: bool,
    pub(super) read_only: bool,
}

/// The spec; a message for the user if a limit is not the type's. `called` is how the user knows a limit.
pub(super) fn spec(ty: VariableType, said: Said, called: fn(&str) -> String) -> Result<VariableSpec, String> {
    let (kind, known) = known(ty);
    let mut limits = Map::new();
    for (name, value) in said.limits {
        let Some((_, field)) = known.iter().find(|(given, _)| *given == name) else {
            let takes: Vec<_> = known.iter().map(|(given, _)| called(given)).collect();
            let takes = if takes.is_empty() { "no limits".into() } else { takes.join(", ") };
            return Err(format!("{} is no limit of type {}; it takes {takes}", called(&name), type_name(ty)));
        };
        limits.insert((*field).to_owned(), value);
    }
    let mut object = json!({
        "type": type_name(ty),
        "description": said.description,
        "metadata": said.metadata,
        "nullable": said.nullable,
        "secret": said.secret,
        "read_only": said.read_only,
    });
    if !limits.is_empty() {
        object["constraints"] = json!({kind: limits});
    }
    spec::parse(&object)
}
