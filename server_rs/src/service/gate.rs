use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use crate::{
    error::Error,
    server::{API_VERSION, Serving},
    store::Principal,
};

/// The metadata key in which a client sends its api version.
const API_VERSION_KEY: &str = "snakepit-api-version";
const DETAILS_KEY: &str = "grpc-status-details-bin";

/// Stands in front of a service: refuses other api versions, says who calls, and gives the refusals that tonic itself
/// makes of undecodable and oversize requests their reasons.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    principal: Principal,
    message_bytes: u64,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, serving: &Arc<Serving>) -> Self {
        let message_bytes = serving.store.limits().message_bytes;
        Self { inner, principal: serving.principal.clone(), message_bytes }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Err(error) = check_version(request.headers()) {
            return Box::pin(async { Ok(Status::from(error).into_http()) });
        }
        request.extensions_mut().insert(self.principal.clone());
        let answer = self.inner.call(request);
        let message_bytes = self.message_bytes;
        Box::pin(async move { answer.await.map(|response| with_reason(response, message_bytes)) })
    }
}

fn check_version(headers: &http::HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(API_VERSION_KEY) else { return Ok(()) };
    let client = String::from_utf8_lossy(value.as_bytes());
    let major = client.split('.').next().unwrap_or_default();
    if major.parse() == Ok(API_VERSION) {
        Ok(())
    } else {
        Err(Error::VersionUnsupported { server: API_VERSION, client: client.chars().take(32).collect() })
    }
}

/// Our own refusals carry details; one of these codes without any is tonic's.
fn with_reason(response: http::Response<Body>, message_bytes: u64) -> http::Response<Body> {
    if response.headers().contains_key(DETAILS_KEY) {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let error = if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        Error::LimitExceeded { limit: "message_bytes", max: message_bytes }
    } else if status.code() == Code::Internal {
        // The path to a deep fault comes first, the fault itself last.
        let problem = status.message().rsplit(": ").next().unwrap_or_default();
        Error::invalid("message", format!("not a message of this protocol: {problem}"))
    } else {
        return response;
    };
    Status::from(error).into_http()
}
