//! What the server does, seen from outside: through a real server in this process and the generated client.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]
#![allow(clippy::default_trait_access, reason = "the messages' types say nothing here")]

mod access;
mod requests;
mod sessions;
mod support;
mod tools;
mod variables;
