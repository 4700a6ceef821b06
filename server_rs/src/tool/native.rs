//! Tools that the host of the server runs itself.

use super::{Arguments, Failure, ToolSpec};
use crate::{session::SessionId, value::Value};
use futures_util::future::BoxFuture;
use std::sync::Arc;
/// See `tool.proto`.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// See `tool.proto`.
    pub call_id: Arc<str>,
    /// See `tool.proto`.
    pub session_id: SessionId,
    /// See `tool.proto`.
    pub caller: Arc<str>,
    /// See `tool.proto`.
    pub traceparent: Arc<str>,
    /// See `tool.proto`.
    pub deadline: tokio::time::Instant,
}
/// See `tool.proto`.
pub trait NativeTool: Send + Sync + std::fmt::Debug {
    /// See `tool.proto`.
    fn spec(&self) -> &ToolSpec;
    /// See `tool.proto`.
    fn call(&self, arguments: Arguments, context: CallContext) -> BoxFuture<'static, Result<Value, Failure>>;
}
