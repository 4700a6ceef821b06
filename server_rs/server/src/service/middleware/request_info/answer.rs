use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body as _, Frame, SizeHint};
use prost::bytes::Bytes;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{self, HeaderMap, HeaderValue},
};
use tonic_types::StatusExt as _;

use super::{REQUEST_ID, Request};

/// The body of an answer: its end has the request's id, if it is an error, and a line in the log.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    unended: Unended,
}

/// Until the answer has ended. If it never does, its client is gone, and that is told.
#[derive(Debug)]
pub(super) struct Unended {
    request: Request,
    ended: bool,
}

impl Answer {
    pub(super) fn begin(request: Request) -> Unended {
        Unended { request, ended: false }
    }
}

impl Unended {
    pub(super) fn answered(mut self, response: http::Response<Body>) -> http::Response<Answer> {
        let (mut parts, body) = response.into_parts();
        self.look(&mut parts.headers);
        if body.is_end_stream() {
            self.over();
        }
        if let Ok(mut id) = HeaderValue::from_str(self.request.id()) {
            // It is no secret. But HTTP/2 would keep it for the next answer, in the place of headers that come again.
            id.set_sensitive(true);
            parts.headers.insert(REQUEST_ID, id);
        }
        http::Response::from_parts(parts, Answer { body, unended: self })
    }

    /// Looks whether this is the end: headers without a body, or trailers.
    fn look(&mut self, headers: &mut HeaderMap) {
        let Some(status) = Status::from_header_map(headers).filter(|_| !self.ended) else { return };
        self.ended = true;
        if status.code() == Code::Ok {
            return self.request.tell(Code::Ok, "");
        }
        let mut details = status.get_error_details();
        let reason = details.error_info().map_or_else(String::new, |info| info.reason.clone());
        self.request.tell(status.code(), &reason);
        details.set_request_info(self.request.id(), "");
        let known = Status::with_error_details(status.code(), status.message(), details);
        // It has been one before, so it is one again; and without the id it is still an error.
        let _same = known.add_header(headers);
    }

    /// Nothing more comes. Without a status: what was asked was not gRPC, and neither is the answer.
    fn over(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.request.tell(Code::Unknown, "");
        }
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        if !self.ended {
            self.request.tell(Code::Cancelled, "");
        }
    }
}

impl Request {
    /// The one line of the log about an rpc. Refusals are its client's business; what is the server's own is an error.
    fn tell(&self, code: Code, reason: &str) {
        let known = &self.0;
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    target: "snakepit_server::access",
                    parent: &known.span,
                    code = ?code,
                    reason = (!reason.is_empty()).then_some(reason),
                    peer = known.peer.map(tracing::field::display),
                    took = known.began.elapsed().as_secs_f64(),
                    $message
                )
            };
        }
        match (code, reason) {
            (_, "SERVER_READ_ONLY") => line!(warn, "a write was refused: the journal takes none"),
            (_, "OUTCOME_UNKNOWN") | (Code::Internal | Code::DataLoss, _) => line!(error, "a request failed"),
            _ => line!(debug, "answered"),
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, unended } = &mut *self;
        let mut frame = unended.request.0.span.in_scope(|| Pin::new(body).poll_frame(context));
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            unended.look(trailers);
        } else if let Poll::Ready(None) = &frame {
            unended.over();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
