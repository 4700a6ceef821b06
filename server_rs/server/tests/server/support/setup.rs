//! A server on a free port, sessions on it, and short names for what tests ask of them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use snakepit_proto::v1::{
    CreateSessionRequest, GetVariablesRequest, IncrementOperation, Operation, RegisterOperation, SetOperation,
    SyncVariablesRequest, SyncVariablesResponse, Value, Variable, VariableSpec, VariableType, WatchMode,
    WatchVariablesRequest, WatchVariablesResponse, WriteVariablesRequest, WriteVariablesResponse, operation::Action,
    session_service_client::SessionServiceClient, value::Kind, variable_service_client::VariableServiceClient,
};
use snakepit_server::{
    journal::Home,
    server::{Builder, ServeError, Server},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

/// A running server. Stops when dropped.
pub struct TestServer {
    pub address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::of(Server::builder()).await
    }

    pub async fn of<H: Home>(builder: Builder<H>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(builder.serve(listener, stop.clone().cancelled_owned()));
        Self { address, stop, served }
    }

    pub async fn connect(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Tells the server to stop.
    pub fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the server has stopped.
    pub async fn stopped(mut self) {
        (&mut self.served).await.unwrap().unwrap();
    }

    /// A new session on a connection of its own.
    pub async fn session(&self) -> TestSession {
        TestSession::create(self.connect().await, CreateSessionRequest::default()).await
    }

    /// A new session that lives so many seconds.
    pub async fn session_living(&self, seconds: i64) -> TestSession {
        let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        TestSession::create(self.connect().await, CreateSessionRequest { ttl, ..Default::default() }).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A session and clients for it.
#[derive(Clone)]
pub struct TestSession {
    pub id: String,
    pub incarnation: Vec<u8>,
    pub sessions: SessionServiceClient<Channel>,
    pub variables: VariableServiceClient<Channel>,
    pub channel: Channel,
}

impl TestSession {
    pub async fn create(channel: Channel, request: CreateSessionRequest) -> Self {
        let id = if request.session_id.is_empty() { unique("s") } else { request.session_id.clone() };
        let incarnation = incarnation();
        let mut sessions = SessionServiceClient::new(channel.clone());
        let request =
            CreateSessionRequest { session_id: id.clone(), incarnation: incarnation.clone().into(), ..request };
        assert!(sessions.create_session(request).await.unwrap().into_inner().created);
        let variables = VariableServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        Self { id, incarnation, sessions, variables, channel }
    }

    pub fn write_of(&self, operations: impl IntoIterator<Item = Operation>) -> WriteVariablesRequest {
        let operations = operations.into_iter().collect();
        WriteVariablesRequest { session_id: self.id.clone(), operations, ..Default::default() }
    }

    pub async fn send(&self, write: WriteVariablesRequest) -> Result<WriteVariablesResponse, Status> {
        self.variables.clone().write_variables(write).await.map(tonic::Response::into_inner)
    }

    pub async fn write(&self, operations: impl IntoIterator<Item = Operation>) -> WriteVariablesResponse {
        self.send(self.write_of(operations)).await.unwrap()
    }

    pub async fn refused(&self, operations: impl IntoIterator<Item = Operation>) -> Refused {
        refused(self.send(self.write_of(operations)).await)
    }

    /// Registers integers, each 0.
    pub async fn integers(&self, names: impl IntoIterator<Item = &str>) -> WriteVariablesResponse {
        self.write(names.into_iter().map(|name| register(name, VariableType::Integer, int(0)))).await
    }

    pub async fn get(&self, name: &str) -> Result<Variable, Status> {
        let request =
            GetVariablesRequest { session_id: self.id.clone(), names: vec![name.into()], ..Default::default() };
        Ok(self.variables.clone().get_variables(request).await?.into_inner().variables.remove(0))
    }

    pub async fn value(&self, name: &str) -> Kind {
        self.get(name).await.unwrap().value.unwrap().kind.unwrap()
    }

    pub async fn sync(&self, known: u64, names: &[&str], new: &[&str]) -> Result<SyncVariablesResponse, Status> {
        let request = SyncVariablesRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone().into(),
            known_revision: known,
            names: texts(names),
            new_names: texts(new),
        };
        self.variables.clone().sync_variables(request).await.map(tonic::Response::into_inner)
    }

    /// A watch of everything from the beginning, to be changed as needed.
    pub fn watch_of(&self, mode: WatchMode) -> WatchVariablesRequest {
        WatchVariablesRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone().into(),
            mode: mode.into(),
            ..Default::default()
        }
    }

    pub async fn watch(&self, request: WatchVariablesRequest) -> Result<Streaming<WatchVariablesResponse>, Status> {
        self.variables.clone().watch_variables(request).await.map(tonic::Response::into_inner)
    }
}

pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// 16 bytes that no other session has.
pub fn incarnation() -> Vec<u8> {
    let mut bytes = unique("life").into_bytes();
    bytes.resize(16, b'.');
    bytes
}

pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.into()).collect()
}

pub fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

pub fn int(value: i64) -> Value {
    of(Kind::Int64Value(value))
}

pub fn float(value: f64) -> Value {
    of(Kind::DoubleValue(value))
}

pub fn text(value: &str) -> Value {
    of(Kind::StringValue(value.into()))
}

pub fn operation(name: &str, action: Action) -> Operation {
    Operation { name: name.into(), expected_version: None, action: Some(action) }
}

pub fn expecting(version: u64, operation: Operation) -> Operation {
    Operation { expected_version: Some(version), ..operation }
}

pub fn spec(ty: VariableType) -> VariableSpec {
    VariableSpec { r#type: ty.into(), ..Default::default() }
}

pub fn register(name: &str, ty: VariableType, value: Value) -> Operation {
    register_as(name, spec(ty), value)
}

pub fn register_as(name: &str, spec: VariableSpec, value: Value) -> Operation {
    operation(name, Action::Register(RegisterOperation { spec: Some(spec), value: Some(value), replace: false }))
}

pub fn replace(name: &str, spec: VariableSpec, value: Value) -> Operation {
    operation(name, Action::Register(RegisterOperation { spec: Some(spec), value: Some(value), replace: true }))
}

pub fn set(name: &str, value: Value) -> Operation {
    operation(name, Action::Set(SetOperation { value: Some(value) }))
}

pub fn increment(name: &str, by: i64) -> Operation {
    operation(name, Action::Increment(IncrementOperation { amount: Some(int(by)) }))
}

pub fn delete(name: &str) -> Operation {
    operation(name, Action::Delete(snakepit_proto::v1::DeleteOperation {}))
}

/// A refusal as a client sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    pub reason: String,
    pub facts: HashMap<String, String>,
}

impl Refused {
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or_else(|| panic!("no fact {name} in {:?}", self.facts), String::as_str)
    }
}

/// The refusal that an answer has to be.
pub fn refused<T>(answer: Result<T, Status>) -> Refused {
    let Err(status) = answer else { panic!("the server accepted it") };
    let details = status.get_error_details();
    assert!(details.request_info().is_some(), "a refusal without the id of its request: {status:?}");
    let Some(info) = details.error_info() else { panic!("a refusal without a reason: {status:?}") };
    assert_eq!(info.domain, "snakepit_bridge.v1");
    Refused { code: status.code(), reason: info.reason.clone(), facts: info.metadata.clone() }
}
