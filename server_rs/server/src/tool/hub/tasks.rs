//! What goes on beside the hub's steps.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{Hub, State};
use crate::tool::{
    call::{ToolKey, WorkerKey},
    native::CallContext,
    registry::{Order, Outcome},
};

impl Hub {
    /// Tells the registry when a breaker's time is up.
    pub(super) fn wake(&self, tool: ToolKey, after: Duration) {
        // The last workers leave while the runtime ends, and then nobody is there to wake.
        let Ok(runtime) = Handle::try_current() else { return };
        let (hub, at) = (self.clone(), Instant::now() + after);
        runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            hub.step(|state, now| state.registry.wake(tool, now));
        });
    }

    /// Runs a native tool. Dropping its future is how it is cancelled.
    pub(super) fn run(&self, state: &mut State, host: WorkerKey, order: Order) {
        let Some(tool) = state.native.get(&order.tool) else { return };
        let left = order.deadline.since(self.0.clock.now());
        let context = CallContext {
            call_id: order.call_id,
            session_id: order.request.session_id.clone(),
            caller: Arc::clone(&order.request.caller),
            traceparent: Arc::clone(&order.request.traceparent),
            tracestate: Arc::clone(&order.request.tracestate),
            deadline: Instant::now() + left,
        };
        let (hub, tool, dispatch) = (self.clone(), tool.clone(), order.dispatch);
        // Not even the making of the future happens here: it is the host's code, and this is our lock.
        let task = tokio::spawn(async move {
            let outcome = tool
                .call(Arc::clone(&order.request.arguments), context)
                .await
                .map_or_else(Outcome::Failure, Outcome::Result);
            hub.step(|state, now| {
                if state.running.remove(&dispatch).is_some() {
                    state.registry.answered(host, dispatch, outcome, now);
                }
            });
        });
        state.running.insert(dispatch, task.abort_handle());
    }
}
