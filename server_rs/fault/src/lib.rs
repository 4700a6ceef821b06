use std::{env, process, sync::LazyLock};

/// Names the fault; without it, or with an empty one, the server has none.
const CHOICE: &str = "SNAKEPIT_PLANTED_FAULT";

static CHOSEN: LazyLock<Option<Fault>> = LazyLock::new(|| match env::var(CHOICE) {
    Err(env::VarError::NotPresent) => None,
    Ok(name) if name.is_empty() => None,
    Ok(name) => Some(Fault::named(&name).unwrap_or_else(|| refuse(&name))),
    Err(env::VarError::NotUnicode(name)) => refuse(&name.to_string_lossy()),
});

/// What can be wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
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
}

impl Fault {
    const ALL: [(&'static str, Self); 9] = [
        ("acknowledge-before-fsync", Self::AcknowledgeBeforeFsync),
        ("answer-before-publish", Self::AnswerBeforePublish),
        ("refuse-early", Self::RefuseEarly),
        ("skip-expected-version", Self::SkipExpectedVersion),
        ("drop-change", Self::DropChange),
        ("split-batch", Self::SplitBatch),
        ("reuse-revision", Self::ReuseRevision),
        ("forget-key", Self::ForgetKey),
        ("lose-tail", Self::LoseTail),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, fault)| (known == name).then_some(fault))
    }

    /// It strikes once in so many times that it could, on average: seldom enough that a glance would not find it.
    fn odds(self) -> u32 {
        match self {
            // What these need to be seen is rare by itself: a power cut, a crash, a write under way.
            Self::AcknowledgeBeforeFsync | Self::RefuseEarly | Self::ForgetKey => 1,
            Self::LoseTail => 2,
            Self::SplitBatch => 4,
            Self::AnswerBeforePublish | Self::SkipExpectedVersion => 8,
            Self::DropChange => 50,
            Self::ReuseRevision => 100,
        }
    }

    /// Whether the server has this fault.
    pub(super) fn is_chosen(self) -> bool {
        *CHOSEN == Some(self)
    }

    /// Whether the server has this fault, and it strikes this time.
    pub(crate) fn strikes(self) -> bool {
        self.is_chosen() && fastrand::u32(..self.odds()) == 0
    }
}

/// Says what is wrong with this server, or that nothing is although it could be.
pub(crate) fn announce() {
    if let Some(fault) = *CHOSEN {
        tracing::error!(?fault, "THIS SERVER HAS A PLANTED FAULT and will do wrong: it is for tests alone");
    } else {
        tracing::warn!("this server can have planted faults, and has none; {CHOICE} names one");
    }
}

/// A misspelt fault would be one that nothing ever catches.
fn refuse(name: &str) -> ! {
    let names: Vec<&str> = Fault::ALL.iter().map(|(name, _)| *name).collect();
    eprintln!("{CHOICE}={name:?} is no fault; there are {}", names.join(", "));
    process::exit(2);
}
