//! Tools: who offers them, who runs a call, and how it ends.

mod schema;
mod spec;

pub use schema::Schema;
pub use spec::{Failure, RetryPolicy, ToolSpec};
