//! The Snakepit session server: live, typed, versioned variables over gRPC.
//!
//! Dependencies point down only: `service` → `store` (with `journal`; async ends here) → `session` → `variable` →
//! `value`. `session` and below are pure: no clock, no I/O, no async.

pub mod config;
pub mod error;
pub mod session;
pub mod value;
pub mod variable;

/// The generated protocol, `snakepit_bridge.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated from the commented .proto files")]
pub mod proto {
    tonic::include_proto!("snakepit_bridge.v1");

    /// The compiled `.proto` files, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
