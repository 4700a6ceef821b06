use snakepit_core::{
    error::Error,
    variable::{Constraints, Spec, Type},
};

use crate::{convert::constraints, v1 as proto, v1::VariableType};

pub fn parse(spec: Option<proto::VariableSpec>) -> Result<Spec, Error> {
    let spec = spec.ok_or_else(|| Error::invalid("spec", "has to be given"))?;
    let ty = parse_type(spec.r#type)?;
    let kind = spec.constraints.and_then(|constraints| constraints.kind);
    Ok(Spec {
        ty,
        constraints: kind.map_or(Ok(Constraints::None), constraints::parse)?,
        description: spec.description,
        metadata: spec.metadata,
        nullable: spec.nullable,
        secret: spec.secret,
        read_only: spec.read_only,
    })
}

fn parse_type(ty: i32) -> Result<Type, Error> {
    let unknown = |_| Error::invalid("type", format!("{ty} is no variable type of this protocol version"));
    Ok(match VariableType::try_from(ty).map_err(unknown)? {
        VariableType::Unspecified => return Err(Error::invalid("type", "has to be given")),
        VariableType::Float => Type::Float,
        VariableType::Integer => Type::Integer,
        VariableType::String => Type::String,
        VariableType::Boolean => Type::Boolean,
        VariableType::Choice => Type::Choice,
        VariableType::Module => Type::Module,
        VariableType::Embedding => Type::Embedding,
        VariableType::Tensor => Type::Tensor,
        VariableType::List => Type::List,
        VariableType::Map => Type::Map,
        VariableType::Bytes => Type::Bytes,
    })
}

pub fn encode(spec: &Spec) -> proto::VariableSpec {
    let ty = match spec.ty {
        Type::Float => VariableType::Float,
        Type::Integer => VariableType::Integer,
        Type::String => VariableType::String,
        Type::Boolean => VariableType::Boolean,
        Type::Choice => VariableType::Choice,
        Type::Module => VariableType::Module,
        Type::Embedding => VariableType::Embedding,
        Type::Tensor => VariableType::Tensor,
        Type::List => VariableType::List,
        Type::Map => VariableType::Map,
        Type::Bytes => VariableType::Bytes,
    };
    proto::VariableSpec {
        r#type: ty.into(),
        constraints: constraints::encode(&spec.constraints).map(|kind| proto::Constraints { kind: Some(kind) }),
        description: spec.description.clone(),
        metadata: spec.metadata.clone(),
        nullable: spec.nullable,
        secret: spec.secret,
        read_only: spec.read_only,
    }
}
