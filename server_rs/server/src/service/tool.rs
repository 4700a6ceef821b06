use std::{pin::Pin, sync::Arc};

use async_stream::try_stream;
use futures_util::Stream;
use snakepit_core::{error::Error, glob::Glob, session::SessionId, value::Value, variable::Name};
use snakepit_proto::{
    Refusal,
    v1::{
        CallAccepted, CallToolRequest, CallToolResponse, CancelCallRequest, CancelCallResponse, GetCallRequest,
        GetCallResponse, GetToolRequest, GetToolResponse, ListToolsRequest, ListToolsResponse, ServeToolsRequest,
        StreamToolRequest, StreamToolResponse, call_tool_response::Outcome, stream_tool_response::Event as Streamed,
        tool_service_server::ToolService,
    },
};
use tonic::{Extensions, Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    service::{
        context::Serving,
        convert::{self, tool as wire},
        middleware::{caller::Caller, deadline, request_info::Request as Known},
        page::{Page, bad_token},
        worker,
    },
    tool::{
        self, Scope,
        hub::{Heard, NewRequest, Running},
    },
};

/// Chunks that a caller has read are told to the worker so many at a time.
const CREDIT_AT_ONCE: u32 = tool::CHUNK_CREDIT / 2;

pub(super) struct Tools(pub(super) Arc<Serving>);

/// What a streamed call tells.
type Told = Pin<Box<dyn Stream<Item = Result<StreamToolResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ToolService for Tools {
    type StreamToolStream = Told;
    type ServeToolsStream = worker::Responses;

    async fn list_tools(&self, request: Request<ListToolsRequest>) -> Result<Response<ListToolsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let page = Page::parse(request.page_size, &request.page_token)?;
        let after = page.after.as_deref().map(Name::parse).transpose().map_err(|_| bad_token())?;
        let pattern = (!request.pattern.is_empty()).then(|| Glob::new(&request.pattern));
        let (_, home) = self.home(&caller, &request.session_id, &request.incarnation).await?;
        let tools = self.0.tools.list(&home);
        let wanted = tools.iter().filter(|tool| {
            let name = &tool.spec.name;
            after.as_ref().is_none_or(|after| name > after) && pattern.as_ref().is_none_or(|glob| glob.matches(name))
        });
        let (tools, next_page_token) = page.fill(wanted.map(|tool| (tool.spec.name.to_string(), wire::tool(tool))));
        Ok(Response::new(ListToolsResponse { tools, next_page_token }))
    }

    async fn get_tool(&self, request: Request<GetToolRequest>) -> Result<Response<GetToolResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (session, home) = self.home(&caller, &request.session_id, &request.incarnation).await?;
        let shown = self.0.tools.show(&home, &session, &request.tool).map_err(Refusal::from)?;
        Ok(Response::new(wire::shown_tool(&shown)))
    }

    async fn call_tool(&self, request: Request<CallToolRequest>) -> Result<Response<CallToolResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (metadata, extensions, request) = request.into_parts();
        let mut running = self.begin(&caller, &metadata, &extensions, request, false).await?;
        let waiting = running.caller();
        loop {
            let Heard::Ended(end) = running.next().await else { continue };
            let (ending, record) = *end;
            let outcome = match waiting.told(ending, &record).map_err(Refusal::from)? {
                Ok(value) => Outcome::Result(convert::encode_value(&value)),
                Err(failure) => Outcome::Failure(failure.into()),
            };
            let call = Some(wire::call(&record));
            return Ok(Response::new(CallToolResponse { outcome: Some(outcome), call }));
        }
    }

    async fn stream_tool(&self, request: Request<StreamToolRequest>) -> Result<Response<Told>, Status> {
        let caller = Caller::of(&request)?;
        let (metadata, extensions, request) = request.into_parts();
        let call = request.call.ok_or_else(|| Refusal::from(Error::invalid("call", "has to be given")))?;
        let running = self.begin(&caller, &metadata, &extensions, call, true).await?;
        Ok(Response::new(Box::pin(follow(running))))
    }

    async fn cancel_call(&self, request: Request<CancelCallRequest>) -> Result<Response<CancelCallResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let by = convert::author(request.author, &caller.principal)?.name;
        let (_, home) = self.home(&caller, &request.session_id, &request.incarnation).await?;
        let cancelled = self.0.tools.cancel(&home, &request.call_id, &by);
        let cancelled = cancelled.ok_or_else(|| no_call(&request.call_id))?;
        Ok(Response::new(CancelCallResponse { cancelled }))
    }

    async fn get_call(&self, request: Request<GetCallRequest>) -> Result<Response<GetCallResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (_, home) = self.home(&caller, &request.session_id, &request.incarnation).await?;
        let record = self.0.tools.record(&home, &request.call_id).ok_or_else(|| no_call(&request.call_id))?;
        Ok(Response::new(GetCallResponse { call: Some(wire::call(&record)) }))
    }

    async fn serve_tools(
        &self,
        request: Request<Streaming<ServeToolsRequest>>,
    ) -> Result<Response<worker::Responses>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(worker::open(&self.0, &caller, request.into_inner()).await?))
    }
}

