//! What a stream is allowed, for as long as it is open.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use snakepit_core::{
    access::{Principal, Role},
    error::Error,
};
use snakepit_proto::Refusal;
use tokio::sync::watch;
use tonic::{Status, body::Body, codegen::http::HeaderMap};

use super::{
    audit::{Audited, Noted},
    method_policy::{Rpc, enters},
};
use crate::access::{Digest, Tokens};

/// A stream's permission, which ends when the tokens change so that it would not be given any more.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) tokens: watch::Receiver<Arc<Tokens>>,
    pub(super) digest: Digest,
    pub(super) rpc: Rpc,
    pub(super) secrets: bool,
    pub(super) noted: Arc<Noted>,
}

impl Lease {
    /// Resolves when the permission has ended, with why. Cancel safe.
    async fn ended(&mut self) -> Error {
        loop {
            if self.tokens.changed().await.is_err() {
                // Nobody can change them any more.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.check() {
                return error;
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let tokens = Arc::clone(&self.tokens.borrow());
        let principal: &Principal =
            tokens.find(&self.digest).ok_or(Error::Unauthenticated { role: self.rpc.wanted(), given: true })?;
        self.rpc.permits(principal)?;
        if self.secrets && self.rpc.tells_secrets() && !principal.may(Role::ReadSecret) {
            return Err(Error::PermissionDenied { role: Role::ReadSecret.name(), session: None });
        }
        self.noted.place.get().map_or(Ok(()), |place| enters(principal, self.rpc, place))
    }

    /// What the caller says, until it may say no more.
    pub(super) fn heard(self, body: Body) -> Body {
        Body::new(AuthorizedBody::new(self, body, |error| Err(Refusal::from(error).into())))
    }

    /// What the caller is told, until it may be told no more; then why. A refusal, which has no body, stays as it is.
    pub(super) fn told(self, body: Body, audited: Option<Audited>) -> Body {
        Body::new(AuthorizedBody::new(self, body, move |error| {
            if let Some(audited) = &audited {
                audited.denied(&error);
            }
            let mut trailers = HeaderMap::new();
            Status::from(Refusal::from(error)).add_header(&mut trailers).map(|()| Frame::trailers(trailers))
        }))
    }
}

/// A body that ends when its stream is no longer authorized.
///
/// It ends where the body in it ends, no frame later: grpcio takes a refusal for a broken stream if its headers do not
/// end the stream, and so loses the reason.
struct AuthorizedBody<L> {
    body: Body,
    ended: Pin<Box<dyn Future<Output = Error> + Send>>,
    /// Makes the frame that says why.
    last: L,
    over: bool,
}

impl<L> AuthorizedBody<L> {
    fn new(mut lease: Lease, body: Body, last: L) -> Self {
        Self { body, ended: Box::pin(async move { lease.ended().await }), last, over: false }
    }
}

impl<L> http_body::Body for AuthorizedBody<L>
where
    L: Fn(Error) -> Result<Frame<Bytes>, Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // First: what is there to be told may not be told any more.
        if let Poll::Ready(error) = self.ended.as_mut().poll(context) {
            self.over = true;
            return Poll::Ready(Some((self.last)(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Less, if the authorization ends first.
        let mut hint = SizeHint::new();
        if let Some(most) = self.body.size_hint().upper() {
            hint.set_upper(most);
        }
        hint
    }
}
