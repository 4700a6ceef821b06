//! How a worker introduces itself.

use std::sync::Arc;

use snakepit_core::error::Error;
use snakepit_proto::{Refusal, v1::WorkerHello};

use super::convert;
use crate::{
    service::{context::Serving, middleware::caller::Caller},
    store::Watcher,
    tool::{Connection, NewWorker, Scope},
};

const MAX_LABEL: usize = 256;
const MAX_INSTANCE: usize = 64;
const MAX_CONCURRENCY: u32 = 10_000;

/// The worker that says hello, and a watch over its session if it is for one.
pub(super) async fn parse(
    serving: &Serving,
    caller: &Caller,
    hello: WorkerHello,
) -> Result<(NewWorker, Option<Watcher>), Refusal> {
    let session = if hello.session_id.is_empty() {
        caller.everywhere()?;
        None
    } else {
        Some(caller.session(&hello.session_id)?)
    };
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if !(1..=64).contains(&hello.worker_id.len()) || !hello.worker_id.bytes().all(legal) {
        let shown: String = hello.worker_id.chars().take(64).collect();
        let problem = format!("{shown:?} is no worker id: it takes 1 to 64 characters out of [A-Za-z0-9_-]");
        return Err(Error::invalid("worker_id", problem).into());
    }
    if !(1..=MAX_CONCURRENCY).contains(&hello.max_concurrency) {
        let problem = format!("takes 1 to {MAX_CONCURRENCY}, got {}", hello.max_concurrency);
        return Err(Error::invalid("max_concurrency", problem).into());
    }
    if hello.label.chars().count() > MAX_LABEL {
        return Err(Error::invalid("label", format!("takes at most {MAX_LABEL} characters")).into());
    }
    if hello.instance.len() > MAX_INSTANCE {
        let problem = format!("takes at most {MAX_INSTANCE} bytes, got {}", hello.instance.len());
        return Err(Error::invalid("instance", problem).into());
    }
    let (scope, watcher) = match session {
        None => (Scope::Global, None),
        Some(id) => {
            let view = serving.store.touch(&id, convert::incarnation(&hello.incarnation)?).await?;
            let mut watcher = serving.store.watch(&id).await?;
            drop(watcher.current()?);
            (Scope::Session(id, view.state.incarnation), Some(watcher))
        }
    };
    let (id, label) = (hello.worker_id.into(), hello.label.into());
    let connection = Connection { instance: hello.instance, generation: hello.generation };
    // Who is not known is nobody's: without tokens and certificates all are the same.
    let owner = caller.principal.verified.then(|| Arc::clone(&caller.principal.name));
    Ok((NewWorker { id, owner, label, scope, max: hello.max_concurrency as usize, connection }, watcher))
}
