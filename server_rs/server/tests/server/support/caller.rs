//! What a caller of tools asks, in short.

use std::time::Duration;

use snakepit_proto::v1::{
    Call, CallToolRequest, CallToolResponse, CancelCallRequest, GetCallRequest, GetToolRequest, GetToolResponse,
    ListToolsRequest, MapEntry, MapValue, StreamToolRequest, StreamToolResponse, Tool, ToolFailure, Value,
    call_tool_response::Outcome, tool_service_client::ToolServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Status, Streaming, transport::Channel};

use crate::support::setup::{TestServer, TestSession};

pub type Calling = JoinHandle<Result<CallToolResponse, Status>>;

#[expect(clippy::unnecessary_wraps, reason = "so the messages take it")]
pub fn arguments<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Option<MapValue> {
    let entry = |(key, value): (&str, _)| MapEntry { key: key.into(), value: Some(value) };
    Some(MapValue { entries: entries.into_iter().map(entry).collect() })
}

/// A failure that another try may mend, or not.
pub fn failure(retryable: bool) -> ToolFailure {
    let bases = vec!["LookupError".into(), "Exception".into()];
    ToolFailure { r#type: "KeyError".into(), bases, message: "no".into(), retryable, ..Default::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "so the messages take it")]
pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// The span of time that a message has to have.
pub fn span(given: Option<prost_types::Duration>) -> Duration {
    given.unwrap().try_into().unwrap()
}

/// What the tool returned, and the call.
pub async fn result(calling: Calling) -> (Value, Call) {
    let answer = calling.await.unwrap().unwrap();
    let Some(Outcome::Result(value)) = answer.outcome else { panic!("{answer:?} is no result") };
    (value, answer.call.unwrap())
}

/// How the tool failed, and the call.
pub async fn failed(calling: Calling) -> (ToolFailure, Call) {
    let answer = calling.await.unwrap().unwrap();
    let Some(Outcome::Failure(failure)) = answer.outcome else { panic!("{answer:?} is no failure") };
    (failure, answer.call.unwrap())
}

impl TestSession {
    pub fn tools(&self) -> ToolServiceClient<Channel> {
        ToolServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// The same session, from a connection of its own.
    pub async fn elsewhere(&self, server: &TestServer) -> Self {
        Self { channel: server.connect().await, ..self.clone() }
    }

    /// A call, to be changed as needed.
    pub fn call_of(&self, tool: &str, arguments: Option<MapValue>) -> CallToolRequest {
        CallToolRequest { session_id: self.id.clone(), tool: tool.into(), arguments, ..Default::default() }
    }

    pub async fn send_call(&self, request: CallToolRequest) -> Result<CallToolResponse, Status> {
        self.tools().call_tool(request).await.map(tonic::Response::into_inner)
    }

    /// Calls in the background; aborting the task drops the rpc.
    pub fn calling(&self, tool: &str, arguments: Option<MapValue>) -> Calling {
        self.sending(self.call_of(tool, arguments))
    }

    /// The same, and names the call.
    pub fn calling_as(&self, call_id: &str, tool: &str) -> Calling {
        self.sending(CallToolRequest { call_id: call_id.into(), ..self.call_of(tool, None) })
    }

    pub fn sending(&self, request: CallToolRequest) -> Calling {
        let session = self.clone();
        tokio::spawn(async move { session.send_call(request).await })
    }

    pub async fn stream(&self, request: CallToolRequest) -> Result<Streaming<StreamToolResponse>, Status> {
        let request = StreamToolRequest { call: Some(request) };
        self.tools().stream_tool(request).await.map(tonic::Response::into_inner)
    }

    pub async fn tool(&self, name: &str) -> Result<GetToolResponse, Status> {
        let request = GetToolRequest { session_id: self.id.clone(), tool: name.into(), ..Default::default() };
        self.tools().get_tool(request).await.map(tonic::Response::into_inner)
    }

    /// Asks for a tool until it is like that.
    pub async fn until(&self, name: &str, is: impl Fn(&GetToolResponse) -> bool) -> GetToolResponse {
        loop {
            let shown = self.tool(name).await.unwrap();
            if is(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many calls of a tool wait for a worker.
    pub async fn until_queued(&self, name: &str, queued: u64) {
        self.until(name, |shown| shown.stats.as_ref().unwrap().queued == queued).await;
    }

    /// Waits until nobody offers a tool any more.
    pub async fn until_gone(&self, name: &str) {
        while self.tool(name).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub fn listing(&self, pattern: &str) -> ListToolsRequest {
        ListToolsRequest { session_id: self.id.clone(), pattern: pattern.into(), ..Default::default() }
    }

    /// The tools on the first page.
    pub async fn listed(&self) -> Vec<Tool> {
        self.tools().list_tools(self.listing("")).await.unwrap().into_inner().tools
    }

    pub async fn call(&self, call_id: &str) -> Result<Call, Status> {
        let request = GetCallRequest { session_id: self.id.clone(), call_id: call_id.into(), ..Default::default() };
        Ok(self.tools().get_call(request).await?.into_inner().call.unwrap())
    }

    /// Asks for a call until it has come that far.
    pub async fn until_call(&self, call_id: &str, is: impl Fn(&Call) -> bool) -> Call {
        loop {
            if let Ok(call) = self.call(call_id).await
                && is(&call)
            {
                return call;
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn cancel(&self, call_id: &str, author: &str) -> Result<bool, Status> {
        let (call_id, author) = (call_id.into(), author.into());
        let request = CancelCallRequest { session_id: self.id.clone(), call_id, author, ..Default::default() };
        Ok(self.tools().cancel_call(request).await?.into_inner().cancelled)
    }
}
