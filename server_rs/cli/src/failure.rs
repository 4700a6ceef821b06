use std::{fmt, io, path::Path, process::ExitCode};

use snakepit_proto::v1::ErrorReason;
use snakepit_server::journal::sqlite::OpenError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::output::terminal;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was wrong and what to do about it. Exit code 1.
    Failed(String),
    /// No server, or it went away. Exit code 3.
    Unreachable(String),
    /// `apply --diff` found something to change, and said what. Exit code 4.
    WouldChange,
    /// Whoever read the output has seen enough. Exit code 0.
    OutputClosed,
}

impl Failure {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// What the server at `address` made of a request.
    pub(super) fn refused(status: &Status, address: &str) -> Self {
        let details = status.get_error_details();
        // A server of another make may call it anything.
        let request = details.request_info().map(|request| terminal::plain(&request.request_id));
        if let Some(info) = details.error_info() {
            let request = request.map(|id| format!("\n  request: {id}")).unwrap_or_default();
            let next = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)).and_then(next);
            let next = next.map(|next| format!("\n  next: {next}")).unwrap_or_default();
            return Self::Failed(format!("{} ({}){next}{request}", terminal::plain(status.message()), info.reason));
        }
        let request = request.map(|id| format!(" (request {id})")).unwrap_or_default();
        let message = format!("{}: {}{request}", status.code().description(), status.message());
        // Whoever answers there has answered something else than HTTP/2, or nothing.
        let no_answer = status.message().contains("h2 protocol error") || status.message() == "transport error";
        if no_answer && matches!(status.code(), Code::Unknown | Code::Internal) {
            return Self::Unreachable(format!(
                "what answers at {address} is no server of ours in the clear ({message}); if it encrypts, give --tls or \
                 --tls-ca"
            ));
        }
        if status.code() == Code::Unimplemented {
            return Self::Failed(format!(
                "what answers at {address} does not know what this command asks for, so it is older than this client, \
                 snakepit {}, or no snakepit server: upgrade it; `snakepit doctor` says what it is",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) {
            Self::unreachable(address, &message)
        } else {
            Self::Failed(message)
        }
    }

    pub(super) fn unreachable(address: &str, problem: &str) -> Self {
        Self::Unreachable(format!(
            "no answer from a server at {address} ({problem}); start one with `snakepit serve`, or say where it is with \
             --address or SNAKEPIT_ADDRESS"
        ))
    }

    /// Why the journal in a directory cannot be used.
    pub(super) fn journal(directory: &Path, error: &OpenError) -> Self {
        match error {
            OpenError::Sqlite(_) => Self::Failed(format!("{}: {error}", directory.display())),
            OpenError::InUse { .. }
            | OpenError::Directory { .. }
            | OpenError::Missing { .. }
            | OpenError::Taken { .. }
            | OpenError::Incomplete { .. }
            | OpenError::NoJournal { .. }
            | OpenError::Newer { .. }
            | OpenError::NoLog { .. }
            | OpenError::Damaged { .. } => Self::Failed(error.to_string()),
        }
    }

    /// Tells the user on stderr.
    pub(super) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Failed(message) => (message, 1),
            Self::Unreachable(message) => (message, 3),
            Self::WouldChange => return ExitCode::from(4),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        // Parts of it are others' words: of a server, a tool, a file.
        eprintln!("snakepit: {}", terminal::plain_lines(&message));
        code.into()
    }
}

/// What to do about a refusal, where its message does not say all of it.
fn next(reason: ErrorReason) -> Option<&'static str> {
    Some(match reason {
        ErrorReason::Unspecified => return None,
        ErrorReason::SessionNotFound => "`snakepit session list` shows those there are, `session create` makes one",
        ErrorReason::SessionExpired => "`snakepit session create` begins a new life, with nothing in it",
        ErrorReason::VariableNotFound => "`snakepit var list` shows those there are, `var define` declares one",
        ErrorReason::VariableExists => "`snakepit var define --replace` takes the new declaration",
        ErrorReason::TypeMismatch => "`snakepit var list` shows the types; --type says what a value is written as",
        ErrorReason::ConstraintViolated => {
            "give a value within the limits, or declare others with `snakepit var define --replace`"
        }
        ErrorReason::InvalidRequest => "see --help of the command",
        ErrorReason::VersionConflict => {
            "someone was faster: look with `snakepit var history`, and try with that version"
        }
        ErrorReason::Compacted => "watch again: it begins with the state as it is",
        ErrorReason::VariableReadOnly => "`snakepit var define --replace` is the only way to change it",
        ErrorReason::ServerReadOnly => {
            "`snakepit doctor` says what is wrong with the server's disk; nothing was written"
        }
        ErrorReason::OutcomeUnknown => "`snakepit doctor` says more; look whether it was written before trying again",
        ErrorReason::Unauthenticated => "give a token that the server knows",
        ErrorReason::PermissionDenied => "give a token with that role and for that session",
        ErrorReason::VersionUnsupported => "upgrade the older of client and server; `snakepit doctor` names both",
        ErrorReason::LimitExceeded => "`snakepit status` shows the limits; `snakepit serve --help` has a flag for each",
        ErrorReason::ToolNotFound => "`snakepit tool list` shows those there are",
        ErrorReason::ToolExists => "take another name, or withdraw the one there is",
        ErrorReason::ToolUnavailable => "see that a worker offers it: `snakepit tool list`",
        ErrorReason::CallCancelled => "call it again if that was not meant",
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::Unreachable(message) => f.write_str(message),
            Self::WouldChange => f.write_str("something would change"),
            Self::OutputClosed => f.write_str("nobody reads the output"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Failed(format!("cannot write the answer: {error}"))
        }
    }
}
