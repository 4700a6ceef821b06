//! Who makes a request, and where it goes.

use std::sync::Arc;

use tonic::Request;

use super::{audited::Noted, rpc::Rpc};
use crate::{
    access::{Principal, Role},
    error::Error,
    session::SessionId,
};

/// What a request has to do with.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One session.
    Session(SessionId),
    /// Every session, those to come too.
    Everywhere,
}

/// Who makes a request. Every session that a service is asked for goes through [`Caller::session`].
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    rpc: Rpc,
    /// Shared with the gate, which looks at streams again when the tokens change, and tells the audit log.
    noted: Arc<Noted>,
}

impl Caller {
    pub(super) fn new(principal: Principal, rpc: Rpc, noted: Arc<Noted>) -> Self {
        Self { principal, rpc, noted }
    }

    /// As the gate has found out.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Error> {
        let denied = Error::PermissionDenied { role: "any", session: None };
        request.extensions().get().cloned().ok_or(denied)
    }

    pub(super) fn may(&self, role: Role) -> bool {
        self.principal.may(role)
    }

    /// The session that a request names. Whether there is one is not looked at for who may not know.
    pub(super) fn session(&self, id: &str) -> Result<SessionId, Error> {
        let id = SessionId::parse(id)?;
        let place = Place::Session(id.clone());
        enters(&self.principal, self.rpc, &place)?;
        // A request names one session; of several the first would be the one that is looked at again.
        let _first = self.noted.place.set(place);
        Ok(id)
    }

    /// The names that a request is about, for the audit log: of variables, or of a tool.
    pub(super) fn concerns<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        // Nobody has checked how long they are.
        let shown = names.into_iter().map(|name| name.chars().take(128).collect());
        let _first = self.noted.names.set(shown.collect());
    }

    /// The revision that came of it, for the audit log.
    pub(super) fn made(&self, revision: u64) {
        let _first = self.noted.revision.set(revision);
    }

    /// Nothing, if what is asked concerns every session.
    pub(super) fn everywhere(&self) -> Result<(), Error> {
        enters(&self.principal, self.rpc, &Place::Everywhere)?;
        let _first = self.noted.place.set(Place::Everywhere);
        Ok(())
    }
}

/// Whether a principal may do what the rpc does there.
pub(super) fn enters(principal: &Principal, rpc: Rpc, place: &Place) -> Result<(), Error> {
    let (reaches, session) = match place {
        Place::Session(id) => (principal.reaches(id), id.shared()),
        Place::Everywhere => (principal.reaches_all(), "*".into()),
    };
    if reaches { Ok(()) } else { Err(Error::PermissionDenied { role: rpc.wanted(), session: Some(session) }) }
}
