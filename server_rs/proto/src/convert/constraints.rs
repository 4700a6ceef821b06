use snakepit_core::{
    error::Error,
    variable::{
        BytesConstraints, ChoiceConstraints, CollectionConstraints, Constraints, EmbeddingConstraints,
        FloatConstraints, IntegerConstraints, ModuleConstraints, Pattern, StringConstraints, TensorConstraints,
    },
};

use crate::{convert::value, v1 as proto, v1::constraints::Kind};

pub fn parse(kind: Kind) -> Result<Constraints, Error> {
    Ok(match kind {
        Kind::Float(limits) => Constraints::Float(FloatConstraints {
            min: limits.min,
            max: limits.max,
            exclusive_min: limits.exclusive_min,
            exclusive_max: limits.exclusive_max,
            step: limits.step,
            allow_nan: limits.allow_nan,
            allow_infinity: limits.allow_infinity,
        }),
        Kind::Integer(limits) => {
            Constraints::Integer(IntegerConstraints { min: limits.min, max: limits.max, step: limits.step })
        }
        Kind::String(limits) => Constraints::String(StringConstraints {
            min_length: limits.min_length,
            max_length: limits.max_length,
            pattern: limits.pattern.map(Pattern::new),
            one_of: limits.r#enum,
        }),
        Kind::Choice(limits) => {
            let choices = limits.choices.into_iter().map(|choice| value::parse("constraints.choices", Some(choice)));
            Constraints::Choice(ChoiceConstraints { choices: choices.collect::<Result<_, _>>()? })
        }
        Kind::Module(limits) => Constraints::Module(ModuleConstraints { modules: limits.modules }),
        Kind::Embedding(limits) => Constraints::Embedding(EmbeddingConstraints {
            dimensions: limits.dimensions,
            dtype: value::parse_dtype("constraints.dtype", limits.dtype)?,
        }),
        Kind::Tensor(limits) => Constraints::Tensor(TensorConstraints {
            shape: limits.shape,
            dtype: value::parse_dtype("constraints.dtype", limits.dtype)?,
        }),
        Kind::Collection(limits) => {
            Constraints::Collection(CollectionConstraints { max_items: limits.max_items, max_depth: limits.max_depth })
        }
        Kind::Bytes(limits) => Constraints::Bytes(BytesConstraints { max_length: limits.max_length }),
    })
}

/// None if there are none.
pub fn encode(constraints: &Constraints) -> Option<Kind> {
    let dtype = |dtype: Option<_>| dtype.map_or(proto::Dtype::Unspecified, value::encode_dtype).into();
    Some(match constraints {
        Constraints::None => return None,
        Constraints::Float(limits) => Kind::Float(proto::FloatConstraints {
            min: limits.min,
            max: limits.max,
            exclusive_min: limits.exclusive_min,
            exclusive_max: limits.exclusive_max,
            step: limits.step,
            allow_nan: limits.allow_nan,
            allow_infinity: limits.allow_infinity,
        }),
        Constraints::Integer(limits) => {
            Kind::Integer(proto::IntegerConstraints { min: limits.min, max: limits.max, step: limits.step })
        }
        Constraints::String(limits) => Kind::String(proto::StringConstraints {
            min_length: limits.min_length,
            max_length: limits.max_length,
            pattern: limits.pattern.as_ref().map(|pattern| pattern.source().to_owned()),
            r#enum: limits.one_of.clone(),
        }),
        Constraints::Choice(limits) => {
            Kind::Choice(proto::ChoiceConstraints { choices: limits.choices.iter().map(value::encode).collect() })
        }
        Constraints::Module(limits) => Kind::Module(proto::ModuleConstraints { modules: limits.modules.clone() }),
        Constraints::Embedding(limits) => {
            Kind::Embedding(proto::EmbeddingConstraints { dimensions: limits.dimensions, dtype: dtype(limits.dtype) })
        }
        Constraints::Tensor(limits) => {
            Kind::Tensor(proto::TensorConstraints { shape: limits.shape.clone(), dtype: dtype(limits.dtype) })
        }
        Constraints::Collection(limits) => {
            Kind::Collection(proto::CollectionConstraints { max_items: limits.max_items, max_depth: limits.max_depth })
        }
        Constraints::Bytes(limits) => Kind::Bytes(proto::BytesConstraints { max_length: limits.max_length }),
    })
}
