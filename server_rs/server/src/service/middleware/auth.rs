use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use snakepit_core::{
    access::{Principal, Role},
    error::Error,
};
use snakepit_proto::{API_VERSION, Refusal};
use tokio::sync::watch;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{self, HeaderMap, header::AUTHORIZATION},
    },
    server::NamedService,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use super::{
    audit::{Audited, Noted, Unanswered},
    caller::Caller,
    method_policy::Rpc,
    peer::peer,
    rate_limit::Pace,
    request_info::Request as Known,
    stream_auth::Lease,
};
use crate::{
    access::{Digest, Tokens},
    service::context::{Access, Serving},
};

/// The metadata key in which a client sends its api version.
const API_VERSION_KEY: &str = "snakepit-api-version";
const DETAILS_KEY: &str = "grpc-status-details-bin";
const SCHEME: &[u8] = b"bearer ";

/// Stands in front of a service: refuses other api versions and whoever lacks the role an rpc takes, says who calls, ends
/// streams whose token is withdrawn, and gives the refusals that tonic itself makes of undecodable and oversize requests
/// their reasons.
#[derive(Clone)]
pub(in crate::service) struct Gate<S> {
    inner: S,
    serving: Arc<Serving>,
    pace: Arc<Pace>,
}

impl<S> Gate<S> {
    pub(in crate::service) fn new(inner: S, serving: &Arc<Serving>, pace: &Arc<Pace>) -> Self {
        Self { inner, serving: Arc::clone(serving), pace: Arc::clone(pace) }
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
        let Some(rpc) = Rpc::of(request.uri().path()) else {
            return Box::pin(async { Ok(Status::unimplemented("this server has no such rpc").into_http()) });
        };
        let noted = Arc::<Noted>::default();
        let audited = self.serving.audit.as_ref().map(|log| Audited::new(log, &request, rpc, &noted));
        let known = check_version(request.headers()).and_then(|()| identify(&self.serving.access, &request, rpc));
        let principal = known.as_ref().ok().map(|(principal, _)| principal);
        if let (Some(known), Some(principal)) = (Known::of(request.extensions()), principal) {
            known.is_by(principal);
        }
        let audited = match (audited, principal) {
            (Some(audited), Some(principal)) => Some(audited.by(principal)),
            (audited, _) => audited,
        };
        let from = peer(&request).map(|peer| peer.ip());
        // Before it is told that a token is wrong: trying many takes its time.
        if let Err(error) = self.pace.take(principal, from) {
            return refuse(audited, error);
        }
        let (principal, proof) = match known {
            Ok(known) => known,
            Err(error) => return refuse(audited, error),
        };
        if let Err(error) = rpc.permits(&principal) {
            return refuse(audited, error);
        }
        let lease = proof.filter(|_| rpc.streams).map(|(tokens, digest)| {
            let secrets = principal.may(Role::ReadSecret);
            Lease { tokens, digest, rpc, secrets, noted: Arc::clone(&noted) }
        });
        let caller = Caller::new(principal, rpc, noted);
        request.extensions_mut().insert(caller);
        if let Some(lease) = &lease {
            request = request.map(|body| lease.clone().heard(body));
        }
        let unanswered = Unanswered::of(audited);
        let answer = self.inner.call(request);
        let message_bytes = self.serving.store.limits().message_bytes;
        Box::pin(async move {
            let response = with_reason(answer.await?, message_bytes);
            let audited = unanswered.answered(response.headers());
            Ok(match lease {
                Some(lease) => response.map(|body| lease.told(body, audited)),
                None => response,
            })
        })
    }
}

fn refuse(audited: Option<Audited>, error: Error) -> BoxFuture<http::Response<Body>, Infallible> {
    if let Some(audited) = audited {
        audited.denied(&error);
    }
    Box::pin(async { Ok(Status::from(Refusal::from(error)).into_http()) })
}

/// What a caller was known by: the tokens of that moment, and the digest of its own.
type Proof = (watch::Receiver<Arc<Tokens>>, Digest);

/// Who calls.
fn identify(access: &Access, request: &http::Request<Body>, rpc: Rpc) -> Result<(Principal, Option<Proof>), Error> {
    let tokens = match access {
        Access::Everyone(principal) => {
            let principal = certified(request)
                .map_or_else(|| principal.clone(), |name| Principal { name, verified: true, ..principal.clone() });
            return Ok((principal, None));
        }
        Access::Tokens(file) => file.subscribe(),
    };
    let unknown = |given| Error::Unauthenticated { role: rpc.wanted(), given };
    let digest = presented(request.headers()).ok_or(unknown(false))?;
    let principal = tokens.borrow().find(&digest).map(|principal| (**principal).clone()).ok_or(unknown(true))?;
    Ok((principal, Some((tokens, digest))))
}

/// Whose certificate a connection shows: nobody's if the server asks for none.
fn certified(request: &http::Request<Body>) -> Option<Arc<str>> {
    let connection = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>()?;
    let certificates = connection.peer_certs()?;
    let digest = Digest::of(certificates.first()?).hex();
    Some(format!("certificate:{}", digest.get(..16)?).into())
}

/// The digest of the one bearer token that a request carries.
fn presented(headers: &HeaderMap) -> Option<Digest> {
    let mut all = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(header), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = header.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| Digest::of(token))
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
    Status::from(Refusal::from(error)).into_http()
}
