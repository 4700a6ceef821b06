//! Tools: who offers them, who runs a call, and how it ends.

mod spec;

pub use spec::{Failure, RetryPolicy, ToolSpec};
