//! What the server does, seen from outside: through a real server and the generated client.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::default_trait_access, reason = "the messages' types say nothing here")]

mod client;
mod command_line;
mod data;
mod discovery;
mod disk;
mod errors;
mod expiry;
mod golden;
mod hostile;
mod limits;
mod native_tools;
mod raw;
mod reads;
mod sessions;
mod setup;
mod stop;
mod sync;
mod tools;
mod values;
mod watch_every;
mod watch_latest;
mod worker;
mod writes;
