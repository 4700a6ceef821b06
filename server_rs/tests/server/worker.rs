//! A worker that a test plays itself, message by message.

use std::time::Duration;

use snakepit_server::proto::{
    CallToolRequest, CallToolResponse, Dispatch, DispatchChunk, DispatchFailure, DispatchResult, DrainWorker,
    GetToolRequest, GetToolResponse, MapValue, OfferAnswer, OfferTools, ServeToolsRequest, ServeToolsResponse,
    ToolFailure, ToolSpec, Value, WithdrawTools, WorkerHello, serve_tools_request::Event as Say,
    serve_tools_response::Event, tool_service_client::ToolServiceClient,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::setup::{TestSession, unique};

/// A tool that takes anything.
pub fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), ..Default::default() }
}

/// One that may be tried again, at once.
pub fn idempotent(name: &str) -> ToolSpec {
    let retry = snakepit_server::proto::RetryPolicy {
        max_attempts: 3,
        initial_backoff: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
        multiplier: 1.0,
        max_backoff: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
    };
    ToolSpec { idempotent: true, retry: Some(retry), ..tool(name) }
}

/// A worker's stream. Dropping it is losing its connection.
pub struct TestWorker {
    pub id: String,
    said: mpsc::UnboundedSender<ServeToolsRequest>,
    told: Streaming<ServeToolsResponse>,
    request: u64,
}

impl TestWorker {
    /// Connects with room for so many calls.
    pub async fn join(session: &TestSession, id: &str, max_concurrency: u32) -> Result<Self, Status> {
        let hello = WorkerHello {
            session_id: session.id.clone(),
            incarnation: session.incarnation.clone().into(),
            worker_id: id.into(),
            label: "a test".into(),
            max_concurrency,
        };
        Self::hello(session, hello).await
    }

    /// Connects, saying this.
    pub async fn hello(session: &TestSession, hello: WorkerHello) -> Result<Self, Status> {
        let (said, listened) = mpsc::unbounded_channel();
        let id = hello.worker_id.clone();
        said.send(ServeToolsRequest { event: Some(Say::Hello(hello)) }).unwrap();
        let mut client = session.tools();
        let told = client.serve_tools(UnboundedReceiverStream::new(listened)).await?.into_inner();
        let mut worker = Self { id, said, told, request: 0 };
        match worker.next().await {
            Ok(Event::Welcome(_)) => Ok(worker),
            Ok(other) => panic!("{other:?} is no welcome"),
            Err(status) => Err(status),
        }
    }

    /// Connects with room for ten calls and offers tools, which are accepted.
    pub async fn offering(session: &TestSession, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        let mut worker = Self::join(session, &unique("worker"), 10).await.unwrap();
        let answer = worker.offer(tools).await;
        assert_eq!(answer.refused, []);
        worker
    }

    pub fn say(&self, event: Say) {
        // The server may have ended the stream, which the next read tells.
        let _ = self.said.send(ServeToolsRequest { event: Some(event) });
    }

    /// The next message that is no heartbeat.
    pub async fn next(&mut self) -> Result<Event, Status> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(60), self.told.message()).await.unwrap()?;
            match message.ok_or_else(|| Status::ok("the stream ended"))?.event.unwrap() {
                Event::Heartbeat(_) => {}
                other => return Ok(other),
            }
        }
    }

    pub async fn offer(&mut self, tools: impl IntoIterator<Item = ToolSpec>) -> OfferAnswer {
        self.request += 1;
        self.say(Say::Offer(OfferTools { request: self.request, tools: tools.into_iter().collect() }));
        self.answer().await
    }

    pub async fn withdraw(&mut self, name: &str) -> OfferAnswer {
        self.request += 1;
        self.say(Say::Withdraw(WithdrawTools { request: self.request, tools: vec![name.into()] }));
        self.answer().await
    }

    async fn answer(&mut self) -> OfferAnswer {
        match self.next().await.unwrap() {
            Event::Answer(answer) if answer.request == self.request => answer,
            other => panic!("{other:?} is no answer"),
        }
    }

    pub async fn dispatch(&mut self) -> Dispatch {
        match self.next().await.unwrap() {
            Event::Dispatch(dispatch) => dispatch,
            other => panic!("{other:?} is no dispatch"),
        }
    }

    /// Waits until it is told that nobody waits for a dispatch.
    pub async fn cancelled(&mut self, dispatch: &Dispatch) {
        match self.next().await.unwrap() {
            Event::Cancel(cancel) => assert_eq!(cancel.dispatch, dispatch.dispatch),
            other => panic!("{other:?} is no cancel"),
        }
    }

    pub fn returns(&self, dispatch: &Dispatch, value: Value) {
        self.say(Say::Result(DispatchResult { dispatch: dispatch.dispatch, value: Some(value) }));
    }

    pub fn fails(&self, dispatch: &Dispatch, failure: ToolFailure) {
        self.say(Say::Failure(DispatchFailure { dispatch: dispatch.dispatch, failure: Some(failure) }));
    }

    pub fn yields(&self, dispatch: &Dispatch, sequence: u64, value: Value) {
        self.say(Say::Chunk(DispatchChunk { dispatch: dispatch.dispatch, sequence, value: Some(value) }));
    }

    pub fn drain(&self) {
        self.say(Say::Drain(DrainWorker {}));
    }
}

impl TestSession {
    pub fn tools(&self) -> ToolServiceClient<Channel> {
        ToolServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// A call, to be changed as needed.
    pub fn call_of(&self, tool: &str, arguments: Option<MapValue>) -> CallToolRequest {
        CallToolRequest { session_id: self.id.clone(), tool: tool.into(), arguments, ..Default::default() }
    }

    pub async fn send_call(&self, request: CallToolRequest) -> Result<CallToolResponse, Status> {
        self.tools().call_tool(request).await.map(tonic::Response::into_inner)
    }

    /// Calls in the background; aborting the task drops the rpc.
    pub fn calling(&self, tool: &str, arguments: Option<MapValue>) -> JoinHandle<Result<CallToolResponse, Status>> {
        self.sending(self.call_of(tool, arguments))
    }

    pub fn sending(&self, request: CallToolRequest) -> JoinHandle<Result<CallToolResponse, Status>> {
        let session = self.clone();
        tokio::spawn(async move { session.send_call(request).await })
    }

    pub async fn tool(&self, name: &str) -> Result<GetToolResponse, Status> {
        let request = GetToolRequest { session_id: self.id.clone(), tool: name.into(), ..Default::default() };
        self.tools().get_tool(request).await.map(tonic::Response::into_inner)
    }
}
