//! A client of a server's tools, for hosts of a server and other Rust programs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use snakepit_client::Client;
//!
//! let session = Client::connect("127.0.0.1:50051").await?.session("demo").await?;
//! let reply = session.call_tool("population", &serde_json::json!({"city": "Paris"})).await?;
//! println!("{}", reply.value);
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod tls;

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use serde::Serialize;
use tonic::Status;

pub use connection::{Announce, ConnectError, Connected, Credentials, connect};
pub use error::{CallError, Refused};
use snakepit_core::{tool::Failure, value::Value};
use snakepit_proto::v1::{
    Call, CallToolRequest, CancelCallRequest, CreateSessionRequest, ListToolsRequest, MapValue, StreamToolRequest,
    StreamToolResponse, Tool, Value as Wire, call_tool_response::Outcome, session_service_client::SessionServiceClient,
    stream_tool_response::Event, tool_service_client::ToolServiceClient, value::Kind,
};
pub use tls::ClientTls;

/// A connection to a server. Clones share it; it carries as many calls at once as the server allows (256 unless set
/// otherwise), and further ones wait.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Connected,
}

impl Client {
    /// Connects to the server at `address`, given as HOST:PORT.
    pub async fn connect(address: &str) -> Result<Self, CallError> {
        Self::connect_with(address, &Credentials::default()).await
    }

    /// The same with a token, encryption or both.
    pub async fn connect_with(address: &str, credentials: &Credentials) -> Result<Self, CallError> {
        let channel = connect(address, credentials).await;
        Ok(Self { channel: channel.map_err(|error| CallError::Transport(error.to_string()))? })
    }

    /// Opens a session: the live one of that id, or a new one, which then never expires.
    pub async fn session(&self, id: &str) -> Result<Session, CallError> {
        let mut incarnation = Vec::with_capacity(16);
        incarnation.extend_from_slice(&fastrand::u64(..).to_le_bytes());
        incarnation.extend_from_slice(&fastrand::u64(..).to_le_bytes());
        let request = CreateSessionRequest {
            session_id: id.to_owned(),
            incarnation: incarnation.into(),
            ..CreateSessionRequest::default()
        };
        let opened = SessionServiceClient::new(self.channel.clone()).create_session(request).await?.into_inner();
        let life = opened.session.unwrap_or_default();
        Ok(Session { channel: self.channel.clone(), id: life.id, incarnation: life.incarnation, author: author() })
    }
}

/// One life of a session. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Session {
    channel: Connected,
    id: String,
    incarnation: prost::bytes::Bytes,
    author: String,
}

/// What a call is given besides its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long it may take. Without it, as long as the tool says, else 10 s.
    pub timeout: Option<Duration>,
    /// Names the call, to cancel it from elsewhere. Empty: the server names it.
    pub call_id: String,
}

/// What a tool returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The result as JSON; bytes, arrays and numbers that JSON does not have are objects with one key that begins with
    /// `$`, as `snakepit var --help` describes.
    pub value: serde_json::Value,
    /// The call: its attempts, and how long they took.
    pub call: Call,
}

/// What a streamed call tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Streamed {
    /// Something that the tool yielded.
    Chunk(serde_json::Value),
    /// What it returned; the end.
    Result(Reply),
}

impl Session {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Calls a tool with arguments that serialize to a JSON object, and waits for its end. Dropping the future cancels
    /// the call.
    pub async fn call_tool(&self, tool: &str, arguments: &impl Serialize) -> Result<Reply, CallError> {
        self.call_tool_with(tool, arguments, CallOptions::default()).await
    }

    /// The same with options.
    pub async fn call_tool_with(
        &self,
        tool: &str,
        arguments: &impl Serialize,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        let request = self.request(tool, arguments, options)?;
        let answer = self.tools().call_tool(request).await?.into_inner();
        match answer.outcome {
            Some(Outcome::Result(value)) => Ok(Reply { value: json(value)?, call: answer.call.unwrap_or_default() }),
            Some(Outcome::Failure(failure)) => Err(CallError::Failed(Failure::from(failure))),
            None => Err(unreadable("an answer without an outcome")),
        }
    }

