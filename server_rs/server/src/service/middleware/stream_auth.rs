//! What a stream is allowed, for as long as it is open.

use std::sync::Arc;

use async_stream::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
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
    pub(super) fn heard(mut self, mut body: Body) -> Body {
        Body::new(StreamBody::new(stream! {
            loop {
                let frame = tokio::select! {
                    biased;
                    error = self.ended() => Some(Err(Refusal::from(error).into())),
                    frame = body.frame() => frame,
                };
                let Some(frame) = frame else { return };
                let over = frame.is_err();
                yield frame;
                if over {
                    return;
                }
            }
        }))
    }

    /// What the caller is told, until it may be told no more; then why.
    pub(super) fn told(mut self, mut body: Body, audited: Option<Audited>) -> Body {
        Body::new(StreamBody::new(stream! {
            loop {
                tokio::select! {
                    biased;
                    error = self.ended() => {
                        if let Some(audited) = audited {
                            audited.denied(&error);
                        }
                        let mut trailers = HeaderMap::new();
                        yield Status::from(Refusal::from(error)).add_header(&mut trailers).map(|()| Frame::trailers(trailers));
                        return;
                    }
                    frame = body.frame() => match frame {
                        Some(frame) => yield frame,
                        None => return,
                    },
                }
            }
        }))
    }
}
