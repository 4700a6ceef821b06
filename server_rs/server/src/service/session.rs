use std::{sync::Arc, time::Duration};

use snakepit_core::{
    access::Role,
    error::Error,
    glob::Glob,
    session::{Create, Incarnation, SessionId},
    variable::MAX_LABELS,
};
use snakepit_proto::{
    Refusal,
    v1::{
        CreateSessionRequest, CreateSessionResponse, DeleteSessionRequest, DeleteSessionResponse, GetSessionRequest,
        GetSessionResponse, ListSessionsRequest, ListSessionsResponse, Session, session_service_server::SessionService,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    service::{
        context::Serving,
        convert,
        middleware::caller::Caller,
        page::{Page, bad_token},
    },
    store::View,
    tool::Scope,
};

/// The least ttl of a session, and the greatest duration that protobuf allows.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(315_576_000_000);

pub(super) struct Sessions(pub(super) Arc<Serving>);

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        let create = parse_create(request)?;
        let (view, created) = if caller.may(Role::Write) {
            self.0.store.create(id, create, &caller.principal).await?
        } else {
            (self.find_for_reader(&id).await?, false)
        };
        Ok(Response::new(CreateSessionResponse { session: Some(session(&view)), created }))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let id = Caller::of(&request)?.session(&request.into_inner().session_id)?;
        let view = self.0.store.session(&id, None).await?;
        Ok(Response::new(GetSessionResponse { session: Some(session(&view)) }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let principal = Caller::of(&request)?.principal;
        let request = request.into_inner();
        let page = Page::parse(request.page_size, &request.page_token)?;
        let after = page.after.as_deref().map(SessionId::parse).transpose().map_err(|_| bad_token())?;
        let pattern = (!request.pattern.is_empty()).then(|| Glob::new(&request.pattern));
        let views = self.0.store.sessions(after.as_ref());
        let matching = views.iter().filter(|view| {
            let id = &view.state.id;
            principal.reaches(id) && pattern.as_ref().is_none_or(|glob| glob.matches(id))
        });
        let (sessions, next_page_token) = page.fill(matching.map(|view| (view.state.id.to_string(), session(view))));
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token }))
    }

    async fn delete_session(
        &self,
        request: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        let incarnation = convert::incarnation(&request.incarnation)?;
        let position = self.0.store.delete(&id, incarnation, &caller.principal).await?;
        caller.made(position.revision);
        let gone = Error::SessionNotFound { session: id.shared() };
        self.0.tools.forget(&Scope::Session(id, position.incarnation), &gone);
        let (revision, incarnation) = convert::position(position);
        Ok(Response::new(DeleteSessionResponse { revision, incarnation }))
    }
}

impl Sessions {
    /// The live session, for who may find one and not make one.
    async fn find_for_reader(&self, id: &SessionId) -> Result<View, Refusal> {
        self.0.store.session(id, None).await.map_err(|refusal| {
            if matches!(refusal.error, Error::SessionNotFound { .. } | Error::SessionExpired { .. }) {
                Error::PermissionDenied { role: Role::Write.name(), session: None }.into()
            } else {
                refusal
            }
        })
    }
}

fn parse_create(request: CreateSessionRequest) -> Result<Create, Refusal> {
    if request.metadata.len() > MAX_LABELS {
        let got = request.metadata.len();
        return Err(Error::invalid("metadata", format!("takes at most {MAX_LABELS} entries, got {got}")).into());
    }
    let ttl = match request.ttl {
        None => None,
        Some(ttl) => {
            let wrong = || Error::invalid("ttl", format!("has to be at least 1 second, got {}", convert::shown(ttl)));
            Some(convert::span(ttl).filter(|ttl| TTL.contains(ttl)).ok_or_else(wrong)?)
        }
    };
    let incarnation = Incarnation::try_from(&request.incarnation[..])?;
    Ok(Create { incarnation, ttl, metadata: request.metadata })
}

fn session(view: &View) -> Session {
    let state = &view.state;
    let (revision, incarnation) = convert::position(state.position());
    Session {
        id: state.id.to_string(),
        incarnation,
        revision,
        created_at: Some(convert::timestamp(state.created_at)),
        ttl: state.ttl.and_then(convert::duration),
        expires_at: view.expires_at.map(convert::timestamp),
        metadata: (*state.metadata).clone(),
        variable_count: state.len() as u64,
    }
}
