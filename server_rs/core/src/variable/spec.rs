//! What a variable is, apart from its value.

use std::{collections::BTreeMap, sync::Arc};

use super::sharing::InUse;
use crate::{
    error::Error,
    value::{Value, in_steps},
    variable::{Constraints, Type},
};

static IN_USE: InUse<Spec> = InUse::nothing();

/// How many labels a spec or a session may carry.
pub const MAX_LABELS: usize = 64;

/// What a variable is, apart from its value. Equal specs are the same registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The type.
    pub ty: Type,
    /// Limits on the value.
    pub constraints: Constraints,
    /// For people.
    pub description: String,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Whether null is accepted too.
    pub nullable: bool,
    /// Whether the value is withheld from lists, histories, logs and errors.
    pub secret: bool,
    /// Whether only a registration with `replace` may change it.
    pub read_only: bool,
}

impl Spec {
    /// A spec with these constraints and nothing else said.
    pub fn new(ty: Type, constraints: Constraints) -> Self {
        Self {
            ty,
            constraints,
            description: String::new(),
            metadata: BTreeMap::new(),
            nullable: false,
            secret: false,
            read_only: false,
        }
    }

    /// The same spec, shared with whoever uses an equal one already.
    pub fn shared(self) -> Arc<Self> {
        IN_USE.share(Arc::new(self))
    }

    /// Whether a variable can be registered with it; `INVALID_REQUEST` naming the field otherwise.
    pub fn validate(&self) -> Result<(), Error> {
        if self.metadata.len() > MAX_LABELS {
            return Err(Error::invalid(
                "metadata",
                format!("at most {MAX_LABELS} entries, got {}", self.metadata.len()),
            ));
        }
        if !self.constraints.fit(self.ty) {
            let (kind, ty) = (self.constraints.kind(), self.ty.name());
            return Err(Error::invalid("constraints", format!("a {ty} variable cannot have {kind} constraints")));
        }
        self.constraints.validate()
    }

    /// The bytes of what was said of it: description, labels and constraints.
    pub fn described_len(&self) -> u64 {
        let labels: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
        (self.description.len() + labels) as u64 + self.constraints.encoded_len()
    }

    /// The bytes that a value of such a variable counts for. Those of a secret count in steps.
    pub fn counted(&self, value: &Value) -> u64 {
        let bytes = value.encoded_len();
        if self.secret { in_steps(bytes) } else { bytes }
    }

    /// About how many bytes it takes.
    pub fn encoded_len(&self) -> u64 {
        self.described_len() + 16
    }
}
