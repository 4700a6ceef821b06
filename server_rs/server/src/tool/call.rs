use std::{sync::Arc, time::Duration};

use snakepit_core::{
    error::Error,
    session::{Incarnation, SessionId},
    value::Value,
    variable::{Name, Timestamp},
};

use super::Failure;

/// Whose a tool or a call is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every session's.
    Global,
    /// One life's of a session.
    Session(SessionId, Incarnation),
}

/// Arguments by name, in the order given.
pub type Arguments = Arc<[(Arc<str>, Value)]>;

/// What an executor has to know.
#[derive(Clone, Debug)]
pub struct Request {
    /// The arguments.
    pub arguments: Arguments,
    /// Who calls.
    pub caller: Arc<str>,
    /// The session from which it calls.
    pub session_id: SessionId,
    /// The W3C trace context, if the caller sent one.
    pub traceparent: Arc<str>,
    /// What tracing systems add to it.
    pub tracestate: Arc<str>,
    /// Whether the caller reads chunks.
    pub wants_chunks: bool,
}

/// Where a call or an attempt stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// It waits for a worker that has room, or for its next attempt.
    Queued,
    /// A worker runs it.
    Running,
    /// The tool returned.
    Result,
    /// The tool failed.
    Failure,
    /// It took longer than it may.
    Deadline,
    /// It was cancelled, or its caller was lost.
    Cancelled,
    /// Its worker was lost, or nobody could run it.
    Unavailable,
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The tool returned.
    Result(Value),
    /// The tool failed.
    Failure(Failure),
    /// It was given no more time.
    Deadline,
    /// Somebody does not want it any more.
    Cancelled {
        /// Who.
        by: Arc<str>,
    },
    /// Nobody can run it, or its worker was lost.
    Unavailable {
        /// Why.
        cause: Arc<str>,
    },
    /// Its session ended, and with it the tool.
    Refused(Error),
}

impl Ending {
    pub(crate) fn state(&self) -> CallState {
        match self {
            Self::Result(_) => CallState::Result,
            Self::Failure(_) => CallState::Failure,
            Self::Deadline => CallState::Deadline,
            Self::Cancelled { .. } => CallState::Cancelled,
            Self::Unavailable { .. } | Self::Refused(_) => CallState::Unavailable,
        }
    }
}

/// A call as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Its name.
    pub id: Arc<str>,
    /// The tool.
    pub tool: Name,
    /// Where it stands, or how it ended.
    pub state: CallState,
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// From there to its end, or until now.
    pub took: Duration,
}

/// One try to run a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The worker; empty for the server's host.
    pub worker: Arc<str>,
    /// When it was dispatched.
    pub dispatched: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// Where it stands, or how it ended.
    pub state: CallState,
}

/// Names a call among those that run, in the order of their acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub(crate) u64);

/// Names an attempt, once in a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DispatchKey(pub u64);

/// Names a worker's connection, once in a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerKey(pub(crate) u64);

/// Names a tool, for as long as the registry remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolKey(pub(crate) u64);
