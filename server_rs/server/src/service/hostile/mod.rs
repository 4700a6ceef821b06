//! Requests that no well-meaning client sends, through everything between a request's bytes and the event it makes:
//! framing, decoding, the gate, the services, the store, the tools.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod requests;
mod seeds;

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::bytes::Bytes;
use snakepit_core::{
    access::Principal,
    config::{Limits, Windows},
};
use snakepit_proto::v1::{
    server_service_server::ServerServiceServer, session_service_server::SessionServiceServer,
    tool_service_server::ToolServiceServer, variable_service_server::VariableServiceServer,
};
use tokio::{runtime, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service as _, http},
};

use super::{Gate, ServerInfo, Sessions, Tools, Variables};
use crate::{
    journal::hostile::Witness,
    metrics::Metrics,
    service::{
        context::{Access, Serving},
        middleware::rate_limit::Pace,
    },
    store::{Clock, Store},
    tool::{BreakerPolicy, hub::Hub},
};

/// How many messages of an answer are read before it is dropped.
const READ: usize = 4;

/// The services in front of a small store, without a network.
struct Services {
    serving: Arc<Serving>,
    witness: Witness,
}

impl Services {
    /// Needs a runtime.
    fn start() -> Self {
        let limits = Limits {
            value_bytes: 2_000,
            session_value_bytes: 6_000,
            variables_per_session: 6,
            sessions: 3,
            batch_operations: 8,
            batch_bytes: 8_000,
            message_bytes: 20_000,
            watchers_per_session: 2,
            tools_per_session: 4,
            queued_calls_per_tool: 2,
            tool_schema_bytes: 4_000,
            ..Limits::default()
        };
        let windows = Windows { log_events: 5, history_versions: 3, deleted_names: 2, ..Windows::default() };
        let witness = Witness::default();
        let store = Store::new(witness.clone(), limits, windows);
        let tools = Hub::start(store.limits(), BreakerPolicy::default(), Clock::start());
        let serving = Arc::new(Serving {
            store,
            tools,
            access: Access::Everyone(Principal::anonymous()),
            audit: None,
            metrics: Metrics::default(),
            heartbeat: Duration::from_secs(5),
            insecure: false,
            stopping: CancellationToken::new(),
        });
        Self { serving, witness }
    }

    /// Sends a body to a method, and reads some of the answer. How the call ended, if it has.
    async fn call(&self, method: &str, body: Body) -> Option<Status> {
        let request = http::Request::post(format!("/snakepit_bridge.v1.{method}"))
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap();
        let (serving, pace, most) = (&self.serving, Arc::new(Pace::new(0)), 20_000);
        let state = || Arc::clone(serving);
        let answer = match method.split('/').next().unwrap() {
            "SessionService" => {
                let service = SessionServiceServer::new(Sessions(state())).max_decoding_message_size(most);
                Gate::new(service, serving, &pace).call(request).await
            }
            "VariableService" => {
                let service = VariableServiceServer::new(Variables(state())).max_decoding_message_size(most);
                Gate::new(service, serving, &pace).call(request).await
            }
            "ToolService" => {
                let service = ToolServiceServer::new(Tools(state())).max_decoding_message_size(most);
                Gate::new(service, serving, &pace).call(request).await
            }
            _ => Gate::new(ServerServiceServer::new(ServerInfo(state())), serving, &pace).call(request).await,
        };
        let (head, mut body) = answer.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Some(status);
        }
        for _ in 0..READ {
            match body.frame().await? {
                Ok(frame) => match frame.into_trailers() {
                    Ok(trailers) => return Status::from_header_map(&trailers),
                    Err(_message) => {}
                },
                Err(status) => return Some(status),
            }
        }
        None
    }
}

/// A runtime whose clock jumps ahead when there is nothing to do, so that no request has to be waited for.
fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A message as gRPC frames it.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// A request that is all there.
fn whole(frames: Vec<u8>) -> Body {
    Body::new(Full::new(Bytes::from(frames)))
}

/// A request that nobody ever finishes.
fn half_open(frames: Vec<u8>) -> Body {
    use futures_util::StreamExt as _;
    let begun = futures_util::stream::iter([Ok::<_, Status>(http_body::Frame::data(Bytes::from(frames)))]);
    Body::new(StreamBody::new(begun.chain(futures_util::stream::pending())))
}

/// Whether a refusal says whose fault it is. What the server itself got wrong would be one of the others.
fn is_told(status: &Status) -> bool {
    !matches!(status.code(), Code::Unknown | Code::DataLoss | Code::Internal)
}
