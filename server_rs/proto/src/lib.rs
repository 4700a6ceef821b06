//! The protocol of Snakepit, `snakepit_bridge.v1`: its generated messages, clients and servers, and the conversions
//! between them and what `snakepit_core` thinks in.

pub mod convert;
mod status;
#[cfg(test)]
mod tests;

pub use status::{DOMAIN, Refusal, reason_and_facts};

/// The version of the protocol that this release speaks.
pub const API_VERSION: u32 = 1;

/// The generated protocol, `snakepit_bridge.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the commented .proto files"
)]
pub mod v1 {
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
pub mod journal {
    include!(concat!(env!("OUT_DIR"), "/journal/snakepit_bridge.journal.v1.rs"));
}
