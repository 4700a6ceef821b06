//! Tools: who offers them, who runs a call, and how it ends.
//!
//! `registry` decides, without clock, lock or task; `hub` is its one lock, its clock and its connections.

mod breaker;
mod call;
pub(crate) mod hub;
mod native;
mod registry;
mod schema;
mod spec;
mod stats;

pub use breaker::{BreakerPolicy, BreakerState};
pub use call::{Arguments, Attempt, CallRecord, CallState, DispatchKey, Ending, Request, Scope};
pub use native::{CallContext, Tool};
pub(crate) use registry::{CHUNK_CREDIT, Connection, NewWorker, Order, Outcome};
pub use registry::{ListedTool, ShownTool, ShownWorker};
pub use schema::Schema;
pub use spec::{RetryPolicy, ToolSpec};

pub use snakepit_core::tool::Failure;
pub use stats::{LATENCY_BOUNDS, ToolStats};
