//! Who makes a request, and where it goes.

use std::sync::Arc;

use snakepit_core::{
    access::{Principal, Role},
    error::Error,
    session::SessionId,
};
use snakepit_proto::Refusal;
use tonic::Request;

use super::{
    audit::Noted,
    method_policy::{Place, Rpc, enters},
};

/// Who makes a request. Every session that a service is asked for goes through [`Caller::session`].
#[derive(Clone, Debug)]
pub(in crate::service) struct Caller {
    pub(in crate::service) principal: Principal,
    rpc: Rpc,
    /// Shared with the gate, which looks at streams again when the tokens change, and tells the audit log.
    noted: Arc<Noted>,
}

impl Caller {
    pub(super) fn new(principal: Principal, rpc: Rpc, noted: Arc<Noted>) -> Self {
        Self { principal, rpc, noted }
    }

    /// As the gate has found out.
    pub(in crate::service) fn of<T>(request: &Request<T>) -> Result<Self, Refusal> {
        let denied = || Error::PermissionDenied { role: "any", session: None }.into();
        request.extensions().get().cloned().ok_or_else(denied)
    }

    pub(in crate::service) fn may(&self, role: Role) -> bool {
        self.principal.may(role)
    }

    /// The session that a request names. Whether there is one is not looked at for who may not know.
    pub(in crate::service) fn session(&self, id: &str) -> Result<SessionId, Refusal> {
        let id = SessionId::parse(id)?;
        let place = Place::Session(id.clone());
        enters(&self.principal, self.rpc, &place)?;
        // A request names one session; of several the first would be the one that is looked at again.
        let _first = self.noted.place.set(place);
        Ok(id)
    }

    /// The names that a request is about, for the audit log: of variables, or of a tool.
    pub(in crate::service) fn concerns<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        // Nobody has checked how long they are.
        let shown = names.into_iter().map(|name| name.chars().take(128).collect());
        let _first = self.noted.names.set(shown.collect());
    }

    /// The revision that came of it, for the audit log.
    pub(in crate::service) fn made(&self, revision: u64) {
        let _first = self.noted.revision.set(revision);
    }

    /// Nothing, if what is asked concerns every session.
    pub(in crate::service) fn everywhere(&self) -> Result<(), Refusal> {
        enters(&self.principal, self.rpc, &Place::Everywhere)?;
        let _first = self.noted.place.set(Place::Everywhere);
        Ok(())
    }
}
