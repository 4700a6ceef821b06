//! What a request is known by: in its errors, in its answer, and in the logs.

mod answer;
mod layer;
mod trace;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tonic::{
    body::Body,
    codegen::http::{self, HeaderMap, header::HeaderName},
};
use tracing::{Span, field::Empty};

pub(crate) use layer::Known;

use snakepit_core::access::Principal;

use super::peer::peer;
use trace::Trace;

/// The metadata in which a client names its request, and every answer says what it is named.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 128;

/// What a request is known by. In the extensions of each, whatever it asks for.
#[derive(Clone, Debug)]
pub(in crate::service) struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    trace: Option<Trace>,
    peer: Option<SocketAddr>,
    /// What every line of the log says that is written on the request's behalf.
    span: Span,
    began: Instant,
}

impl Request {
    fn new(request: &http::Request<Body>) -> Self {
        let headers = request.headers();
        let id = given(headers).unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
        let method = request.uri().path().trim_start_matches("/snakepit_bridge.v1.");
        // Of a level that every filter lets through: it is no line, but part of others.
        let span = tracing::error_span!(
            target: "snakepit_server::access",
            "rpc",
            request_id = id,
            method,
            principal = Empty,
            trace_id = Empty,
            span_id = Empty,
            parent_span_id = Empty
        );
        let trace = Trace::of(headers);
        if let Some(trace) = &trace {
            span.record("trace_id", trace.trace_id());
            span.record("span_id", format!("{:016x}", fastrand::u64(1..)));
            span.record("parent_span_id", trace.span_id());
        }
        Self(Arc::new(Inner { id, trace, peer: peer(request), span, began: Instant::now() }))
    }

    /// As [`Known`] has left it there.
    pub(in crate::service) fn of(extensions: &http::Extensions) -> Option<&Self> {
        extensions.get()
    }

    pub(in crate::service) fn id(&self) -> &str {
        &self.0.id
    }

    pub(in crate::service) fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// Says whose it is.
    pub(in crate::service) fn is_by(&self, principal: &Principal) {
        self.0.span.record("principal", &*principal.name);
    }
}

/// The id that the client gave, if it is fit for logs: nothing in it can look like the end of a line or of a field.
fn given(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(REQUEST_ID).into_iter();
    let (Some(id), None) = (all.next(), all.next()) else { return None };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    let id = id.to_str().ok()?;
    ((1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(fits)).then(|| id.to_owned())
}
