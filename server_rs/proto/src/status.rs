//! Refusals as gRPC statuses.

use std::collections::HashMap;

use snakepit_core::{error::Error, session::Position};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::ErrorReason;

/// The `domain` of every `google.rpc.ErrorInfo` this server sends.
pub const DOMAIN: &str = "snakepit_bridge.v1";

fn code(error: &Error) -> Code {
    match error {
        Error::SessionNotFound { .. }
        | Error::SessionExpired { .. }
        | Error::VariableNotFound { .. }
        | Error::ToolNotFound { .. } => Code::NotFound,
        Error::VariableExists { .. } | Error::ToolExists { .. } => Code::AlreadyExists,
        Error::TypeMismatch { .. } | Error::ConstraintViolated { .. } | Error::InvalidRequest { .. } => {
            Code::InvalidArgument
        }
        Error::VersionConflict { .. } => Code::Aborted,
        Error::Compacted { .. } => Code::OutOfRange,
        Error::VariableReadOnly { .. } | Error::VersionUnsupported { .. } => Code::FailedPrecondition,
        Error::ServerReadOnly { .. } | Error::ToolUnavailable { .. } | Error::Stopping => Code::Unavailable,
        Error::CallCancelled { .. } => Code::Cancelled,
        Error::CallDeadline { .. } => Code::DeadlineExceeded,
        Error::OutcomeUnknown { .. } => Code::Unknown,
        Error::Unauthenticated { .. } => Code::Unauthenticated,
        Error::PermissionDenied { .. } => Code::PermissionDenied,
        Error::LimitExceeded { .. } => Code::ResourceExhausted,
    }
}

fn reason(error: &Error) -> Option<ErrorReason> {
    Some(match error {
        Error::SessionNotFound { .. } => ErrorReason::SessionNotFound,
        Error::SessionExpired { .. } => ErrorReason::SessionExpired,
        Error::VariableNotFound { .. } => ErrorReason::VariableNotFound,
        Error::VariableExists { .. } => ErrorReason::VariableExists,
        Error::TypeMismatch { .. } => ErrorReason::TypeMismatch,
        Error::ConstraintViolated { .. } => ErrorReason::ConstraintViolated,
        Error::InvalidRequest { .. } => ErrorReason::InvalidRequest,
        Error::VersionConflict { .. } => ErrorReason::VersionConflict,
        Error::Compacted { .. } => ErrorReason::Compacted,
        Error::VariableReadOnly { .. } => ErrorReason::VariableReadOnly,
        Error::ServerReadOnly { .. } => ErrorReason::ServerReadOnly,
        Error::OutcomeUnknown { .. } => ErrorReason::OutcomeUnknown,
        Error::Unauthenticated { .. } => ErrorReason::Unauthenticated,
        Error::PermissionDenied { .. } => ErrorReason::PermissionDenied,
        Error::VersionUnsupported { .. } => ErrorReason::VersionUnsupported,
        Error::LimitExceeded { .. } => ErrorReason::LimitExceeded,
        Error::ToolNotFound { .. } => ErrorReason::ToolNotFound,
        Error::ToolExists { .. } => ErrorReason::ToolExists,
        Error::ToolUnavailable { .. } => ErrorReason::ToolUnavailable,
        Error::CallCancelled { .. } => ErrorReason::CallCancelled,
        Error::CallDeadline { .. } | Error::Stopping => return None,
    })
}

/// The name of the reason, empty if it has none, and the facts.
pub fn reason_and_facts(error: &Error) -> (String, HashMap<String, String>) {
    let name = reason(error).map_or("", |reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"));
    (name.to_owned(), facts(error).into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn facts(error: &Error) -> Vec<(&'static str, String)> {
    match error {
        Error::SessionNotFound { session } | Error::SessionExpired { session } => {
            vec![("session", session.to_string())]
        }
        Error::VariableNotFound { session, variable, closest } => {
            vec![("session", session.to_string()), ("variable", variable.to_string()), ("closest", closest.join(","))]
        }
        Error::VariableExists { session, variable } => {
            vec![("session", session.to_string()), ("variable", variable.to_string())]
        }
        Error::TypeMismatch { variable, expected, got } => {
            vec![("variable", variable.to_string()), ("expected", expected.clone()), ("got", got.clone())]
        }
        Error::ConstraintViolated { variable, constraint, value } => {
            vec![("variable", variable.to_string()), ("constraint", constraint.clone()), ("value", value.clone())]
        }
        Error::InvalidRequest { field, .. } => vec![("field", field.clone())],
        Error::VersionConflict { variable, expected, actual } => {
            vec![("variable", variable.to_string()), ("expected", expected.to_string()), ("actual", actual.to_string())]
        }
        Error::Compacted { oldest } => vec![("oldest", oldest.to_string())],
        Error::VariableReadOnly { variable } => vec![("variable", variable.to_string())],
        Error::ServerReadOnly { cause } | Error::OutcomeUnknown { cause } => vec![("cause", cause.to_string())],
        Error::Unauthenticated { role, given: _ } => vec![("role", (*role).to_owned())],
        Error::PermissionDenied { role, session } => {
            let session = session.as_ref().map(|session| ("session", session.to_string()));
            [("role", (*role).to_owned())].into_iter().chain(session).collect()
        }
        Error::VersionUnsupported { server, client } => {
            vec![("server", server.to_string()), ("client", client.clone())]
        }
        Error::LimitExceeded { limit, max } => vec![("limit", (*limit).to_owned()), ("max", max.to_string())],
        Error::ToolNotFound { session, tool, closest } => {
            vec![("session", session.to_string()), ("tool", tool.to_string()), ("closest", closest.join(","))]
        }
        Error::ToolExists { tool } => vec![("tool", tool.to_string())],
        Error::ToolUnavailable { tool, call, dispatched, cause } => vec![
            ("tool", tool.to_string()),
            ("call", call.to_string()),
            ("dispatched", dispatched.to_string()),
            ("cause", cause.to_string()),
        ],
        Error::CallCancelled { tool, call, by } => {
            vec![("tool", tool.to_string()), ("call", call.to_string()), ("by", by.to_string())]
        }
        Error::CallDeadline { .. } | Error::Stopping => Vec::new(),
    }
}

/// An [`Error`] with the facts that every answer about a session carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub error: Error,
    /// The committed position the refusal was computed from.
    pub position: Option<Position>,
    /// The index of the operation at fault in its batch.
    pub operation: Option<usize>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, position: None, operation: None }
    }
}

impl Refusal {
    /// What a client of a write of so many operations is told: whoever asked for one thing knows which it was.
    pub fn of_write(self, operations: usize) -> Status {
        self.told(operations > 1)
    }

    fn told(self, with_operation: bool) -> Status {
        let Self { error, position, operation } = self;
        let (reason, mut metadata) = reason_and_facts(&error);
        if reason.is_empty() {
            return Status::new(code(&error), error.to_string());
        }
        if let Some(position) = position {
            metadata.insert("revision".into(), position.revision.to_string());
            metadata.insert("incarnation".into(), position.incarnation.to_string());
        }
        let mut message = error.to_string();
        if let Some(operation) = operation {
            metadata.insert("operation".into(), operation.to_string());
            if with_operation {
                message = format!("operation {operation}: {message}");
            }
        }
        Status::with_error_details(code(&error), message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.told(true)
    }
}
