//! The Snakepit session server: live, typed, versioned variables over gRPC.
//!
//! Dependencies point down only: `service` → `store` (with `journal`; async ends here) → `access` → `session` → `variable` →
//! `value`. `session` and below are pure: no clock, no I/O, no async. `wire` has the messages that `service` and
//! `journal` share.

pub mod access;
pub mod audit;
pub mod client;
pub mod config;
pub mod error;
#[cfg(test)]
mod hostile;
pub mod journal;
mod metrics;
mod planted;
pub mod server;
mod service;
pub mod session;
pub mod store;
pub mod tls;
pub mod tool;
pub mod value;
pub mod variable;
mod wire;

/// The generated protocol, `snakepit_bridge.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the commented .proto files"
)]
pub mod proto {
    tonic::include_proto!("snakepit_bridge.v1");

    /// The compiled `.proto` files, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// The generated messages of what a journal keeps, `snakepit_bridge.journal.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the commented .proto files"
)]
mod journal_proto {
    include!(concat!(env!("OUT_DIR"), "/journal/snakepit_bridge.journal.v1.rs"));
}
