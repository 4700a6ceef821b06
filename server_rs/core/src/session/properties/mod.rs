//! What holds for every sequence of commands.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod machine;
mod mirror;
mod model;
mod reach;
mod replay;
