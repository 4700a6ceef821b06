//! A worker's stream: what it says goes to the hub, what the hub tells it comes out.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_stream::try_stream;
use futures_util::Stream;
use snakepit_core::{error::Error, variable::Name};
use snakepit_proto::{
    Refusal, reason_and_facts,
    v1::{
        CancelDispatch, ChunkCredit, OfferAnswer, OfferRefusal, ServeToolsRequest, ServeToolsResponse, ServerHeartbeat,
        ToolSpec, WorkerDrained, WorkerWelcome, serve_tools_request::Event as Said, serve_tools_response::Event,
    },
};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver},
        oneshot,
    },
    time::Instant,
};
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use crate::{
    service::{
        context::Serving,
        convert::{self, tool as wire},
        hello,
        middleware::caller::Caller,
    },
    store::Watcher,
    tool::{
        Outcome, Scope,
        hub::{Joined, Told},
    },
};

/// What a worker is told.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<ServeToolsResponse, Status>> + Send>>;

const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Silence for so many heartbeats is a loss.
const SILENT_BEATS: u32 = 3;
/// Answers that a worker has not read yet.
const ANSWERS: usize = 8;
/// Tools of one offer.
const MAX_TOOLS: usize = 1_000;

/// Opens a worker's stream.
pub(super) async fn open(
    serving: &Arc<Serving>,
    caller: &Caller,
    mut inbound: Streaming<ServeToolsRequest>,
) -> Result<Responses, Refusal> {
    let hello = match tokio::time::timeout(HELLO_WITHIN, inbound.message()).await {
        Ok(Ok(Some(ServeToolsRequest { event: Some(Said::Hello(hello)) }))) => hello,
        Ok(Ok(_)) => return Err(Error::invalid("event", "the first message has to be hello").into()),
        Ok(Err(status)) => return Err(malformed(&status).into()),
        Err(_) => return Err(Error::invalid("event", "hello has to come within 10 s").into()),
    };
    let (new, watcher) = hello::parse(serving, caller, hello).await?;
    let scope = new.scope.clone();
    let (joined, told) = serving.tools.join(new)?;
    let (end, ended) = oneshot::channel();
    let (answers, answered) = mpsc::channel(ANSWERS);
    let silence = serving.heartbeat * SILENT_BEATS;
    let listening = Listening { serving: Arc::clone(serving), joined, answers, watcher, scope, silence };
    let listened = async move {
        // Whoever reads the other half may be gone, and then nobody wants to know.
        let _ = end.send(listening.listen(inbound).await);
    };
    tokio::spawn(listened.in_current_span());
    Ok(Box::pin(tell(Arc::clone(serving), told, answered, ended)))
}

/// Hears what a worker says until it is gone; then the worker has left.
struct Listening {
    serving: Arc<Serving>,
    joined: Joined,
    answers: mpsc::Sender<OfferAnswer>,
    watcher: Option<Watcher>,
    scope: Scope,
    silence: Duration,
}

impl Listening {
    /// Also says how the stream is to end; without an error if the worker itself ended it.
    async fn listen(mut self, mut inbound: Streaming<ServeToolsRequest>) -> Result<(), Refusal> {
        let silence = self.silence;
        let mut heard = Instant::now();
        let stopping = self.serving.stopping.clone();
        let mut draining = false;
        loop {
            tokio::select! {
                message = inbound.message() => {
                    heard = Instant::now();
                    match message {
                        Ok(Some(message)) => self.hear(message).await?,
                        Ok(None) => return Ok(()),
                        Err(status) => return Err(malformed(&status).into()),
                    }
                }
                ended = session_end(self.watcher.as_mut()) => {
                    self.serving.tools.forget(&self.scope, &ended.error);
                    return Err(ended);
                }
                () = stopping.cancelled(), if !draining => {
                    draining = true;
                    self.joined.drain();
                }
                () = tokio::time::sleep_until(heard + silence) => {
                    self.joined.leaves_because("its worker has fallen silent");
                    let problem = format!("nothing was heard for {} s: send heartbeats", silence.as_secs_f64());
                    return Err(Error::invalid("event", problem).into());
                }
            }
        }
    }

    async fn hear(&mut self, message: ServeToolsRequest) -> Result<(), Error> {
        let event = message.event.ok_or_else(|| Error::invalid("event", "is none of this protocol version"))?;
        match event {
            Said::Hello(_) => return Err(Error::invalid("hello", "comes once, as the first message")),
            Said::Offer(offer) => {
                let refused = self.offer(offer.tools);
                self.answer(offer.request, refused).await?;
            }
            Said::Withdraw(withdraw) => {
                let names: Vec<Name> = withdraw.tools.iter().filter_map(|name| Name::parse(name).ok()).collect();
                self.joined.withdraw(&names);
                self.answer(withdraw.request, Vec::new()).await?;
            }
            Said::Result(result) => {
                let outcome = match wire::parse_value(result.value).and_then(|value| self.fits(value)) {
                    Ok(value) => Outcome::Result(value),
                    Err(error) => Outcome::Failure(unreadable(&error)),
                };
                self.joined.answered(wire::dispatch_key(result.dispatch), outcome);
            }
            Said::Failure(failure) => {
                let outcome = Outcome::Failure(wire::parse_failure(failure.failure));
                self.joined.answered(wire::dispatch_key(failure.dispatch), outcome);
            }
            Said::Chunk(chunk) => {
                let value = wire::parse_value(chunk.value).and_then(|value| self.fits(value))?;
                self.joined.chunk(wire::dispatch_key(chunk.dispatch), chunk.sequence, value)?;
            }
            Said::Heartbeat(_) => {}
            Said::Drain(_) => self.joined.drain(),
        }
        Ok(())
    }

