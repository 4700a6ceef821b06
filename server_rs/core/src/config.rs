//! What a server accepts, keeps and how it paces itself.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// What the server accepts. Beyond a limit a request is refused with `LIMIT_EXCEEDED` and the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one encoded value.
    pub value_bytes: u64,
    /// Bytes of all current values of one session, of its variables' descriptions, labels and constraints, and of its own
    /// labels.
    pub session_value_bytes: u64,
    /// Variables of one session.
    pub variables_per_session: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Operations of one batch.
    pub batch_operations: u64,
    /// Encoded bytes of one batch of more than one operation.
    pub batch_bytes: u64,
    /// Bytes of one message, either way.
    pub message_bytes: u64,
    /// Concurrent streams of one connection.
    pub streams_per_connection: u64,
    /// Open watches of one session, and workers that serve its tools.
    pub watchers_per_session: u64,
    /// Tools of one session, or global ones.
    pub tools_per_session: u64,
    /// Calls of one tool that wait for a worker.
    pub queued_calls_per_tool: u64,
    /// Bytes of one tool's schema.
    pub tool_schema_bytes: u64,
    /// Requests of one caller in a second; 0: any number.
    pub requests_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value_bytes: 16 * MIB,
            session_value_bytes: 64 * MIB,
            variables_per_session: 1_000,
            sessions: 10_000,
            batch_operations: 256,
            batch_bytes: 4 * MIB,
            message_bytes: 32 * MIB,
            streams_per_connection: 256,
            watchers_per_session: 1_000,
            tools_per_session: 1_000,
            queued_calls_per_tool: 1_000,
            tool_schema_bytes: 256 * 1024,
            requests_per_second: 0,
        }
    }
}

/// How much of the past a session keeps. Trimming never changes what a variable is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Events a watch can resume from.
    pub log_events: usize,
    /// Bytes of those events; the newest event is always kept.
    pub log_bytes: u64,
    /// Events of these that are held in memory. Of a home that can be asked for the others, it is no more than
    /// [`Windows::HELD_EVENTS`].
    pub held_events: usize,
    /// Bytes of those events.
    pub held_bytes: u64,
    /// Versions kept of each variable.
    pub history_versions: usize,
    /// Bytes of those versions; the newest is always kept.
    pub history_bytes: u64,
    /// Deleted names remembered, for Sync and for their histories.
    pub deleted_names: usize,
    /// Bytes of the histories of all deleted names; beyond, those deleted first keep only their deletion.
    pub deleted_bytes: u64,
    /// Writes whose idempotency keys are remembered.
    pub idempotency_writes: usize,
    /// How long they are remembered.
    pub idempotency_age: Duration,
}

impl Windows {
    /// How many events are held of a session whose home can be asked for the others: enough for watchers that follow.
    pub const HELD_EVENTS: usize = 256;
    /// How many bytes of them.
    pub const HELD_BYTES: u64 = 256 * 1024;

    /// These windows, before a home that can be asked for events.
    #[must_use]
    pub fn before_a_home_with_events(&self) -> Self {
        Self {
            held_events: self.held_events.min(Self::HELD_EVENTS),
            held_bytes: self.held_bytes.min(Self::HELD_BYTES),
            ..self.clone()
        }
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            log_events: 10_000,
            log_bytes: 8 * MIB,
            held_events: usize::MAX,
            held_bytes: u64::MAX,
            history_versions: 100,
            history_bytes: MIB,
            deleted_names: 10_000,
            deleted_bytes: 8 * MIB,
            idempotency_writes: 10_000,
            idempotency_age: Duration::from_secs(600),
        }
    }
}

/// When a journal on disk tidies itself up. Nothing of what it keeps depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Events of a session after which it is folded into rows.
    pub fold_events: usize,
    /// Bytes of such events.
    pub fold_bytes: u64,
    /// Pages of 4 KiB in the write-ahead log after which it is copied into the tables.
    pub checkpoint_pages: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { fold_events: 1_000, fold_bytes: 2 * MIB, checkpoint_pages: 1_000 }
    }
}
