//! Servers, sessions, workers and callers for the tests, here and in the tests of the command line.

#![allow(dead_code, reason = "each of the two test programs uses a part of it")]

pub mod caller;
pub mod clock;
pub mod guarded;
pub mod metadata;
pub mod monitored;
pub mod raw;
pub mod setup;
pub mod worker;
