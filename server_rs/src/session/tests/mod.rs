#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod batches;
mod globs;
mod lifecycle;
mod operations;
mod repeats;
mod syncing;
mod windows;
