//! What the audit log says of a request.

use std::sync::{Arc, OnceLock};

use snakepit_core::{access::Principal, error::Error};
use snakepit_proto::Refusal;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{self, HeaderMap},
};
use tonic_types::StatusExt as _;

use super::{
    method_policy::{Place, Rpc},
    peer::peer,
    request_info::Request,
};
use crate::audit::{AuditLog, Line};

/// What a request turns out to be about.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) place: OnceLock<Place>,
    /// Variables, or a tool.
    pub(super) names: OnceLock<Vec<String>>,
    pub(super) revision: OnceLock<u64>,
}

/// A request that the audit log may have a line about, once it is answered.
#[derive(Clone)]
pub(super) struct Audited {
    log: AuditLog,
    request_id: Option<String>,
    name: String,
    peer: Option<String>,
    /// Whether every answer is told; otherwise those alone that denied something.
    changes: bool,
    principal: Option<Principal>,
    noted: Arc<Noted>,
}

impl Audited {
    pub(super) fn new(log: &AuditLog, request: &http::Request<Body>, rpc: Rpc, noted: &Arc<Noted>) -> Self {
        Self {
            log: log.clone(),
            request_id: Request::of(request.extensions()).map(|known| known.id().to_owned()),
            name: request.uri().path().trim_start_matches("/snakepit_bridge.v1.").to_owned(),
            peer: peer(request).map(|peer| peer.to_string()),
            changes: rpc.changes,
            principal: None,
            noted: Arc::clone(noted),
        }
    }

    pub(super) fn by(self, principal: &Principal) -> Self {
        Self { principal: Some(principal.clone()), ..self }
    }

    /// It was answered, or a stream has begun.
    fn answered(&self, headers: &HeaderMap) {
        match Status::from_header_map(headers).filter(|status| status.code() != Code::Ok) {
            Some(status) => self.refused(&status),
            None if self.changes => self.add("ok", None),
            None => {}
        }
    }

    /// It was refused, or its stream was ended.
    pub(super) fn refused(&self, status: &Status) {
        let denied = matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied);
        if denied || self.changes {
            let details = status.get_error_details();
            // What has no reason of ours has a code: a deadline, a server that stops.
            let code = format!("{:?}", status.code());
            let info = details.error_info();
            // Where the caller was not let in, only the refusal knows which session it was.
            let session = info.and_then(|info| info.metadata.get("session")).map(String::as_str);
            self.add(info.map_or(&*code, |info| &*info.reason), session);
        }
    }

    pub(super) fn denied(&self, error: &Error) {
        self.refused(&Status::from(Refusal::from(error.clone())));
    }

    fn add(&self, outcome: &str, session: Option<&str>) {
        let place = self.noted.place.get().and_then(|place| match place {
            Place::Session(id) => Some(&**id),
            Place::Everywhere => None,
        });
        self.log.add(&Line {
            principal: self.principal.as_ref().map(|principal| &*principal.name),
            verified: self.principal.as_ref().is_some_and(|principal| principal.verified),
            peer: self.peer.clone(),
            request_id: self.request_id.as_deref(),
            rpc: &self.name,
            session: place.or(session),
            names: self.noted.names.get().map_or(&[], Vec::as_slice),
            outcome,
            revision: self.noted.revision.get().copied(),
        });
    }
}

/// A request that is being carried out. If nobody waits for its answer any more, the log has a line all the same.
pub(super) struct Unanswered(Option<Audited>);

impl Unanswered {
    pub(super) fn of(audited: Option<Audited>) -> Self {
        Self(audited)
    }

    /// Tells the answer; what may have to be told of the stream that has begun is left.
    pub(super) fn answered(mut self, headers: &HeaderMap) -> Option<Audited> {
        let audited = self.0.take()?;
        audited.answered(headers);
        Some(audited)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(audited) = self.0.take().filter(|audited| audited.changes) {
            audited.add("CANCELLED", None);
        }
    }
}