impl Tools {
    /// The life of a session that a request means. Slides its ttl.
    async fn home(
        &self,
        caller: &Caller,
        id: &str,
        incarnation: &prost::bytes::Bytes,
    ) -> Result<(SessionId, Scope), Refusal> {
        let id = caller.session(id)?;
        let view = self.0.store.touch(&id, convert::incarnation(incarnation)?).await?;
        let scope = Scope::Session(id.clone(), view.state.incarnation);
        Ok((id, scope))
    }

    async fn begin(
        &self,
        caller: &Caller,
        metadata: &MetadataMap,
        extensions: &Extensions,
        request: CallToolRequest,
        wants_chunks: bool,
    ) -> Result<Running, Refusal> {
        let longest = deadline::of(metadata.as_ref());
        caller.concerns([&*request.tool]);
        let (session, home) = self.home(caller, &request.session_id, &request.incarnation).await?;
        let arguments = wire::parse_arguments(request.arguments)?;
        let max = self.0.store.limits().value_bytes;
        if Value::Map(Arc::clone(&arguments)).encoded_len() > max {
            return Err(Error::LimitExceeded { limit: "value_bytes", max }.into());
        }
        check_call_id(&request.call_id)?;
        let trace = Known::of(extensions).and_then(Known::trace);
        let (traceparent, tracestate) = trace.map(|it| (it.parent.clone(), it.state.clone())).unwrap_or_default();
        let request = NewRequest {
            home,
            session: session.clone(),
            tool: request.tool,
            id: request.call_id.into(),
            timeout: wire::positive("timeout", request.timeout)?,
            default_timeout: wire::positive("default_timeout", request.default_timeout)?,
            longest,
            request: tool::Request {
                arguments,
                caller: convert::author(request.author, &caller.principal)?.name,
                session_id: session,
                traceparent,
                tracestate,
                wants_chunks,
            },
        };
        Ok(self.0.tools.call(request)?)
    }
}

/// Tells what comes of a call. Its deadline holds whether anybody reads or not, so it is followed by a task of its own,
/// from now on.
fn follow(mut running: Running) -> impl Stream<Item = Result<StreamToolResponse, Status>> + Send {
    let accepted = running.accepted();
    let caller = running.caller();
    let mut heard = running.follow();
    try_stream! {
        yield StreamToolResponse {
            event: Some(Streamed::Accepted(CallAccepted {})),
            sequence: 0,
            call: accepted.as_ref().map(wire::call),
        };
        let (mut sequence, mut read) = (0, 0);
        while let Some(next) = heard.recv().await {
            match next {
                Heard::Chunk(value) => {
                    let event = Some(Streamed::Chunk(convert::encode_value(&value)));
                    yield StreamToolResponse { event, sequence, call: None };
                    sequence += 1;
                    read += 1;
                    if read == CREDIT_AT_ONCE {
                        caller.taken(std::mem::take(&mut read));
                    }
                }
                Heard::Ended(end) => {
                    let (ending, record) = *end;
                    let event = match caller.told(ending, &record).map_err(Refusal::from)? {
                        Ok(value) => Streamed::Result(convert::encode_value(&value)),
                        Err(failure) => Streamed::Failure(failure.into()),
                    };
                    yield StreamToolResponse { event: Some(event), sequence, call: Some(wire::call(&record)) };
                }
            }
        }
    }
}

fn check_call_id(id: &str) -> Result<(), Refusal> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if id.len() <= 64 && id.bytes().all(legal) {
        return Ok(());
    }
    let shown: String = id.chars().take(64).collect();
    Err(Error::invalid("call_id", format!("{shown:?} is no call id: it takes 1 to 64 characters out of [A-Za-z0-9_-]"))
        .into())
}

fn no_call(id: &str) -> Refusal {
    let shown: String = id.chars().take(64).collect();
    Error::invalid("call_id", format!("there is no call {shown:?} in this session, or it ended long ago")).into()
}
