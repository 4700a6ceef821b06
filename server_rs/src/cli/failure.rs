use std::{io, path::Path, process::ExitCode};

use snakepit_server::journal::disk::OpenError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was wrong and what to do about it. Exit code 1.
    Failed(String),
    /// No server, or it went away. Exit code 3.
    Unreachable(String),
    /// Whoever read the output has seen enough. Exit code 0.
    OutputClosed,
}

impl Failure {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// What the server at `address` made of a request.
    pub(super) fn refused(status: &Status, address: &str) -> Self {
        if let Some(info) = status.get_error_details().error_info() {
            return Self::Failed(format!("{} ({})", status.message(), info.reason));
        }
        let message = format!("{}: {}", status.code().description(), status.message());
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
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        eprintln!("snakepit: {message}");
        code.into()
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
