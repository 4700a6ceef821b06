//! How a tool fails, wherever it runs.

/// A tool failed. An error of a native tool that is one is told as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// The name of the error's type.
    pub kind: String,
    /// What it derives from, nearest first, as far as the language itself has it.
    pub bases: Vec<String>,
    /// What it says.
    pub message: String,
    /// Whether another try might go well.
    pub retryable: bool,
    /// Where it happened; may be empty.
    pub traceback: String,
}

impl Failure {
    /// One that another try will not mend.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), ..Self::default() }
    }

    /// The same, for which another try may go well.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}
