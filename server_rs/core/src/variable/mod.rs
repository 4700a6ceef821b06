//! What a variable is: its name, its spec with constraints, and its value's place in time.

mod accept;
mod constraints;
mod name;
mod numbers;
mod origin;
mod pattern;
mod shapes;
mod sharing;
mod spec;
#[cfg(test)]
mod tests;
mod text;
mod types;

use std::sync::Arc;

use crate::{error::Error, value::Value};

pub use constraints::Constraints;
pub use name::Name;
pub use numbers::{FloatConstraints, IntegerConstraints};
pub use origin::{Author, Timestamp};
pub use pattern::Pattern;
pub use shapes::{BytesConstraints, CollectionConstraints, EmbeddingConstraints, TensorConstraints};
pub use spec::{MAX_LABELS, Spec};
pub use text::{ChoiceConstraints, ModuleConstraints, StringConstraints};
pub use types::Type;

/// A variable at one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variable {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub spec: Arc<Spec>,
    /// Its value, always one that the spec accepted.
    pub value: Value,
    /// Counts the changes of this name, from 1; goes on after a deletion.
    pub version: u64,
    /// Whether it was declared with this value, and not set to it.
    pub registered: bool,
    /// The session's revision that made this version.
    pub revision: u64,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// Who made it.
    pub updated_by: Author,
    /// Why, as the writer said.
    pub reason: Arc<str>,
}

/// A refusal of the constraint field `name`.
fn invalid_constraint(name: &str, problem: impl Into<String>) -> Error {
    Error::invalid(format!("constraints.{name}"), problem)
}
