//! A server that is asked, and how its answers are told.

pub(crate) mod client;
pub(crate) mod in_session;

use std::{future::Future, time::Duration};

use snakepit_client::Connected;
use snakepit_proto::v1::{
    ListVariableVersionsRequest, ListVariablesRequest, Operation, Variable, VariableVersion, WriteVariablesRequest,
    WriteVariablesResponse, server_service_client::ServerServiceClient, session_service_client::SessionServiceClient,
    tool_service_client::ToolServiceClient, variable_service_client::VariableServiceClient,
};
use tonic::{Request, Response, Status};

use crate::{
    Failure,
    remote::client::{At, connect},
};

const DEADLINE: Duration = Duration::from_secs(10);
const PAGE: u32 = 1_000;

/// A server.
#[derive(Clone)]
pub(super) struct Remote {
    channel: Connected,
    pub(super) address: String,
}

impl Remote {
    pub(super) async fn connect(at: &At) -> Result<Self, Failure> {
        Ok(Self { channel: connect(at).await?, address: at.address.clone() })
    }

    pub(super) fn channel(&self) -> Connected {
        self.channel.clone()
    }

    pub(super) fn server(&self) -> ServerServiceClient<Connected> {
        ServerServiceClient::new(self.channel.clone())
    }

    pub(super) fn sessions(&self) -> SessionServiceClient<Connected> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn variables(&self) -> VariableServiceClient<Connected> {
        VariableServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn tools(&self) -> ToolServiceClient<Connected> {
        ToolServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) async fn answered<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        call.await.map(Response::into_inner).map_err(|status| self.refused(&status))
    }

    pub(super) fn refused(&self, status: &Status) -> Failure {
        Failure::refused(status, &self.address)
    }

    /// One atomic write, in the name of whoever runs this.
    pub(super) async fn write(
        &self,
        session: &str,
        operations: Vec<Operation>,
        reason: &str,
    ) -> Result<WriteVariablesResponse, Failure> {
        let request = WriteVariablesRequest {
            session_id: session.to_owned(),
            operations,
            reason: reason.to_owned(),
            author: user(),
            ..WriteVariablesRequest::default()
        };
        self.answered(self.variables().write_variables(timed(request))).await
    }

    /// All variables that match, by name, and the revisions that they were read at: of the first page and of the last.
    pub(super) async fn list(&self, session: &str, pattern: &str) -> Result<(Vec<Variable>, (u64, u64)), Failure> {
        let mut request = ListVariablesRequest {
            session_id: session.to_owned(),
            pattern: pattern.to_owned(),
            page_size: PAGE,
            ..ListVariablesRequest::default()
        };
        let (mut all, mut first) = (Vec::new(), None);
        loop {
            let page = self.answered(self.variables().list_variables(timed(request.clone()))).await?;
            let first = *first.get_or_insert(page.revision);
            all.extend(page.variables);
            if page.next_page_token.is_empty() {
                return Ok((all, (first, page.revision)));
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The kept versions of a variable, newest first; no more than so many.
    pub(super) async fn versions(
        &self,
        session: &str,
        name: &str,
        limit: usize,
    ) -> Result<Vec<VariableVersion>, Failure> {
        let mut request = ListVariableVersionsRequest {
            session_id: session.to_owned(),
            name: name.to_owned(),
            page_size: u32::try_from(limit).map_or(PAGE, |limit| limit.min(PAGE)),
            ..ListVariableVersionsRequest::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.answered(self.variables().list_variable_versions(timed(request.clone()))).await?;
            all.extend(page.versions);
            if page.next_page_token.is_empty() || all.len() >= limit {
                all.truncate(limit);
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// A request that is not waited for longer than 10 seconds.
pub(super) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// Who runs this, as the system says.
pub(super) fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default()
}
