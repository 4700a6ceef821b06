//! Specs as JSON, in exports and for `define` and `apply`: the fields of the protocol's message under their own names, without those that say nothing.

use serde_json::{Map, Value as Json, json};
use snakepit_proto::v1::{
    BytesConstraints, ChoiceConstraints, CollectionConstraints, Constraints, Dtype, EmbeddingConstraints,
    FloatConstraints, IntegerConstraints, ModuleConstraints, StringConstraints, TensorConstraints, VariableSpec,
    VariableType, constraints::Kind,
};

use crate::output::json as values;

pub(super) fn of(spec: &VariableSpec) -> Json {
    let ty = spec.r#type().as_str_name().trim_start_matches("VARIABLE_TYPE_").to_lowercase();
    let constraints = spec.constraints.as_ref().and_then(|constraints| constraints.kind.as_ref()).map(of_constraints);
    said(json!({
        "type": ty,
        "constraints": constraints,
        "description": spec.description,
        "metadata": spec.metadata,
        "nullable": spec.nullable,
        "secret": spec.secret,
        "read_only": spec.read_only,
    }))
}

fn of_constraints(kind: &Kind) -> Json {
    let dtype = |dtype: Dtype| dtype.as_str_name().trim_start_matches("DTYPE_").to_lowercase();
    let dtype = |given: Dtype| (given != Dtype::Unspecified).then(|| dtype(given));
    let (kind, limits) = match kind {
        Kind::Float(it) => (
            "float",
            json!({
                "min": it.min, "max": it.max, "exclusive_min": it.exclusive_min, "exclusive_max": it.exclusive_max,
                "step": it.step, "allow_nan": it.allow_nan, "allow_infinity": it.allow_infinity,
            }),
        ),
        Kind::Integer(it) => ("integer", json!({"min": it.min, "max": it.max, "step": it.step})),
        Kind::String(it) => (
            "string",
            json!({
                "min_length": it.min_length, "max_length": it.max_length, "pattern": it.pattern, "enum": it.r#enum,
            }),
        ),
        Kind::Choice(it) => ("choice", json!({"choices": it.choices.iter().map(values::of).collect::<Vec<_>>()})),
        Kind::Module(it) => ("module", json!({"modules": it.modules})),
        Kind::Embedding(it) => ("embedding", json!({"dimensions": it.dimensions, "dtype": dtype(it.dtype())})),
        Kind::Tensor(it) => ("tensor", json!({"shape": it.shape, "dtype": dtype(it.dtype())})),
        Kind::Collection(it) => ("collection", json!({"max_items": it.max_items, "max_depth": it.max_depth})),
        Kind::Bytes(it) => ("bytes", json!({"max_length": it.max_length})),
    };
    json!({kind: said(limits)})
}

/// Without what is not there, false or empty. A lower bound of 0 says something.
fn said(object: Json) -> Json {
    let Json::Object(object) = object else { return object };
    let says = |value: &Json| match value {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
        Json::Bool(true) | Json::Number(_) => true,
    };
    // Constraints that limit nothing are others than none.
    Json::Object(
        object.into_iter().filter(|(key, value)| key == "constraints" && !value.is_null() || says(value)).collect(),
    )
}

/// The spec that a JSON form stands for; a message for the user if it stands for none.
pub(super) fn parse(json: &Json) -> Result<VariableSpec, String> {
    let spec = Fields(json.as_object().ok_or("a spec is an object")?);
    let ty = spec.text("type")?.ok_or("a spec needs a type")?;
    let known = VariableType::from_str_name(&format!("VARIABLE_TYPE_{}", ty.to_uppercase()));
    let mut metadata = std::collections::BTreeMap::new();
    for (key, value) in spec.0.get("metadata").and_then(Json::as_object).into_iter().flatten() {
        metadata.insert(key.clone(), value.as_str().ok_or("metadata takes texts")?.to_owned());
    }
    let constraints = spec.0.get("constraints").map(parse_constraints).transpose()?;
    Ok(VariableSpec {
        r#type: known.ok_or_else(|| format!("{ty:?} is no type"))?.into(),
        constraints: constraints.map(|kind| Constraints { kind: Some(kind) }),
        description: spec.text("description")?.unwrap_or_default(),
        metadata,
        nullable: spec.flag("nullable")?,
        secret: spec.flag("secret")?,
        read_only: spec.flag("read_only")?,
    })
}

