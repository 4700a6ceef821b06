use std::sync::Arc;

use prost::Message;
use snakepit_core::{
    access::Role,
    error::Error,
    glob::Glob,
    session::{Outcome, SessionId, State},
    variable::Name,
};
use snakepit_proto::{
    Refusal,
    v1::{
        GetVariablesRequest, GetVariablesResponse, ListVariableVersionsRequest, ListVariableVersionsResponse,
        ListVariablesRequest, ListVariablesResponse, SyncVariablesRequest, SyncVariablesResponse,
        WatchVariablesRequest, WriteVariablesRequest, WriteVariablesResponse, variable_service_server::VariableService,
    },
};
use tonic::{Request, Response, Status};

use crate::service::{
    context::Serving,
    convert,
    middleware::caller::Caller,
    page::{Page, bad_token},
    watch,
};

/// How many variables one request may ask for by name.
const MAX_NAMES: usize = 1_000;

pub(super) struct Variables(pub(super) Arc<Serving>);

#[tonic::async_trait]
impl VariableService for Variables {
    type WatchVariablesStream = watch::Responses;

    async fn write_variables(
        &self,
        request: Request<WriteVariablesRequest>,
    ) -> Result<Response<WriteVariablesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        let of = request.operations.len();
        let refused = |refusal: Refusal| refusal.of_write(of);
        let (write, author) = convert::parse_write(request, &caller.principal).map_err(refused)?;
        caller.concerns(write.operations.iter().map(|operation| &*operation.name));
        let written = self.0.store.write(&id, write, author, &caller.principal).await.map_err(refused)?;
        caller.made(written.position.revision);
        let (revision, incarnation) = convert::position(written.position);
        let secrets = caller.may(Role::ReadSecret);
        let outcomes = if written.outcomes.iter().all(|outcome| outcome.value.is_none()) {
            convert::outcomes(&written.outcomes, |_| false, secrets)
        } else {
            // Adding nothing to a secret is no way to read it.
            let view = self.0.store.session(&id, Some(written.position.incarnation)).await.ok();
            // A repeat may tell of a version that was a secret's before the variable was declared anew. What is no longer
            // kept may have been one.
            let secret = |outcome: &Outcome| {
                let Some(state) = view.as_ref().map(|view| &view.state) else { return true };
                let now = state.variable(&outcome.name).is_some_and(|variable| variable.spec.secret);
                let mut records = state.history(&outcome.name).into_iter().flatten();
                now || records.find(|record| record.version == outcome.version).is_none_or(|record| record.secret)
            };
            convert::outcomes(&written.outcomes, secret, secrets)
        };
        Ok(Response::new(WriteVariablesResponse { revision, incarnation, outcomes }))
    }

    async fn get_variables(
        &self,
        request: Request<GetVariablesRequest>,
    ) -> Result<Response<GetVariablesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let secrets = caller.may(Role::ReadSecret);
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        if request.names.is_empty() || request.names.len() > MAX_NAMES {
            let got = request.names.len();
            return Err(Refusal::from(Error::invalid("names", format!("takes 1 to {MAX_NAMES}, got {got}"))).into());
        }
        convert::check_names("names", &request.names)?;
        let state = self.state(&id, &request.incarnation).await?;
        let (mut variables, mut absent) = (Vec::with_capacity(request.names.len()), Vec::new());
        let (mut bytes, max) = (0, self.0.store.limits().message_bytes);
        for name in request.names {
            match state.variable(&name) {
                Some(variable) => {
                    let variable = convert::variable(variable, secrets);
                    // Asking for a big one a thousand times must not cost a thousand copies.
                    bytes += variable.encoded_len() as u64;
                    if bytes > max {
                        return Err(too_big(&state, max).into());
                    }
                    variables.push(variable);
                }
                None if request.allow_missing => absent.push(name),
                None => return Err(missing(&state, &name).into()),
            }
        }
        let (revision, incarnation) = convert::position(state.position());
        let response = GetVariablesResponse { revision, incarnation, variables, absent };
        fits(&state, &response, max)?;
        Ok(Response::new(response))
    }

    async fn list_variables(
        &self,
        request: Request<ListVariablesRequest>,
    ) -> Result<Response<ListVariablesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let after = page.after.as_deref().map(Name::parse).transpose().map_err(|_| bad_token())?;
        let state = self.state(&id, &request.incarnation).await?;
        let pattern = (!request.pattern.is_empty()).then(|| Glob::new(&request.pattern));
        let matching = state
            .variables_after(after.as_deref().unwrap_or_default())
            .filter(|variable| pattern.as_ref().is_none_or(|glob| glob.matches(&variable.name)));
        let items = matching.map(|variable| (variable.name.to_string(), convert::variable(variable, false)));
        let (variables, next_page_token) = page.fill(items);
        let (revision, incarnation) = convert::position(state.position());
        Ok(Response::new(ListVariablesResponse { revision, incarnation, variables, next_page_token }))
    }

    async fn list_variable_versions(
        &self,
        request: Request<ListVariableVersionsRequest>,
    ) -> Result<Response<ListVariableVersionsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        Name::check(&request.name).map_err(Refusal::from)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let below = page.after.as_deref().map(str::parse::<u64>).transpose().map_err(|_| bad_token())?;
        let state = self.state(&id, &request.incarnation).await?;
        let versions = state.history(&request.name).ok_or_else(|| missing(&state, &request.name))?;
        let secret = state.variable(&request.name).is_some_and(|variable| variable.spec.secret);
        let items = versions
            .skip_while(|record| below.is_some_and(|below| record.version >= below))
            .map(|record| (record.version.to_string(), convert::version(&record, secret)));
        let (versions, next_page_token) = page.fill(items);
        let (revision, incarnation) = convert::position(state.position());
        Ok(Response::new(ListVariableVersionsResponse { revision, incarnation, versions, next_page_token }))
    }

    async fn sync_variables(
        &self,
        request: Request<SyncVariablesRequest>,
    ) -> Result<Response<SyncVariablesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let secrets = caller.may(Role::ReadSecret);
        let request = request.into_inner();
        let id = caller.session(&request.session_id)?;
        let life = convert::incarnation(&request.incarnation)?;
        convert::check_names("names", &request.names)?;
        convert::check_names("new_names", &request.new_names)?;
        let state = self.0.store.touch(&id, None).await?.state;
        let known = watch::known(&state, life, request.known_revision)?;
        let names: Vec<&str> = request.names.iter().map(String::as_str).collect();
        let new_names: Vec<&str> = request.new_names.iter().map(String::as_str).collect();
        let sync = state.sync(known, &names, &new_names);
        let max = self.0.store.limits().message_bytes;
        // What is withheld takes no room, and must not show in what is left.
        let shown = sync.changed.iter().filter(|variable| secrets || !variable.spec.secret);
        if shown.map(|variable| variable.value.encoded_len()).sum::<u64>() > max {
            return Err(too_big(&state, max).into());
        }
        let response = convert::sync(state.position(), sync, secrets);
        fits(&state, &response, max)?;
        Ok(Response::new(response))
    }

    async fn watch_variables(
        &self,
        request: Request<WatchVariablesRequest>,
    ) -> Result<Response<watch::Responses>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(watch::open(&self.0, request.into_inner(), &caller).await?))
    }
}

impl Variables {
    /// The published state of the session and life meant.
    async fn state(&self, id: &SessionId, incarnation: &prost::bytes::Bytes) -> Result<Arc<State>, Refusal> {
        Ok(self.0.store.session(id, convert::incarnation(incarnation)?).await?.state)
    }
}

fn missing(state: &State, name: &str) -> Refusal {
    let (session, closest) = (state.id.shared(), state.closest(name));
    let error = Error::VariableNotFound { session, variable: name.into(), closest };
    Refusal { error, position: Some(state.position()), operation: None }
}

fn too_big(state: &State, max: u64) -> Refusal {
    let error = Error::LimitExceeded { limit: "message_bytes", max };
    Refusal { error, position: Some(state.position()), operation: None }
}

fn fits(state: &State, response: &impl Message, max: u64) -> Result<(), Refusal> {
    if response.encoded_len() as u64 > max { Err(too_big(state, max)) } else { Ok(()) }
}
