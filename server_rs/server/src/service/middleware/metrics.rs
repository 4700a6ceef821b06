//! Counts requests, from their coming in until their answer, or their stream, was handed to the transport.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{self, HeaderMap},
    },
    server::NamedService,
};
use tonic_types::StatusExt as _;

use super::deadline;
use crate::metrics::{Rpc, RpcMetrics};

/// Stands in front of everything else that answers a service.
#[derive(Clone)]
pub(in crate::service) struct Measured<S> {
    inner: S,
    rpcs: RpcMetrics,
}

impl<S> Measured<S> {
    pub(in crate::service) fn new(inner: S, rpcs: &RpcMetrics) -> Self {
        Self { inner, rpcs: rpcs.clone() }
    }
}

impl<S: NamedService> NamedService for Measured<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Measured<S>
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

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rpc = self.rpcs.begin(request.uri().path(), deadline::of(request.headers()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(match Status::from_header_map(response.headers()) {
                // What is refused before anything was told has no body.
                Some(status) => {
                    end(rpc, &status);
                    response
                }
                None => response.map(|body| Body::new(Told { body, rpc: Some(rpc) })),
            })
        })
    }
}

/// An answer that is on its way.
struct Told {
    body: Body,
    /// None once it has ended.
    rpc: Option<Rpc>,
}

impl Told {
    fn ended(&mut self, trailers: &HeaderMap) {
        if let (Some(rpc), Some(status)) = (self.rpc.take(), Status::from_header_map(trailers)) {
            end(rpc, &status);
        }
    }
}

impl HttpBody for Told {
    type Data = prost::bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.ended(trailers);
                }
            }
            Some(Err(status)) => {
                if let Some(rpc) = self.rpc.take() {
                    end(rpc, status);
                }
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn end(rpc: Rpc, status: &Status) {
    if status.code() != Code::Ok
        && let Some(info) = status.get_error_details().error_info()
    {
        rpc.metrics().refused(&info.reason, info.metadata.get("limit").map(String::as_str));
    }
    rpc.ended(status.code().into());
}