    fn offer(&self, tools: Vec<ToolSpec>) -> Vec<OfferRefusal> {
        let limits = self.serving.store.limits();
        if tools.len() > MAX_TOOLS {
            let error = Error::invalid("tools", format!("takes at most {MAX_TOOLS}, got {}", tools.len()));
            return vec![refusal(String::new(), &error)];
        }
        let mut refused = Vec::new();
        let mut specs = Vec::with_capacity(tools.len());
        for tool in tools {
            let name = tool.name.clone();
            match wire::parse_spec(tool, limits.tool_schema_bytes) {
                Ok(spec) => specs.push(spec),
                Err(error) => refused.push(refusal(name, &error)),
            }
        }
        if refused.is_empty()
            && let Err(errors) = self.joined.offer(specs)
        {
            refused.extend(errors.into_iter().map(|(name, error)| refusal(name.to_string(), &error)));
        }
        refused
    }

    /// Nothing more is heard from a worker that does not read what it is answered.
    async fn answer(&mut self, request: u64, refused: Vec<OfferRefusal>) -> Result<(), Error> {
        let answer = self.answers.send(OfferAnswer { request, refused });
        // The stream's other half may be gone; then this half will hear so.
        if tokio::time::timeout(self.silence, answer).await.is_ok() {
            return Ok(());
        }
        self.joined.leaves_because("its worker does not read what it is told");
        let problem = format!("answers were not read for {} s", self.silence.as_secs_f64());
        Err(Error::invalid("event", problem))
    }

    fn fits(&self, value: snakepit_core::value::Value) -> Result<snakepit_core::value::Value, Error> {
        let max = self.serving.store.limits().value_bytes;
        if value.encoded_len() > max { Err(Error::LimitExceeded { limit: "value_bytes", max }) } else { Ok(value) }
    }
}

/// The stream's own half: what the hub tells, in order, with a sign of life now and then.
fn tell(
    serving: Arc<Serving>,
    mut told: UnboundedReceiver<Told>,
    mut answers: mpsc::Receiver<OfferAnswer>,
    mut ended: oneshot::Receiver<Result<(), Refusal>>,
) -> impl Stream<Item = Result<ServeToolsResponse, Status>> + Send {
    try_stream! {
        yield say(Event::Welcome(WorkerWelcome {
            heartbeat_interval: convert::duration(serving.heartbeat),
            value_bytes: serving.store.limits().value_bytes,
        }));
        let mut beats = tokio::time::interval_at(Instant::now() + serving.heartbeat, serving.heartbeat);
        loop {
            let next = tokio::select! {
                biased;
                Some(answer) = answers.recv() => Next::Say(Event::Answer(answer)),
                Some(told) = told.recv() => next(told, &serving),
                end = &mut ended => Next::End(end.unwrap_or(Ok(()))),
                _ = beats.tick() => Next::Say(Event::Heartbeat(ServerHeartbeat {})),
            };
            match next {
                Next::Say(event) => yield say(event),
                Next::End(end) => {
                    end?;
                    return;
                }
            }
        }
    }
}

enum Next {
    Say(Event),
    End(Result<(), Refusal>),
}

fn next(told: Told, serving: &Serving) -> Next {
    Next::Say(match told {
        Told::Dispatch(order) => Event::Dispatch(wire::dispatch(&order, serving.tools.now())),
        Told::Cancel(dispatch) => Event::Cancel(CancelDispatch { dispatch: dispatch.0 }),
        Told::Credit(dispatch, chunks) => Event::Credit(ChunkCredit { dispatch: dispatch.0, chunks }),
        Told::Drained if serving.stopping.is_cancelled() => return Next::End(Err(Error::Stopping.into())),
        Told::Drained => Event::Drained(WorkerDrained {}),
        Told::Replaced => {
            let problem = "another connection of this worker has taken this one's place";
            return Next::End(Err(Error::invalid("worker_id", problem).into()));
        }
    })
}

fn say(event: Event) -> ServeToolsResponse {
    ServeToolsResponse { event: Some(event) }
}

/// Resolves when a session ends, with how.
async fn session_end(watcher: Option<&mut Watcher>) -> Refusal {
    let Some(watcher) = watcher else { return std::future::pending().await };
    loop {
        watcher.changed().await;
        if let Err(refusal) = watcher.current() {
            return refusal;
        }
    }
}

fn refusal(tool: String, error: &Error) -> OfferRefusal {
    let message = error.to_string();
    let (reason, facts) = reason_and_facts(error);
    OfferRefusal { tool, reason, message, facts: facts.into_iter().collect() }
}

fn unreadable(error: &Error) -> snakepit_core::tool::Failure {
    snakepit_core::tool::Failure {
        kind: "ValueError".into(),
        bases: vec!["ValueError".into()],
        message: format!("the worker sent a result that is no value: {error}"),
        ..Default::default()
    }
}

fn malformed(status: &Status) -> Error {
    Error::invalid("message", format!("the stream broke: {}", status.message()))
}
