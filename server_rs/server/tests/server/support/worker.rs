//! A worker that a test plays itself, message by message.

use std::time::Duration;

use snakepit_proto::v1::{
    Dispatch, DispatchChunk, DispatchFailure, DispatchResult, DrainWorker, OfferAnswer, OfferTools, ServeToolsRequest,
    ServeToolsResponse, ToolFailure, ToolSpec, Value, WithdrawTools, WorkerHello, WorkerWelcome,
    serve_tools_request::Event as Say, serve_tools_response::Event,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::support::setup::{TestSession, unique};

/// A tool that takes anything.
pub fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), ..Default::default() }
}

/// One that may be tried again, at once.
pub fn idempotent(name: &str) -> ToolSpec {
    let retry = snakepit_proto::v1::RetryPolicy {
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
    pub welcome: WorkerWelcome,
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
            ..Default::default()
        };
        Self::hello(session, hello).await
    }

    /// Connects with room for so many calls, for every session's sake, and offers tools, which are accepted.
    pub async fn global(
        session: &TestSession,
        max_concurrency: u32,
        tools: impl IntoIterator<Item = ToolSpec>,
    ) -> Self {
        let hello = WorkerHello { worker_id: unique("worker"), max_concurrency, ..Default::default() };
        Self::hello(session, hello).await.unwrap().with(tools).await
    }

    /// Connects with room for so many calls and offers tools, which are accepted.
    pub async fn with_room(session: &TestSession, room: u32, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        Self::join(session, &unique("worker"), room).await.unwrap().with(tools).await
    }

    /// Offers tools, which are accepted.
    pub async fn with(mut self, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        assert_eq!(self.offer(tools).await.refused, []);
        self
    }

    /// Connects, saying this.
    pub async fn hello(session: &TestSession, hello: WorkerHello) -> Result<Self, Status> {
        let (said, listened) = mpsc::unbounded_channel();
        let id = hello.worker_id.clone();
        said.send(ServeToolsRequest { event: Some(Say::Hello(hello)) }).unwrap();
        let mut client = session.tools();
        let told = client.serve_tools(UnboundedReceiverStream::new(listened)).await?.into_inner();
        let mut worker = Self { id, welcome: WorkerWelcome::default(), said, told, request: 0 };
        match worker.hear().await? {
            Event::Welcome(welcome) => Ok(Self { welcome, ..worker }),
            other => panic!("{other:?} is no welcome"),
        }
    }

    /// Connects with room for ten calls and offers tools, which are accepted.
    pub async fn offering(session: &TestSession, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        Self::with_room(session, 10, tools).await
    }

    pub fn say(&self, event: Say) {
        // The server may have ended the stream, which the next read tells.
        let _ = self.said.send(ServeToolsRequest { event: Some(event) });
    }

    /// The next message.
    pub async fn hear(&mut self) -> Result<Event, Status> {
        let message = tokio::time::timeout(Duration::from_secs(60), self.told.message()).await.unwrap()?;
        Ok(message.ok_or_else(|| Status::ok("the stream ended"))?.event.unwrap())
    }

    /// The next message that is no heartbeat.
    pub async fn next(&mut self) -> Result<Event, Status> {
        loop {
            match self.hear().await? {
                Event::Heartbeat(_) => {}
                other => return Ok(other),
            }
        }
    }

    /// The end of the stream, before which nothing else comes.
    pub async fn end(&mut self) -> Status {
        match self.next().await {
            Ok(other) => panic!("{other:?} is no end"),
            Err(status) => status,
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

    /// Waits until it may send so many more chunks.
    pub async fn credit(&mut self, dispatch: &Dispatch) -> u32 {
        match self.next().await.unwrap() {
            Event::Credit(credit) => {
                assert_eq!(credit.dispatch, dispatch.dispatch);
                credit.chunks
            }
            other => panic!("{other:?} is no credit"),
        }
    }

    /// Waits until it is told that it may go.
    pub async fn drained(&mut self) {
        match self.next().await.unwrap() {
            Event::Drained(_) => {}
            other => panic!("{other:?} is no end of draining"),
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
