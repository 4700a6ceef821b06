use serde_json::{Map, Number, Value as Json};
use snakepit_proto::v1::{
    Operation, RegisterOperation, Value, VariableSpec, VariableType, operation::Action, value::Kind,
};

use crate::{
    Failure,
    declare::{self, Said},
    input, typed,
};

/// Declare a variable with its first value; declaring it again in the same way changes nothing.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the flags")]
pub(super) struct Define {
    /// Its name.
    pub(super) name: String,
    /// Its type.
    #[arg(value_name = "TYPE", value_parser = typed::type_parser())]
    ty: VariableType,
    /// Its first value, given as to `set`.
    #[arg(required_unless_present = "null", conflicts_with = "null", allow_hyphen_values = true)]
    value: Option<String>,
    /// The first value is null.
    #[arg(long, requires = "nullable")]
    null: bool,
    /// Take the value as it is, even if it is `-` or begins with `@`.
    #[arg(long)]
    verbatim: bool,
    /// For people.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    description: String,
    /// A label; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    metadata: Vec<(String, String)>,
    /// Accept null, too.
    #[arg(long)]
    nullable: bool,
    /// Withhold the value from lists, histories, logs and errors.
    #[arg(long)]
    secret: bool,
    /// Refuse every later change.
    #[arg(long)]
    read_only: bool,
    /// Take the new declaration and value even if the variable is declared in another way.
    #[arg(long)]
    replace: bool,
    /// The version the variable has to have; 0: it must not exist. Otherwise nothing is changed.
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<u64>,
    /// Why, for its history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    limits: LimitFlags,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits on the value")]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the flags")]
struct LimitFlags {
    /// The least value (float, integer).
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    min: Option<String>,
    /// The greatest value (float, integer).
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    max: Option<String>,
    /// The least value itself is refused (float).
    #[arg(long)]
    exclusive_min: bool,
    /// The greatest value itself is refused (float).
    #[arg(long)]
    exclusive_max: bool,
    /// The distance of allowed values, from the least or 0 (float, integer).
    #[arg(long, value_name = "NUMBER")]
    step: Option<String>,
    /// NaN is accepted (float).
    #[arg(long)]
    allow_nan: bool,
    /// The infinities are accepted (float).
    #[arg(long)]
    allow_infinity: bool,
    /// The least length, in code points (string).
    #[arg(long, value_name = "N")]
    min_length: Option<u64>,
    /// The greatest length, in code points or bytes (string, bytes).
    #[arg(long, value_name = "N")]
    max_length: Option<u64>,
    /// A regular expression that the whole text has to match (string).
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    /// The allowed values, with commas between them or as a JSON list; may be given several times (choice, string,
    /// module).
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    choices: Vec<String>,
    /// The number of dimensions (embedding).
    #[arg(long, value_name = "N")]
    dimensions: Option<u64>,
    /// The length of each axis, with commas between them; -1: any (tensor).
    #[arg(long, value_name = "N,M,…", allow_hyphen_values = true, value_delimiter = ',')]
    shape: Vec<i64>,
    /// The type of the elements, e.g. float32 (embedding, tensor).
    #[arg(long)]
    dtype: Option<String>,
    /// The greatest number of items or entries (list, map).
    #[arg(long, value_name = "N")]
    max_items: Option<u64>,
    /// The greatest nesting; 1: no list or map inside (list, map).
    #[arg(long, value_name = "N")]
    max_depth: Option<u64>,
}

impl Define {
    pub(super) fn operation(self) -> Result<Operation, Failure> {
        let name = self.name;
        let wrong = |problem: String| Failure::failed(format!("{name}: {problem}"));
        let text = |text: String| Json::String(text);
        let said = Said {
            limits: self.limits.given(self.ty).map_err(wrong)?,
            description: self.description,
            metadata: self.metadata.into_iter().map(|(key, value)| (key, text(value))).collect(),
            nullable: self.nullable,
            secret: self.secret,
            read_only: self.read_only,
        };
        let spec = declare::spec(self.ty, said, flag).map_err(wrong)?;
        let value = match self.value {
            None => Value { kind: Some(Kind::NullValue(0)) },
            Some(text) => typed::parse(input::read(text, self.verbatim)?, &spec).map_err(wrong)?,
        };
        let register = declared(spec, value, self.replace);
        Ok(Operation { name, expected_version: self.expected_version, action: Some(register) })
    }
}

/// The action that declares a variable.
pub(crate) fn declared(spec: VariableSpec, value: Value, replace: bool) -> Action {
    Action::Register(RegisterOperation { spec: Some(spec), value: Some(value), replace })
}

impl LimitFlags {
    /// Those that were given, by their names.
    fn given(self, ty: VariableType) -> Result<Map<String, Json>, String> {
        let number = |name: &str, text: Option<String>| {
            text.map(|text| number(ty, &text).ok_or_else(|| format!("{} takes a number, got {text:?}", flag(name))))
                .transpose()
        };
        let mut choices = Vec::new();
        for given in self.choices {
            choices.extend(listed(ty, &given)?);
        }
        let set = |flag: bool| flag.then_some(Json::Bool(true));
        let list = |items: Vec<Json>| (!items.is_empty()).then_some(Json::Array(items));
        let given = [
            ("min", number("min", self.min)?),
            ("max", number("max", self.max)?),
            ("exclusive_min", set(self.exclusive_min)),
            ("exclusive_max", set(self.exclusive_max)),
            ("step", number("step", self.step)?),
            ("allow_nan", set(self.allow_nan)),
            ("allow_infinity", set(self.allow_infinity)),
            ("min_length", self.min_length.map(Json::from)),
            ("max_length", self.max_length.map(Json::from)),
            ("pattern", self.pattern.map(Json::String)),
            ("choices", list(choices)),
            ("dimensions", self.dimensions.map(Json::from)),
            ("shape", list(self.shape.into_iter().map(Json::from).collect())),
            ("dtype", self.dtype.map(Json::String)),
            ("max_items", self.max_items.map(Json::from)),
            ("max_depth", self.max_depth.map(Json::from)),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// Exactly, as the type has it.
fn number(ty: VariableType, text: &str) -> Option<Json> {
    if ty == VariableType::Integer {
        return text.parse::<i64>().ok().map(Json::from);
    }
    typed::float(text).and_then(Number::from_f64).map(Json::Number)
}

/// Values with commas between them, or a JSON list. A choice that is written like a number, true or false is one.
fn listed(ty: VariableType, text: &str) -> Result<Vec<Json>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("--choices takes a,b,c or a JSON list: {error}"));
    }
    let scalar = |text: &str| serde_json::from_str(text).ok().filter(|it: &Json| it.is_number() || it.is_boolean());
    let one = |text: &str| {
        let choice = (ty == VariableType::Choice).then(|| scalar(text)).flatten();
        choice.unwrap_or_else(|| Json::String(text.to_owned()))
    };
    Ok(text.split(',').map(one).collect())
}

/// A label as `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("takes KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
