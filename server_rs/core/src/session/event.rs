//! What has happened to a session: results, not instructions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    session::Position,
    value::{Value, in_steps},
    variable::{Author, Name, Spec, Timestamp},
};

/// Something that happened to a session; it moved the revision by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The session's position after it.
    pub position: Position,
    /// When.
    pub time: Timestamp,
    /// The time that was lived until then: what windows and ttls are measured by.
    pub lived: Timestamp,
    /// Who did it.
    pub author: Author,
    /// Why, as they said.
    pub reason: Arc<str>,
    /// What tells its repeats.
    pub idempotency: Option<Idempotency>,
    /// What a repeat is answered.
    pub outcomes: Arc<[Outcome]>,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A life began.
    Created {
        /// How long it lives untouched.
        ttl: Option<Duration>,
        /// Its labels.
        metadata: Arc<BTreeMap<String, String>>,
    },
    /// Variables changed.
    Written(Arc<[Change]>),
    /// The session was deleted.
    Deleted,
    /// The session outlived its ttl.
    Expired,
}

/// One variable changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The variable.
    pub name: Name,
    /// The version this change made.
    pub version: u64,
    /// What it is now.
    pub kind: ChangeKind,
}

/// What a variable is after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Declared, or declared anew.
    Registered {
        /// What it is.
        spec: Arc<Spec>,
        /// Its value.
        value: Value,
    },
    /// Given a value.
    Set {
        /// Its value.
        value: Value,
    },
    /// Gone.
    Deleted,
}

impl Change {
    fn size(&self) -> Size {
        let (spec, values) = match &self.kind {
            ChangeKind::Registered { spec, value } => (spec.encoded_len(), value.encoded_len()),
            ChangeKind::Set { value } => (0, value.encoded_len()),
            ChangeKind::Deleted => (0, 0),
        };
        Size { around: 16 + self.name.len() as u64 + spec, values }
    }
}

/// About how many bytes an event takes.
struct Size {
    /// All but its values.
    around: u64,
    /// Its values.
    values: u64,
}

impl Event {
    /// About how many bytes it takes.
    pub fn encoded_len(&self) -> u64 {
        let Size { around, values } = self.size();
        around + values
    }

    /// The bytes that the log counts for it. Its values count in steps: an event does not say which are secrets.
    pub fn log_size(&self) -> u32 {
        let Size { around, values } = self.size();
        u32::try_from(around + in_steps(values)).unwrap_or(u32::MAX)
    }

    /// The values of outcomes are those of its changes and not counted twice.
    fn size(&self) -> Size {
        let idempotency =
            self.idempotency.as_ref().map_or(0, |it| it.client.len() + it.key.len() + it.fingerprint.len());
        let outcomes: usize = self.outcomes.iter().map(|outcome| outcome.name.len() + 16).sum();
        let mut size = Size {
            around: (64 + self.author.name.len() + self.reason.len() + idempotency + outcomes) as u64,
            values: 0,
        };
        match &self.body {
            Body::Created { metadata, .. } => {
                size.around += metadata.iter().map(|(key, value)| (key.len() + value.len() + 6) as u64).sum::<u64>();
            }
            Body::Written(changes) => {
                for change in changes.iter().map(Change::size) {
                    size.around += change.around;
                    size.values += change.values;
                }
            }
            Body::Deleted | Body::Expired => {}
        }
        size
    }
}

/// What tells a retry from a new write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client.
    pub client: Arc<str>,
    /// Unique among that client's writes.
    pub key: Arc<str>,
    /// A digest of what was asked.
    pub fingerprint: [u8; 32],
}

/// What one operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The variable.
    pub name: Name,
    /// Whether anything changed.
    pub changed: bool,
    /// The version after the write; for a deletion the one it took.
    pub version: u64,
    /// The new value, if the server computed it: increment, append, rollback.
    pub value: Option<Box<Value>>,
}
