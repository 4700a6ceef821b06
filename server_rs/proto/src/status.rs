//! Refusals as gRPC statuses.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::Error;
use crate::{proto::ErrorReason, session::Position};

/// The `domain` of every `google.rpc.ErrorInfo` this server sends.
pub const DOMAIN: &str = "snakepit_bridge.v1";

impl Error {
    fn code(&self) -> Code {
        match self {
            Self::SessionNotFound { .. }
            | Self::SessionExpired { .. }
            | Self::VariableNotFound { .. }
            | Self::ToolNotFound { .. } => Code::NotFound,
            Self::VariableExists { .. } | Self::ToolExists { .. } => Code::AlreadyExists,
            Self::TypeMismatch { .. } | Self::ConstraintViolated { .. } | Self::InvalidRequest { .. } => {
                Code::InvalidArgument
            }
            Self::VersionConflict { .. } => Code::Aborted,
            Self::Compacted { .. } => Code::OutOfRange,
            Self::VariableReadOnly { .. } | Self::VersionUnsupported { .. } => Code::FailedPrecondition,
            Self::ServerReadOnly { .. } | Self::ToolUnavailable { .. } | Self::Stopping => Code::Unavailable,
            Self::CallCancelled { .. } => Code::Cancelled,
            Self::CallDeadline { .. } => Code::DeadlineExceeded,
            Self::OutcomeUnknown { .. } => Code::Unknown,
            Self::Unauthenticated { .. } => Code::Unauthenticated,
            Self::PermissionDenied { .. } => Code::PermissionDenied,
            Self::LimitExceeded { .. } => Code::ResourceExhausted,
        }
    }

    fn reason(&self) -> Option<ErrorReason> {
        Some(match self {
            Self::SessionNotFound { .. } => ErrorReason::SessionNotFound,
            Self::SessionExpired { .. } => ErrorReason::SessionExpired,
            Self::VariableNotFound { .. } => ErrorReason::VariableNotFound,
            Self::VariableExists { .. } => ErrorReason::VariableExists,
            Self::TypeMismatch { .. } => ErrorReason::TypeMismatch,
            Self::ConstraintViolated { .. } => ErrorReason::ConstraintViolated,
            Self::InvalidRequest { .. } => ErrorReason::InvalidRequest,
            Self::VersionConflict { .. } => ErrorReason::VersionConflict,
            Self::Compacted { .. } => ErrorReason::Compacted,
            Self::VariableReadOnly { .. } => ErrorReason::VariableReadOnly,
            Self::ServerReadOnly { .. } => ErrorReason::ServerReadOnly,
            Self::OutcomeUnknown { .. } => ErrorReason::OutcomeUnknown,
            Self::Unauthenticated { .. } => ErrorReason::Unauthenticated,
            Self::PermissionDenied { .. } => ErrorReason::PermissionDenied,
            Self::VersionUnsupported { .. } => ErrorReason::VersionUnsupported,
            Self::LimitExceeded { .. } => ErrorReason::LimitExceeded,
            Self::ToolNotFound { .. } => ErrorReason::ToolNotFound,
            Self::ToolExists { .. } => ErrorReason::ToolExists,
            Self::ToolUnavailable { .. } => ErrorReason::ToolUnavailable,
            Self::CallCancelled { .. } => ErrorReason::CallCancelled,
            Self::CallDeadline { .. } | Self::Stopping => return None,
        })
    }

    /// The name of the reason, empty if it has none, and the facts.
    pub(crate) fn reason_and_facts(&self) -> (String, HashMap<String, String>) {
        let name = self.reason().map_or("", |reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"));
        (name.to_owned(), self.facts().into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::SessionNotFound { session } | Self::SessionExpired { session } => {
                vec![("session", session.to_string())]
            }
            Self::VariableNotFound { session, variable, closest } => vec![
                ("session", session.to_string()),
                ("variable", variable.to_string()),
                ("closest", closest.join(",")),
            ],
            Self::VariableExists { session, variable } => {
                vec![("session", session.to_string()), ("variable", variable.to_string())]
            }
            Self::TypeMismatch { variable, expected, got } => {
                vec![("variable", variable.to_string()), ("expected", expected.clone()), ("got", got.clone())]
            }
            Self::ConstraintViolated { variable, constraint, value } => {
                vec![("variable", variable.to_string()), ("constraint", constraint.clone()), ("value", value.clone())]
            }
            Self::InvalidRequest { field, .. } => vec![("field", field.clone())],
            Self::VersionConflict { variable, expected, actual } => vec![
                ("variable", variable.to_string()),
                ("expected", expected.to_string()),
                ("actual", actual.to_string()),
            ],
            Self::Compacted { oldest } => vec![("oldest", oldest.to_string())],
            Self::VariableReadOnly { variable } => vec![("variable", variable.to_string())],
            Self::ServerReadOnly { cause } | Self::OutcomeUnknown { cause } => vec![("cause", cause.to_string())],
            Self::Unauthenticated { role, given: _ } => vec![("role", (*role).to_owned())],
            Self::PermissionDenied { role, session } => {
                let session = session.as_ref().map(|session| ("session", session.to_string()));
                [("role", (*role).to_owned())].into_iter().chain(session).collect()
            }
            Self::VersionUnsupported { server, client } => {
                vec![("server", server.to_string()), ("client", client.clone())]
            }
            Self::LimitExceeded { limit, max } => vec![("limit", (*limit).to_owned()), ("max", max.to_string())],
            Self::ToolNotFound { session, tool, closest } => {
                vec![("session", session.to_string()), ("tool", tool.to_string()), ("closest", closest.join(","))]
            }
            Self::ToolExists { tool } => vec![("tool", tool.to_string())],
            Self::ToolUnavailable { tool, call, dispatched, cause } => vec![
                ("tool", tool.to_string()),
                ("call", call.to_string()),
                ("dispatched", dispatched.to_string()),
                ("cause", cause.to_string()),
            ],
            Self::CallCancelled { tool, call, by } => {
                vec![("tool", tool.to_string()), ("call", call.to_string()), ("by", by.to_string())]
            }
            Self::CallDeadline { .. } | Self::Stopping => Vec::new(),
        }
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
    pub(crate) fn of_write(self, operations: usize) -> Status {
        self.told(operations > 1)
    }

    fn told(self, with_operation: bool) -> Status {
        let Self { error, position, operation } = self;
        let (reason, mut metadata) = error.reason_and_facts();
        if reason.is_empty() {
            return Status::new(error.code(), error.to_string());
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
        Status::with_error_details(error.code(), message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.told(true)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
