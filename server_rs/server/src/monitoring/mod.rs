//! How the server fares, over HTTP on a port of its own: `/metrics`, `/livez`, `/readyz`. Nobody is asked who they are
//! there, so nothing is told that is anybody's.

mod exposition;
mod probes;
mod process;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use self::{exposition::Exposition, probes::Probe};
use crate::service::context::Serving;

/// Open connections; further ones wait.
const CONNECTIONS: usize = 32;
/// How long nothing is accepted once there are no file descriptors left.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one has for its request, and then for reading the answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a request's head; the least that hyper takes.
const HEAD: usize = 8 * 1024;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

type Answer = Response<Full<Bytes>>;

/// Answers whoever asks there. Never ends; dropped, it ends its connections.
pub(crate) async fn serve(listener: Option<&TcpListener>, serving: &Arc<Serving>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let told = Arc::new(Told { exposition: Exposition::of(serving), serving: Arc::clone(serving) });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&told)))),
                Err(error) => rest(&error).await,
            }
        }
    }
}

/// One request, and no more: who asks again connects again, so that nobody keeps a connection.
async fn converse(stream: TcpStream, told: Arc<Told>) {
    let answer = service_fn(|request| {
        let told = Arc::clone(&told);
        async move { Ok::<_, Infallible>(told.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(WITHIN)
        .serve_connection(TokioIo::new(stream), answer);
    // Who sends garbage, goes away, or does not read, is nobody's concern.
    let _ = tokio::time::timeout(WITHIN * 2, connection).await;
}

/// Without file descriptors it would be tried all the time.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "cannot accept connections for metrics");
    tokio::time::sleep(PAUSE).await;
}

/// What there is to tell.
struct Told {
    exposition: Exposition,
    serving: Arc<Serving>,
}

impl Told {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let uri = request.uri();
        let probe = match uri.path() {
            "/metrics" => None,
            "/livez" => Some(Probe::Live),
            "/readyz" => Some(Probe::Ready),
            _ => return text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n".into()),
        };
        // To HEAD, hyper answers without the body.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "takes GET and HEAD\n".into());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match probe {
            Some(probe) => {
                let (well, said) = probe.ask(&self.serving, uri.query().unwrap_or_default());
                text(if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, said)
            }
            None => self.metrics().await,
        }
    }

    async fn metrics(self: Arc<Self>) -> Answer {
        // It looks at each session, and at the journal's files.
        let exposed = tokio::task::spawn_blocking(move || self.exposition.expose()).await;
        match exposed {
            Ok(Ok(exposed)) => answer(StatusCode::OK, exposition::FORMAT, exposed),
            Ok(Err(_)) | Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be told\n".into()),
        }
    }
}

fn text(status: StatusCode, said: String) -> Answer {
    answer(status, TEXT, said)
}

fn answer(status: StatusCode, format: HeaderValue, said: String) -> Answer {
    let mut answer = Response::new(Full::from(said));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, format);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
