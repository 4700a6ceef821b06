//! Random workers and callers against the registry, after every step of which a naive bookkeeping, made from what was
//! said and told alone, has to agree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod breakers;
mod checks;
mod indexes;
mod laws;
mod ledger;
mod reach;
mod said;
mod steps;
mod told;
mod world;
