//! A server that takes tokens, and who holds one.

use std::path::PathBuf;

use prost::bytes::Bytes;
use snakepit_core::config::Limits;
use snakepit_proto::v1::{
    CreateSessionRequest, GetVariablesRequest, Operation, Variable, WatchMode, WatchVariablesRequest,
    WatchVariablesResponse, WriteVariablesRequest, WriteVariablesResponse,
    session_service_client::SessionServiceClient, tool_service_client::ToolServiceClient,
    variable_service_client::VariableServiceClient,
};
use snakepit_server::{
    access::{Digest, TokenFile},
    journal::Home,
    server::{Builder, Server},
};
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::support::setup::*;

/// The table of a token whose text is `spt_NAME`.
pub fn table(name: &str, roles: &str, sessions: &str) -> String {
    let list = |words: &str| words.split_whitespace().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let sha256 = Digest::of(format!("spt_{name}").as_bytes()).hex();
    let (roles, sessions) = (list(roles), list(sessions));
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nroles = [{roles}]\nsessions = [{sessions}]\n\n")
}

pub const ALL: &str = "read write call_tool offer_tool read_secret admin";

/// A running server and its file of tokens.
pub struct Guarded {
    pub server: TestServer,
    pub file: TokenFile,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Guarded {
    /// Tokens by name, with their roles and sessions.
    pub async fn start(tokens: &[(&str, &str, &str)]) -> Self {
        Self::limited(Limits::default(), tokens).await
    }

    /// The same with limits.
    pub async fn limited(limits: Limits, tokens: &[(&str, &str, &str)]) -> Self {
        Self::of(Server::builder().limits(limits), tokens).await
    }

    /// The same, of a server that is otherwise set up.
    pub async fn of<H: Home>(builder: Builder<H>, tokens: &[(&str, &str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.toml");
        std::fs::write(&path, tables(tokens)).unwrap();
        let file = TokenFile::open(&path).unwrap();
        let server = TestServer::of(builder.tokens(file.clone())).await;
        Self { server, file, path, _directory: directory }
    }

    /// Has the server take other tokens.
    pub fn now(&self, tokens: &[(&str, &str, &str)]) {
        self.write(&tables(tokens));
        self.file.reload().unwrap();
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    /// Who holds the token of that name.
    pub async fn holder(&self, name: &str) -> Holder {
        Holder::new(self.server.connect().await, &format!("spt_{name}"))
    }
}

pub fn tables(tokens: &[(&str, &str, &str)]) -> String {
    tokens.iter().map(|(name, roles, sessions)| table(name, roles, sessions)).collect()
}

/// Sends a token along.
#[derive(Clone)]
pub struct Bearer(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub type Carried = InterceptedService<Channel, Bearer>;

/// A client with a token.
#[derive(Clone)]
pub struct Holder {
    pub carried: Carried,
}

impl Holder {
    pub fn new(channel: Channel, token: &str) -> Self {
        let header = format!("Bearer {token}").parse().unwrap();
        Self { carried: InterceptedService::new(channel, Bearer(header)) }
    }

    pub fn sessions(&self) -> SessionServiceClient<Carried> {
        SessionServiceClient::new(self.carried.clone())
    }

    pub fn variables(&self) -> VariableServiceClient<Carried> {
        VariableServiceClient::new(self.carried.clone())
    }

    pub fn tools(&self) -> ToolServiceClient<Carried> {
        ToolServiceClient::new(self.carried.clone())
    }

    /// Opens a session; whether it made it.
    pub async fn open(&self, id: &str) -> Result<bool, Status> {
        let incarnation = Bytes::from(incarnation());
        let request = CreateSessionRequest { session_id: id.into(), incarnation, ..Default::default() };
        Ok(self.sessions().create_session(request).await?.into_inner().created)
    }

    pub async fn write(
        &self,
        id: &str,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Result<WriteVariablesResponse, Status> {
        let operations = operations.into_iter().collect();
        let request = WriteVariablesRequest {
            session_id: id.into(),
            operations,
            author: "somebody else".into(),
            ..Default::default()
        };
        self.variables().write_variables(request).await.map(tonic::Response::into_inner)
    }

    pub async fn get(&self, id: &str, name: &str) -> Result<Variable, Status> {
        let request = GetVariablesRequest { session_id: id.into(), names: vec![name.into()], ..Default::default() };
        Ok(self.variables().get_variables(request).await?.into_inner().variables.remove(0))
    }

    /// A watch of everything that has told its first message.
    pub async fn watch(&self, id: &str, mode: WatchMode) -> Result<Streaming<WatchVariablesResponse>, Status> {
        let request = WatchVariablesRequest { session_id: id.into(), mode: mode.into(), ..Default::default() };
        let mut watch = self.variables().watch_variables(request).await?.into_inner();
        watch.message().await?;
        Ok(watch)
    }
}
