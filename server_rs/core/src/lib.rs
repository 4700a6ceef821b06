//! What a Snakepit server is about, without the server: values, variables, sessions, and why a request is refused.
//!
//! Pure: no clock, no I/O, no async, no messages. A session is a state machine ([`session`]): a command is decided on
//! and makes an event; an event makes the next state.
//!
//! Dependencies point down only: `session` → `variable` → `value`; `error`, `config`, `glob`, `access` and `tool` have the words
//! that the crates above share.

pub mod access;
pub mod config;
pub mod error;
pub mod glob;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tool;
pub mod value;
pub mod variable;