fn parse_constraints(json: &Json) -> Result<Kind, String> {
    let one = json.as_object().filter(|kinds| kinds.len() == 1).and_then(|kinds| kinds.iter().next());
    let (kind, limits) = one.ok_or("constraints are an object of one kind")?;
    let it = Fields(limits.as_object().ok_or("constraints are an object of one kind")?);
    Ok(match kind.as_str() {
        "float" => Kind::Float(FloatConstraints {
            min: it.number("min", Json::as_f64)?,
            max: it.number("max", Json::as_f64)?,
            exclusive_min: it.flag("exclusive_min")?,
            exclusive_max: it.flag("exclusive_max")?,
            step: it.number("step", Json::as_f64)?,
            allow_nan: it.flag("allow_nan")?,
            allow_infinity: it.flag("allow_infinity")?,
        }),
        "integer" => Kind::Integer(IntegerConstraints {
            min: it.number("min", Json::as_i64)?,
            max: it.number("max", Json::as_i64)?,
            step: it.number("step", Json::as_i64)?,
        }),
        "string" => Kind::String(StringConstraints {
            min_length: it.number("min_length", Json::as_u64)?,
            max_length: it.number("max_length", Json::as_u64)?,
            pattern: it.text("pattern")?,
            r#enum: it.list("enum", |text| text.as_str().map(str::to_owned))?,
        }),
        "choice" => {
            Kind::Choice(ChoiceConstraints { choices: it.list("choices", |it| values::parse(it.clone()).ok())? })
        }
        "module" => {
            Kind::Module(ModuleConstraints { modules: it.list("modules", |it| it.as_str().map(str::to_owned))? })
        }
        "embedding" => Kind::Embedding(EmbeddingConstraints {
            dimensions: it.number("dimensions", Json::as_u64)?,
            dtype: it.dtype()?,
        }),
        "tensor" => Kind::Tensor(TensorConstraints { shape: it.list("shape", Json::as_i64)?, dtype: it.dtype()? }),
        "collection" => Kind::Collection(CollectionConstraints {
            max_items: it.number("max_items", Json::as_u64)?,
            max_depth: it.number("max_depth", Json::as_u64)?,
        }),
        "bytes" => Kind::Bytes(BytesConstraints { max_length: it.number("max_length", Json::as_u64)? }),
        other => return Err(format!("there are no {other:?} constraints")),
    })
}

/// The fields of an object, each absent or of its kind.
struct Fields<'a>(&'a Map<String, Json>);

impl Fields<'_> {
    fn of<T>(&self, name: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Option<T>, String> {
        let given = self.0.get(name).filter(|given| !given.is_null());
        given.map(|given| read(given).ok_or_else(|| format!("{name} cannot be {given}"))).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.of(name, |text| text.as_str().map(str::to_owned))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        self.of(name, Json::as_bool).map(Option::unwrap_or_default)
    }

    fn number<T>(&self, name: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Option<T>, String> {
        self.of(name, read)
    }

    fn list<T>(&self, name: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Vec<T>, String> {
        let items = |list: &Json| list.as_array().and_then(|items| items.iter().map(&read).collect());
        self.of(name, items).map(Option::unwrap_or_default)
    }

    fn dtype(&self) -> Result<i32, String> {
        let dtype =
            self.of("dtype", |name| Dtype::from_str_name(&format!("DTYPE_{}", name.as_str()?.to_uppercase())))?;
        Ok(dtype.unwrap_or(Dtype::Unspecified).into())
    }
}
