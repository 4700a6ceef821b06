//! Why a request is refused: one enum for the whole server. `snakepit_proto` makes a gRPC status of it.

use std::{sync::Arc, time::Duration};

/// Why a request is refused. The variants are the reasons of `error.proto`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No session has that id.
    #[error("session {session:?} does not exist; create it first")]
    SessionNotFound {
        /// The id asked for.
        session: Arc<str>,
    },
    /// The session outlived its ttl, or another life of it was meant.
    #[error("session {session:?} has expired or was started anew; connect again to use it")]
    SessionExpired {
        /// The id asked for.
        session: Arc<str>,
    },
    /// No such variable.
    #[error("session {session:?} has no variable {variable:?}{}; register it first", suggestion(.closest))]
    VariableNotFound {
        /// The session.
        session: Arc<str>,
        /// The name asked for.
        variable: Arc<str>,
        /// Existing names, nearest first.
        closest: Vec<String>,
    },
    /// The name is taken by another spec.
    #[error(
        "variable {variable:?} exists in session {session:?} with another spec; register it with replace to change it"
    )]
    VariableExists {
        /// The session.
        session: Arc<str>,
        /// The name.
        variable: Arc<str>,
    },
    /// The value is of another type than the variable.
    #[error("variable {variable:?} takes {expected}, got {got}")]
    TypeMismatch {
        /// The variable.
        variable: Arc<str>,
        /// What it takes.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The value breaks a constraint.
    #[error("variable {variable:?} refuses {value}: it has to satisfy {constraint}")]
    ConstraintViolated {
        /// The variable.
        variable: Arc<str>,
        /// The constraint, e.g. `max=2`.
        constraint: String,
        /// The value, shortened, or withheld for a secret.
        value: String,
    },
    /// The request itself is malformed.
    #[error("{field}: {problem}")]
    InvalidRequest {
        /// The field at fault.
        field: String,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// The variable is not at the version the write expected.
    #[error("variable {variable:?} is at version {actual}, not {expected}; read it again and retry")]
    VersionConflict {
        /// The variable.
        variable: Arc<str>,
        /// The version the write expected; 0: none.
        expected: u64,
        /// The version it has; 0: it does not exist.
        actual: u64,
    },
    /// The changes asked for are no longer kept.
    #[error("changes up to revision {oldest} are no longer kept; start the watch anew from a snapshot", oldest = .oldest.saturating_sub(1))]
    Compacted {
        /// The oldest revision still kept.
        oldest: u64,
    },
    /// The variable is read-only.
    #[error("variable {variable:?} is read-only; an admin changes it by registering it with replace")]
    VariableReadOnly {
        /// The variable.
        variable: Arc<str>,
    },
    /// The server takes no writes; this one was certainly not applied.
    #[error("the server takes no writes ({cause}); this one was not applied")]
    ServerReadOnly {
        /// Why.
        cause: Arc<str>,
    },
    /// Nobody can know whether the write became durable.
    #[error("the outcome of this write is unknown ({cause}); read the variable before writing again")]
    OutcomeUnknown {
        /// Why.
        cause: Arc<str>,
    },
    /// Nobody knows who calls.
    #[error("{}; an administrator makes one with `snakepit token new`", unknown(*.given))]
    Unauthenticated {
        /// The role wanted; "any" if any will do.
        role: &'static str,
        /// Whether there was a token, or something like it.
        given: bool,
    },
    /// The caller may not do this.
    #[error("this needs the role {role}{}", there(.session.as_deref()))]
    PermissionDenied {
        /// The role wanted.
        role: &'static str,
        /// The session in which it is wanted, if the caller has nothing to do there; `*`: in all.
        session: Option<Arc<str>>,
    },
    /// Client and server do not speak the same protocol version.
    #[error(
        "this server, snakepit {}, speaks protocol {server}, and the client protocol {client}: upgrade the older one",
        env!("CARGO_PKG_VERSION")
    )]
    VersionUnsupported {
        /// The server's api version.
        server: u32,
        /// The client's.
        client: String,
    },
    /// A limit of the server.
    #[error("{limit} is limited to {max}")]
    LimitExceeded {
        /// The limit's name in `Limits`.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// No such tool.
    #[error("session {session:?} has no tool {tool:?}{}; a worker has to offer it first", suggestion(.closest))]
    ToolNotFound {
        /// The session.
        session: Arc<str>,
        /// The name asked for.
        tool: Arc<str>,
        /// Existing names, nearest first.
        closest: Vec<String>,
    },
    /// The tool is offered already, and is another.
    #[error(
        "tool {tool:?} is offered already, with another description, schema or policy; offer it the same, under \
         another name, or when those workers are gone"
    )]
    ToolExists {
        /// The name.
        tool: Arc<str>,
    },
    /// Nobody can run the tool now, or its worker was lost.
    #[error("tool {tool:?} is unavailable: {cause}{}", may_have_run(*.dispatched))]
    ToolUnavailable {
        /// The tool.
        tool: Arc<str>,
        /// The call; empty if none was accepted.
        call: Arc<str>,
        /// Whether it may have run.
        dispatched: bool,
        /// Why.
        cause: Arc<str>,
    },
    /// Somebody cancelled the call.
    #[error("call {call} of tool {tool:?} was cancelled by {by}")]
    CallCancelled {
        /// The tool.
        tool: Arc<str>,
        /// The call.
        call: Arc<str>,
        /// Who did, as far as it is known.
        by: Arc<str>,
    },
    /// The call took longer than it may. Has no reason of its own on the wire.
    #[error("call {call} of tool {tool:?} did not end within {}", seconds(*.within))]
    CallDeadline {
        /// The tool.
        tool: Arc<str>,
        /// The call.
        call: Arc<str>,
        /// How long it was given.
        within: Duration,
    },
    /// The server is stopping; a watch can be resumed elsewhere or later. Has no reason of its own on the wire.
    #[error("the server is stopping; reconnect and resume")]
    Stopping,
}

fn suggestion(closest: &[String]) -> String {
    if closest.is_empty() { String::new() } else { format!(" (did you mean {}?)", closest.join(" or ")) }
}

fn unknown(given: bool) -> &'static str {
    if given { "the token is none of this server's" } else { "this server takes a token, and there was none" }
}

fn there(session: Option<&str>) -> String {
    match session {
        None => String::new(),
        Some("*") => ", in all sessions".into(),
        Some(session) => format!(", in session {session:?}, which this token is not for"),
    }
}

fn may_have_run(dispatched: bool) -> &'static str {
    if dispatched { "; it may have run" } else { "; it was not run" }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

impl Error {
    /// A malformed field.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidRequest { field: field.into(), problem: problem.into() }
    }

    /// A refusal of a malformed field, as one of the request's field that it is part of.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        if let Self::InvalidRequest { problem, .. } = self { Self::invalid(field, problem) } else { self }
    }
}

/// What an error is about, without who passed it on.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
