//! What every request passes on its way to a service and back, outermost first: `request_info`, `metrics`, `auth`.

mod audit;
pub(super) mod auth;
pub(super) mod caller;
pub(super) mod deadline;
mod method_policy;
pub(super) mod metrics;
mod peer;
pub(super) mod rate_limit;
pub(crate) mod request_info;
mod stream_auth;
