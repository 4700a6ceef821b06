use std::collections::HashMap;

use snakepit_core::tool::Failure;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server refused it, or ended it.
    #[error("{0}")]
    Refused(Refused),
    /// The tool ran, and failed.
    #[error("{}: {}", .0.kind, .0.message)]
    Failed(Failure),
    /// The arguments cannot be sent.
    #[error("{0}")]
    Arguments(String),
    /// It took longer than it may.
    #[error("{0}")]
    Deadline(String),
    /// No server, or it went away: whether the tool ran is unknown.
    #[error("{0}")]
    Transport(String),
}

/// A refusal of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({reason}{})", named(.request_id))]
pub struct Refused {
    /// The name of an `ErrorReason`, without its prefix.
    pub reason: String,
    /// What was wrong and what to do.
    pub message: String,
    /// The facts that belong to the reason.
    pub facts: HashMap<String, String>,
    /// What the request is known by in the server's log; empty if the server does not say.
    pub request_id: String,
}

fn named(request_id: &str) -> String {
    if request_id.is_empty() { String::new() } else { format!(", request {request_id}") }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        let details = status.get_error_details();
        let request_id = details.request_info().map(|request| request.request_id.clone());
        if let Some(info) = details.error_info() {
            let (reason, facts) = (info.reason.clone(), info.metadata.clone());
            return Self::Refused(Refused { reason, message, facts, request_id: request_id.unwrap_or_default() });
        }
        if status.code() == Code::Unimplemented {
            let client = env!("CARGO_PKG_VERSION");
            let facts = [("server", "older"), ("client_release", client)];
            return Self::Refused(Refused {
                reason: "VERSION_UNSUPPORTED".into(),
                message: format!("the server does not know this call, of snakepit {client}: it is older, upgrade it"),
                facts: facts.map(|(name, fact)| (name.to_owned(), fact.to_owned())).into(),
                request_id: request_id.unwrap_or_default(),
            });
        }
        let known = request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
        if status.code() == Code::DeadlineExceeded {
            return Self::Deadline(message + &known);
        }
        Self::Transport(format!("{}: {message}{known}", status.code().description()))
    }
}
