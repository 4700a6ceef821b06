//! Fault injection: mistakes that a debug build of the server makes on request, each what a believable error in its code
//! would do. The harnesses must catch every one of them; otherwise what they do not find means nothing.
//!
//! `SNAKEPIT_INJECT_FAULT` names the one fault of a process. The code asks [`injected!`] at the place of each. In an
//! optimised build the answer is the constant `false`, and nothing of a fault is left in it.

use std::{env, process, sync::LazyLock};

/// Names the fault; if it is not set, or empty, the server has none.
const VARIABLE: &str = "SNAKEPIT_INJECT_FAULT";

static CHOSEN: LazyLock<Option<Fault>> = LazyLock::new(|| match env::var(VARIABLE) {
    Err(env::VarError::NotPresent) => None,
    Ok(name) if name.is_empty() => None,
    Ok(name) => Some(Fault::named(&name).unwrap_or_else(|| refuse(&name))),
    Err(env::VarError::NotUnicode(name)) => refuse(&name.to_string_lossy()),
});

/// What can be wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log is synced by checkpoints only.
    AcknowledgeBeforeFsync,
    /// Writers are answered a moment before readers can see what they wrote.
    AnswerBeforePublish,
    /// Refusals and answers without an event do not wait until the state that they follow from is published.
    RefuseEarly,
    /// An expected version that is wrong is accepted now and then.
    SkipExpectedVersion,
    /// A watch of every change that is behind leaves one out now and then.
    DropChange,
    /// A batch is written in two parts.
    SplitBatch,
    /// An event gets the revision of the one before it, and takes its place on disk.
    ReuseRevision,
    /// Idempotency keys do not reach the disk.
    ForgetKey,
    /// A start takes the newest event of a session for torn and drops it.
    LoseTail,
    /// A journal's log is taken for whole as far as SQLite reads it.
    TrustTheLog,
    /// Whoever sets a secret to what it is already is told that nothing changed.
    ConfirmGuess,
    /// What counts the bytes of secrets counts them exactly.
    ExactSizes,
}

impl Fault {
    const ALL: [(&'static str, Self); 12] = [
        ("acknowledge-before-fsync", Self::AcknowledgeBeforeFsync),
        ("answer-before-publish", Self::AnswerBeforePublish),
        ("refuse-early", Self::RefuseEarly),
        ("skip-expected-version", Self::SkipExpectedVersion),
        ("drop-change", Self::DropChange),
        ("split-batch", Self::SplitBatch),
        ("reuse-revision", Self::ReuseRevision),
        ("forget-key", Self::ForgetKey),
        ("lose-tail", Self::LoseTail),
        ("trust-the-log", Self::TrustTheLog),
        ("confirm-guess", Self::ConfirmGuess),
        ("exact-sizes", Self::ExactSizes),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, fault)| (known == name).then_some(fault))
    }

    /// It strikes once in so many times that it could, on average: seldom enough that a glance would not find it.
    fn odds(self) -> u32 {
        match self {
            // What these need to be seen is rare by itself: a power cut, a crash, a write under way.
            // Or, with sizes, has to be subtracted as it was added.
            Self::AcknowledgeBeforeFsync
            | Self::RefuseEarly
            | Self::ForgetKey
            | Self::TrustTheLog
            | Self::ConfirmGuess
            | Self::ExactSizes => 1,
            Self::LoseTail => 2,
            Self::SplitBatch => 4,
            Self::AnswerBeforePublish | Self::SkipExpectedVersion => 8,
            Self::DropChange => 50,
            Self::ReuseRevision => 100,
        }
    }

    /// Whether the server has this fault.
    pub fn is_chosen(self) -> bool {
        *CHOSEN == Some(self)
    }

    /// Whether the server has this fault, and makes the mistake this time.
    pub fn strikes(self) -> bool {
        self.is_chosen() && fastrand::u32(..self.odds()) == 0
    }
}

/// Whether this fault strikes now: `injected!(DropChange)`. A constant in an optimised build.
#[macro_export]
macro_rules! injected {
    ($fault:ident) => {
        cfg!(debug_assertions) && $crate::Fault::$fault.strikes()
    };
}

/// Whether this process has the fault, whether or not it strikes now.
#[macro_export]
macro_rules! is_chosen {
    ($fault:ident) => {
        cfg!(debug_assertions) && $crate::Fault::$fault.is_chosen()
    };
}

/// The fault that this process has, if any. None in an optimised build.
pub fn chosen() -> Option<Fault> {
    if cfg!(debug_assertions) { *CHOSEN } else { None }
}

/// A misspelt fault would be one that nothing ever catches.
fn refuse(name: &str) -> ! {
    let names: Vec<&str> = Fault::ALL.iter().map(|(name, _)| *name).collect();
    eprintln!("{VARIABLE}={name:?} is not a fault; there are {}", names.join(", "));
    process::exit(2);
}
