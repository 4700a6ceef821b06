//! A Snakepit session as a client sees it: what it sends is what the Python client sends.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use snakepit_client::Connected;
use snakepit_proto::v1::{
    CreateSessionRequest, ListVariablesRequest, Operation, RegisterOperation, SetOperation, Value, VariableSpec,
    VariableType, WatchMode, WatchVariablesRequest, WatchVariablesResponse, WriteVariablesRequest, operation::Action,
    session_service_client::SessionServiceClient, value::Kind, variable_service_client::VariableServiceClient,
};
use tonic::{Status, Streaming};

/// Tells writes apart, across all sessions of this process.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// One life of a session, on one connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its life.
    pub incarnation: Vec<u8>,
    variables: VariableServiceClient<Connected>,
    author: String,
    client_id: String,
}

impl Session {
    /// Opens a session, or finds it.
    pub async fn open(channel: &Connected, id: String) -> Result<Self, Status> {
        let incarnation: Vec<u8> = (0..16).map(|_| fastrand::u8(..)).collect();
        let request = CreateSessionRequest {
            session_id: id.clone(),
            incarnation: incarnation.into(),
            ..CreateSessionRequest::default()
        };
        let opened = SessionServiceClient::new(channel.clone()).create_session(request).await?.into_inner();
        let incarnation = opened.session.unwrap_or_default().incarnation.to_vec();
        Ok(Self {
            id,
            incarnation,
            variables: VariableServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            author: format!("load/{}", std::process::id()),
            client_id: format!("{:016x}", fastrand::u64(..)),
        })
    }

    /// The same session on another connection.
    pub fn over(&self, channel: &Connected) -> Self {
        let variables = VariableServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        Self { variables, ..self.clone() }
    }

    /// Declares floats in one batch.
    pub async fn register(&self, names: &[String]) -> Result<u64, Status> {
        let spec = VariableSpec { r#type: VariableType::Float.into(), ..VariableSpec::default() };
        let register = |name: &String| {
            let action = RegisterOperation { spec: Some(spec.clone()), value: Some(float(0.5)), replace: false };
            Operation { name: name.clone(), expected_version: None, action: Some(Action::Register(action)) }
        };
        self.write(names.iter().map(register).collect()).await
    }

    /// Declares a variable of bytes.
    pub async fn register_bytes(&self, name: &str, value: Value) -> Result<u64, Status> {
        let spec = VariableSpec { r#type: VariableType::Bytes.into(), ..VariableSpec::default() };
        let action = RegisterOperation { spec: Some(spec), value: Some(value), replace: false };
        let action = Some(Action::Register(action));
        self.write(vec![Operation { name: name.to_owned(), expected_version: None, action }]).await
    }

    /// Sets a variable. Returns the session's revision after it.
    pub async fn set(&self, name: &str, value: Value) -> Result<u64, Status> {
        let action = Action::Set(SetOperation { value: Some(value) });
        self.write(vec![Operation { name: name.to_owned(), expected_version: None, action: Some(action) }]).await
    }

    /// Applies operations as one write. Returns the session's revision after it.
    pub async fn write(&self, operations: Vec<Operation>) -> Result<u64, Status> {
        let request = WriteVariablesRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone().into(),
            operations,
            reason: String::new(),
            author: self.author.clone(),
            client_id: self.client_id.clone(),
            idempotency_key: format!("{:016x}", WRITES.fetch_add(1, Ordering::Relaxed)),
        };
        Ok(self.variables.clone().write_variables(request).await?.into_inner().revision)
    }

    /// All variables as the numbers in them.
    pub async fn values(&self) -> Result<BTreeMap<String, u64>, Status> {
        let request = ListVariablesRequest { session_id: self.id.clone(), page_size: 1_000, ..Default::default() };
        let listed = self.variables.clone().list_variables(request).await?.into_inner();
        Ok(listed.variables.into_iter().map(|it| (it.name, number(it.value))).collect())
    }

    /// Watches all variables, after a revision if one is given.
    pub async fn watch(
        &self,
        mode: WatchMode,
        known_revision: u64,
    ) -> Result<Streaming<WatchVariablesResponse>, Status> {
        let request = WatchVariablesRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone().into(),
            mode: mode.into(),
            known_revision,
            ..WatchVariablesRequest::default()
        };
        Ok(self.variables.clone().watch_variables(request).await?.into_inner())
    }
}

/// A float on the wire.
pub fn float(value: f64) -> Value {
    Value { kind: Some(Kind::DoubleValue(value)) }
}

/// The number in a float.
pub fn number(value: Option<Value>) -> u64 {
    match value.and_then(|it| it.kind) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number that was written")]
        Some(Kind::DoubleValue(value)) => value as u64,
        _ => 0,
    }
}
