use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
};
use tower_layer::Layer;
use tracing::Instrument as _;

use super::super::deadline;
use super::{Request, answer::Answer};

/// Gives each request what it is known by. The outermost layer: what tonic itself refuses passes it, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known;

impl<S> Layer<S> for Known {
    type Service = Knowing<S>;

    fn layer(&self, inner: S) -> Knowing<S> {
        Knowing(inner)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Knowing<S>(S);

impl<S> Service<http::Request<Body>> for Knowing<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut asked: http::Request<Body>) -> Self::Future {
        // Taken before tonic takes its own, which would end the rpc without our knowing.
        let deadline = deadline::of(asked.headers()).and_then(|within| Instant::now().checked_add(within));
        let request = Request::new(&asked);
        asked.extensions_mut().insert(request.clone());
        let span = request.0.span.clone();
        let answer = span.in_scope(|| self.0.call(asked));
        let unanswered = Answer::begin(request);
        let answered = async move {
            let Some(deadline) = deadline else { return Ok(unanswered.answered(answer.await?)) };
            tokio::select! {
                biased;
                answer = answer => Ok(unanswered.answered(answer?)),
                () = tokio::time::sleep_until(deadline) => {
                    let late = Status::deadline_exceeded("the request's own deadline has passed");
                    Ok(unanswered.answered(late.into_http()))
                }
            }
        };
        Box::pin(answered.instrument(span))
    }
}
