//! What the tests of this crate and of those above share: random values, sessions, random commands, hostile bytes.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "for tests, which fail by panicking"
)]

pub mod commands;
pub mod fuzz;
pub mod session;
pub mod values;

pub use crate::session::whole;
