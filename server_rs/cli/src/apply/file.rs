//! The file that `snakepit apply` reads: what a session declares, in TOML.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use snakepit_proto::v1::{Value, VariableSpec, VariableType, value::Kind};

use crate::{
    declare::{self, Said},
    input::Given,
    output::json as values,
    typed,
};

/// A session's declaration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The session; --session says another.
    pub(super) session: Option<String>,
    /// How long a session that is made lives untouched, in seconds.
    pub(super) ttl: Option<f64>,
    /// Labels of a session that is made.
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    variables: BTreeMap<String, Entry>,
}

/// A variable, with its limits beside its type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    r#type: String,
    value: Option<toml::Value>,
    value_file: Option<String>,
    value_env: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    nullable: bool,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    read_only: bool,
    min: Option<toml::Value>,
    max: Option<toml::Value>,
    exclusive_min: Option<bool>,
    exclusive_max: Option<bool>,
    step: Option<toml::Value>,
    allow_nan: Option<bool>,
    allow_infinity: Option<bool>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<String>,
    choices: Option<Vec<toml::Value>>,
    dimensions: Option<u64>,
    shape: Option<Vec<i64>>,
    dtype: Option<String>,
    max_items: Option<u64>,
    max_depth: Option<u64>,
}

/// A variable that is to be there.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) spec: VariableSpec,
    pub(super) value: Value,
}

/// What a file says; a message for the user, with line and column, if it is none of these.
pub(super) fn parse(text: &str, directory: &Path) -> Result<(File, Vec<Declared>), String> {
    let mut file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let entries = std::mem::take(&mut file.variables).into_iter();
    let declared = entries.map(|(name, entry)| {
        entry
            .declared(&name, directory)
            .map_err(|problem| format!("{}variable {name:?}: {problem}", place(text, &name)))
    });
    let declared = declared.collect::<Result<_, _>>()?;
    Ok((file, declared))
}

/// Where a variable's table begins, as far as its header says.
fn place(text: &str, name: &str) -> String {
    let header = |line: &str| {
        let inside = line.trim().strip_prefix("[variables.").and_then(|rest| rest.split(']').next());
        inside.is_some_and(|inside| inside.trim().trim_matches(['"', '\'']) == name)
    };
    text.lines().position(header).map(|line| format!("line {}: ", line + 1)).unwrap_or_default()
}

impl Entry {
    fn declared(self, name: &str, directory: &Path) -> Result<Declared, String> {
        let ty = typed::type_named(&self.r#type)
            .ok_or_else(|| format!("{:?} is no type; it is one of {}", self.r#type, typed::TYPES.join(", ")))?;
        let given = (self.value.clone(), self.value_file.clone(), self.value_env.clone());
        let spec = self.spec(ty)?;
        let value = match given {
            (Some(value), None, None) => of_toml(value, &spec)?,
            (None, Some(path), None) => {
                let content = std::fs::read(directory.join(&path));
                let content = content.map_err(|error| format!("value_file {path:?} cannot be read: {error}"))?;
                typed::parse(Given::Content(content), &spec)?
            }
            (None, None, Some(variable)) => {
                let text = std::env::var(&variable).map_err(|_| {
                    format!("value_env names {variable}, which is not set; set it, or leave this variable out")
                })?;
                typed::parse(Given::Text(text), &spec)?
            }
            (None, None, None) if spec.nullable => Value { kind: Some(Kind::NullValue(0)) },
            (None, None, None) => {
                return Err("it has no value; give one as value, value_file or value_env, or let it be nullable".into());
            }
            _ => return Err("it takes one of value, value_file and value_env".into()),
        };
        Ok(Declared { name: name.to_owned(), spec, value })
    }

    fn spec(self, ty: VariableType) -> Result<VariableSpec, String> {
        let number = |name: &str, value: Option<toml::Value>| -> Result<Option<Json>, String> {
            match value {
                None => Ok(None),
                Some(toml::Value::Integer(whole)) => Ok(Some(json!(whole))),
                Some(toml::Value::Float(float)) if float.is_finite() => Ok(Some(json!(float))),
                Some(other) => Err(format!("{name} takes a number, not a {}", other.type_str())),
            }
        };
        let choices = self.choices.map(|it| it.into_iter().map(as_json).collect::<Result<Vec<_>, _>>()).transpose()?;
        let limits = [
            ("min", number("min", self.min)?),
            ("max", number("max", self.max)?),
            ("exclusive_min", self.exclusive_min.map(Json::from)),
            ("exclusive_max", self.exclusive_max.map(Json::from)),
            ("step", number("step", self.step)?),
            ("allow_nan", self.allow_nan.map(Json::from)),
            ("allow_infinity", self.allow_infinity.map(Json::from)),
            ("min_length", self.min_length.map(Json::from)),
            ("max_length", self.max_length.map(Json::from)),
            ("pattern", self.pattern.map(Json::from)),
            ("choices", choices.map(Json::from)),
            ("dimensions", self.dimensions.map(Json::from)),
            ("shape", self.shape.map(Json::from)),
            ("dtype", self.dtype.map(Json::from)),
            ("max_items", self.max_items.map(Json::from)),
            ("max_depth", self.max_depth.map(Json::from)),
        ];
        let said = Said {
            limits: limits.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
            description: self.description,
            metadata: self.metadata.into_iter().map(|(key, value)| (key, Json::String(value))).collect(),
            nullable: self.nullable,
            secret: self.secret,
            read_only: self.read_only,
        };
        declare::spec(ty, said, str::to_owned)
    }
}

/// A value as the variable takes it: a whole number for a float is a float.
fn of_toml(value: toml::Value, spec: &VariableSpec) -> Result<Value, String> {
    let value = values::parse(as_json(value)?)?;
    if let (VariableType::Float, Some(Kind::Int64Value(whole))) = (spec.r#type(), &value.kind) {
        let float = typed::float(&whole.to_string()).unwrap_or_default();
        return Ok(Value { kind: Some(Kind::DoubleValue(float)) });
    }
    Ok(value)
}

fn as_json(value: toml::Value) -> Result<Json, String> {
    Ok(match value {
        toml::Value::String(text) => Json::String(text),
        toml::Value::Integer(whole) => json!(whole),
        toml::Value::Float(float) if float.is_nan() => json!({"$float": "NaN"}),
        toml::Value::Float(float) if float == f64::INFINITY => json!({"$float": "Infinity"}),
        toml::Value::Float(float) if float == f64::NEG_INFINITY => json!({"$float": "-Infinity"}),
        toml::Value::Float(float) => json!(float),
        toml::Value::Boolean(value) => json!(value),
        toml::Value::Datetime(time) => {
            return Err(format!("{time} is a time, which no variable holds; put it in quotes"));
        }
        toml::Value::Array(items) => Json::Array(items.into_iter().map(as_json).collect::<Result<_, _>>()?),
        toml::Value::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| Ok((key, as_json(value)?)));
            Json::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
    })
}
