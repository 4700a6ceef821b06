//! Limits on a variable's values, one kind per type.

use crate::{
    error::Error,
    variable::{
        BytesConstraints, ChoiceConstraints, CollectionConstraints, EmbeddingConstraints, FloatConstraints,
        IntegerConstraints, ModuleConstraints, StringConstraints, TensorConstraints, Type,
    },
};

/// Limits on a variable's values, of the kind that belongs to its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Constraints {
    /// None given. A float still refuses NaN and the infinities.
    #[default]
    None,
    /// For a float.
    Float(FloatConstraints),
    /// For an integer.
    Integer(IntegerConstraints),
    /// For text.
    String(StringConstraints),
    /// For a choice, which requires them.
    Choice(ChoiceConstraints),
    /// For a module.
    Module(ModuleConstraints),
    /// For an embedding.
    Embedding(EmbeddingConstraints),
    /// For a tensor.
    Tensor(TensorConstraints),
    /// For a list or a map.
    Collection(CollectionConstraints),
    /// For bytes.
    Bytes(BytesConstraints),
}

impl Constraints {
    /// The kind's name, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Float(_) => "float",
            Self::Integer(_) => "integer",
            Self::String(_) => "string",
            Self::Choice(_) => "choice",
            Self::Module(_) => "module",
            Self::Embedding(_) => "embedding",
            Self::Tensor(_) => "tensor",
            Self::Collection(_) => "collection",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Whether they are of the kind that belongs to the type.
    pub fn fit(&self, ty: Type) -> bool {
        match self {
            Self::None => ty != Type::Choice,
            Self::Float(_) => ty == Type::Float,
            Self::Integer(_) => ty == Type::Integer,
            Self::String(_) => ty == Type::String,
            Self::Choice(_) => ty == Type::Choice,
            Self::Module(_) => ty == Type::Module,
            Self::Embedding(_) => ty == Type::Embedding,
            Self::Tensor(_) => ty == Type::Tensor,
            Self::Collection(_) => matches!(ty, Type::List | Type::Map),
            Self::Bytes(_) => ty == Type::Bytes,
        }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        match self {
            Self::None | Self::Bytes(_) => Ok(()),
            Self::Float(limits) => limits.validate(),
            Self::Integer(limits) => limits.validate(),
            Self::String(limits) => limits.validate(),
            Self::Choice(limits) => limits.validate(),
            Self::Module(limits) => limits.validate(),
            Self::Embedding(limits) => limits.validate(),
            Self::Tensor(limits) => limits.validate(),
            Self::Collection(limits) => limits.validate(),
        }
    }

    pub(super) fn encoded_len(&self) -> u64 {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 2).sum::<usize>() as u64;
        match self {
            Self::None => 0,
            Self::Float(_) | Self::Integer(_) | Self::Embedding(_) | Self::Collection(_) | Self::Bytes(_) => 36,
            Self::String(limits) => {
                24 + limits.pattern.as_ref().map_or(0, |pattern| pattern.source().len() as u64) + texts(&limits.one_of)
            }
            Self::Choice(limits) => limits.choices.iter().map(|choice| choice.encoded_len() + 2).sum(),
            Self::Module(limits) => texts(&limits.modules),
            Self::Tensor(limits) => 10 * limits.shape.len() as u64 + 4,
        }
    }
}
