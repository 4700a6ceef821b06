//! What kinds of values there are.

/// What kind of values a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A double; an integer up to 2^53 becomes one.
    Float,
    /// A 64-bit integer.
    Integer,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// One of the declared scalars.
    Choice,
    /// The name of a module.
    Module,
    /// A one-dimensional array of floats.
    Embedding,
    /// An array.
    Tensor,
    /// An ordered list.
    List,
    /// An ordered map.
    Map,
    /// Raw bytes.
    Bytes,
}

impl Type {
    /// Its name, as clients write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Choice => "choice",
            Self::Module => "module",
            Self::Embedding => "embedding",
            Self::Tensor => "tensor",
            Self::List => "list",
            Self::Map => "map",
            Self::Bytes => "bytes",
        }
    }
}
