//! What the server does, seen from outside: through a real server and the generated client.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]
#![allow(clippy::default_trait_access, reason = "the messages' types say nothing here")]

mod audit;
mod auth_rpcs;
mod auth_secrets;
mod auth_streams;
mod auth_tokens;
mod caller;
mod canary;
mod client;
mod command_line;
mod command_line_apply;
#[cfg(unix)]
mod command_line_narrow;
#[cfg(unix)]
mod command_line_progress;
mod command_line_reference;
mod command_line_session;
mod command_line_status;
#[cfg(unix)]
mod command_line_terminal;
mod command_line_tool;
mod command_line_var;
mod data;
mod discovery;
mod disk;
mod errors;
mod expiry;
mod golden;
mod guarded;
mod hostile;
mod limits;
mod logs;
mod metrics;
mod monitored;
mod native_tools;
mod probes;
#[cfg(unix)]
mod pty;
mod raw;
mod reads;
mod request_ids;
mod sessions;
mod setup;
mod stop;
mod sync;
mod tls;
mod tool_breaker;
mod tool_calls;
mod tool_cancelling;
mod tool_deadlines;
mod tool_listing;
mod tool_retries;
mod tool_routing;
mod tool_streams;
mod tool_workers;
mod traces;
mod values;
mod watch_every;
mod watch_latest;
mod worker;
mod writes;
