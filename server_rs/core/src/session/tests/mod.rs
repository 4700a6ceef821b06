#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod batches;
mod costs;
mod globs;
mod hashes;
mod lifecycle;
mod operations;
mod repeats;
mod syncing;
mod windows;