    /// Calls a tool and gives what it yields, in order, then its result. Dropping the stream cancels the call; a tool
    /// is paused while nobody reads.
    pub async fn stream_tool(
        &self,
        tool: &str,
        arguments: &impl Serialize,
        options: CallOptions,
    ) -> Result<BoxStream<'static, Result<Streamed, CallError>>, CallError> {
        let request = StreamToolRequest { call: Some(self.request(tool, arguments, options)?) };
        let answers = self.tools().stream_tool(request).await?.into_inner();
        Ok(answers.filter_map(|answer| async { told(answer).transpose() }).boxed())
    }

    /// The tools that can be called, by name.
    pub async fn list_tools(&self) -> Result<Vec<Tool>, CallError> {
        let mut tools = Vec::new();
        let mut request = ListToolsRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone(),
            page_size: 1_000,
            ..ListToolsRequest::default()
        };
        loop {
            let page = self.tools().list_tools(request.clone()).await?.into_inner();
            tools.extend(page.tools);
            if page.next_page_token.is_empty() {
                return Ok(tools);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Cancels a call by its id. False if it had ended.
    pub async fn cancel_call(&self, call_id: &str) -> Result<bool, CallError> {
        let request = CancelCallRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone(),
            call_id: call_id.to_owned(),
            author: self.author.clone(),
        };
        Ok(self.tools().cancel_call(request).await?.into_inner().cancelled)
    }

    fn tools(&self) -> ToolServiceClient<Connected> {
        ToolServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn request(
        &self,
        tool: &str,
        arguments: &impl Serialize,
        options: CallOptions,
    ) -> Result<CallToolRequest, CallError> {
        let wrong = |problem: &str| CallError::Arguments(problem.to_owned());
        let given = serde_json::to_value(arguments).map_err(|error| wrong(&error.to_string()))?;
        if !given.is_object() {
            return Err(wrong("arguments have to serialize to a JSON object: a struct or a map with text keys"));
        }
        let value = Value::try_from(given).map_err(|error| wrong(&error.to_string()))?;
        let Some(Kind::MapValue(arguments)) = Wire::from(&value).kind else {
            return Err(wrong("arguments have to serialize to a JSON object that stands for itself, without a $ key"));
        };
        Ok(CallToolRequest {
            session_id: self.id.clone(),
            incarnation: self.incarnation.clone(),
            tool: tool.to_owned(),
            arguments: Some(MapValue { entries: arguments.entries }),
            call_id: options.call_id,
            timeout: options.timeout.and_then(|timeout| timeout.try_into().ok()),
            default_timeout: None,
            author: self.author.clone(),
        })
    }
}

fn told(answer: Result<StreamToolResponse, Status>) -> Result<Option<Streamed>, CallError> {
    let answer = answer?;
    Ok(match answer.event {
        Some(Event::Chunk(value)) => Some(Streamed::Chunk(json(value)?)),
        Some(Event::Result(value)) => {
            Some(Streamed::Result(Reply { value: json(value)?, call: answer.call.unwrap_or_default() }))
        }
        Some(Event::Failure(failure)) => return Err(CallError::Failed(Failure::from(failure))),
        Some(Event::Accepted(_)) | None => None,
    })
}

fn json(value: Wire) -> Result<serde_json::Value, CallError> {
    let value = Value::try_from(value).map_err(|error| unreadable(&error.to_string()))?;
    Ok(serde_json::Value::from(&value))
}

fn unreadable(problem: &str) -> CallError {
    CallError::Transport(format!("the server sent what this client cannot read ({problem}); upgrade the older one"))
}

fn author() -> String {
    let program = std::env::current_exe().ok();
    let name =
        program.as_deref().and_then(|path| path.file_stem()).map_or_else(|| "rust".into(), |it| it.to_string_lossy());
    format!("{name}/{}", std::process::id())
}
