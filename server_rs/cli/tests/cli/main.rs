//! The binary: its commands, and the server that it is, run as processes.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]
#![allow(clippy::default_trait_access, reason = "the messages' types say nothing here")]

mod command_line;
mod commands;
mod journal;
#[cfg(unix)]
mod pty;
mod serving;
#[path = "../../../server/tests/server/support/mod.rs"]
mod support;
