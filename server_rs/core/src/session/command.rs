//! What can be asked of a session, and what it answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    config::Limits,
    error::Error,
    session::{Event, Idempotency, Incarnation, Outcome, Position},
    value::Value,
    variable::{Author, Name, Spec, Timestamp},
};

/// The circumstances of a command.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The clock; an event's time never lies before the last one's whatever it says.
    pub now: Timestamp,
    /// The time that was lived until now; an event's never lies before the last one's.
    pub lived: Timestamp,
    /// Who asks.
    pub author: Author,
    /// Whether they have the role admin.
    pub admin: bool,
    /// Whether they have the role `read_secret`.
    pub read_secret: bool,
    /// What the server accepts.
    pub limits: &'a Limits,
}

/// What can be asked of a session.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open it.
    Create(Create),
    /// Change its variables.
    Write(Write),
    /// End it.
    Delete {
        /// The life meant; none: whichever is live.
        incarnation: Option<Incarnation>,
    },
    /// End it because its ttl has passed, which the caller has found out.
    Expire,
}

/// Opens a session. Apart from the incarnation ignored if it is live already.
#[derive(Clone, Debug)]
pub struct Create {
    /// The new life's name.
    pub incarnation: Incarnation,
    /// How long it lives untouched, at least a second; none: for ever.
    pub ttl: Option<Duration>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
}

/// One atomic write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The life meant; none: whichever is live.
    pub incarnation: Option<Incarnation>,
    /// What to do, all of it or nothing. A name occurs only once.
    pub operations: Vec<Operation>,
    /// Why.
    pub reason: Arc<str>,
    /// What tells a retry from a new write.
    pub idempotency: Option<Idempotency>,
    /// The bytes of the request.
    pub encoded_len: u64,
}

/// One operation on one variable.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The variable.
    pub name: Name,
    /// The version it has to have before the write; 0: it must not exist.
    pub expected_version: Option<u64>,
    /// What to do.
    pub action: Action,
}

/// What to do with a variable.
#[derive(Clone, Debug)]
pub enum Action {
    /// Declare it.
    Register {
        /// What it is.
        spec: Arc<Spec>,
        /// Its first value.
        value: Value,
        /// Whether spec and value replace those of an existing variable, which needs the role admin.
        replace: bool,
    },
    /// Give it a value.
    Set(Value),
    /// Add to a number.
    Increment(Value),
    /// Append to a list; at least one item.
    Append(Vec<Value>),
    /// Delete it.
    Delete,
    /// Give it the value of an earlier version.
    Rollback {
        /// That version.
        version: u64,
    },
}

/// What becomes of a command that is not refused.
#[derive(Clone, Debug)]
pub enum Decision {
    /// An event, and the answer once it is committed.
    Commit {
        /// The event.
        event: Event,
        /// The answer.
        answer: Answer,
    },
    /// Nothing happens.
    Answer(Answer),
}

/// What a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Command::Create`].
    Created {
        /// Whether the live session is the one this command asked for, now or in an earlier try.
        created: bool,
    },
    /// To [`Command::Write`].
    Written(Written),
    /// To [`Command::Delete`] and [`Command::Expire`]: the last position.
    Ended(Position),
}

/// What a write did. A repeat is answered as the original was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where the session was after the write.
    pub position: Position,
    /// One per operation, in the same order.
    pub outcomes: Arc<[Outcome]>,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub error: Error,
    /// The index of the operation at fault.
    pub operation: Option<usize>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, operation: None }
    }
}
