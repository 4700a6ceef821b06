//! `snakepit tool`: the tools of a session, called from a shell.

mod arguments;

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value as Json, json};
use snakepit_proto::v1::{
    Call, CallToolRequest, GetToolRequest, ListToolsRequest, MapValue, StreamToolRequest, Tool as Listed, ToolFailure,
    Value, call_tool_response::Outcome, stream_tool_response::Event, value::Kind,
};

use crate::{
    EXIT_CODES, Failure, input,
    output::{json, table, terminal},
    remote::{
        in_session::{Held, InSession},
        timed, user,
    },
    show,
};

const ARGUMENTS: &str = r#"Arguments: NAME=VALUE, by the tool's schema: where it allows text, VALUE is the text itself; else VALUE is JSON
(5, true, [1, 2], {"a": null}). NAME=- is read from stdin, NAME=@FILE from a file. Or all of them as one JSON object:
--arguments '{"city": "Paris"}', --arguments @FILE, --arguments -.
JSON holds bytes, arrays and numbers that JSON does not have as `snakepit var --help` says.

Exit codes: 0 the tool returned, 1 it failed or was refused, 2 wrong usage, 3 the server cannot be reached or is
stopping."#;

/// List and call the tools of a session.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Tool {
    #[command(flatten)]
    within: InSession,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the tools that the session can call, by name.
    List {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
    /// Call a tool and print what it returns.
    #[command(after_help = ARGUMENTS)]
    Call(Invocation),
    /// Call a tool and print what it yields as it comes, then what it returns.
    #[command(after_help = ARGUMENTS)]
    Stream(Invocation),
}

#[derive(Debug, clap::Args)]
struct Invocation {
    /// The tool.
    tool: String,
    /// Its arguments.
    #[arg(value_name = "NAME=VALUE", value_parser = argument)]
    given: Vec<(String, String)>,
    /// All arguments as one JSON object; - for stdin, @FILE.
    #[arg(long, value_name = "JSON", conflicts_with = "given")]
    arguments: Option<String>,
    /// Take values as they are, even if they are `-` or begin with `@`.
    #[arg(long)]
    verbatim: bool,
    /// How long the call may take; without it, as long as the tool says, else 10 seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Names the call, to cancel it from elsewhere.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    call_id: String,
}

impl Tool {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let held = self.within.open().await?;
        match self.command {
            Command::List { pattern } => held.list(pattern).await,
            Command::Call(invocation) => held.call(invocation).await,
            Command::Stream(invocation) => held.stream(invocation).await,
        }
    }
}

impl Held {
    async fn list(&self, pattern: String) -> Result<(), Failure> {
        let mut request = ListToolsRequest {
            session_id: self.session.clone(),
            pattern,
            page_size: 1_000,
            ..ListToolsRequest::default()
        };
        let mut tools = Vec::new();
        loop {
            let page = self.remote.answered(self.remote.tools().list_tools(timed(request.clone()))).await?;
            tools.extend(page.tools);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if self.json {
            return Ok(tools.iter().try_for_each(|tool| terminal::object(&as_json(tool)))?);
        }
        let row = |tool: &Listed| {
            let spec = tool.spec.clone().unwrap_or_default();
            let first = spec.description.lines().next().unwrap_or_default().to_owned();
            let whose = if tool.native {
                "native"
            } else if tool.global {
                "global"
            } else {
                "session"
            };
            vec![spec.name, tool.workers.to_string(), whose.into(), signature(&spec.arguments_schema), first]
        };
        Ok(table::print(&["NAME", "WORKERS", "OF", "ARGUMENTS", "DESCRIPTION"], tools.iter().map(row).collect())?)
    }

    async fn call(&self, invocation: Invocation) -> Result<(), Failure> {
        let request = self.request(invocation).await?;
        // The server ends it in time; there is no telling how long that is.
        let answer = self.remote.answered(self.remote.tools().call_tool(request)).await?;
        self.end(answer.outcome, answer.call.as_ref())
    }

    async fn stream(&self, invocation: Invocation) -> Result<(), Failure> {
        let request = StreamToolRequest { call: Some(self.request(invocation).await?) };
        let mut answers = self.remote.answered(self.remote.tools().stream_tool(request)).await?;
        while let Some(answer) = answers.message().await.map_err(|status| self.remote.refused(&status))? {
            match answer.event {
                Some(Event::Chunk(chunk)) if self.json => {
                    let chunk = json!({"chunk": json::of(&chunk), "sequence": answer.sequence});
                    terminal::object(&chunk)?;
                }
                Some(Event::Chunk(chunk)) => terminal::others(&show::value(&chunk))?,
                // It has said everything in its chunks.
                Some(Event::Result(Value { kind: Some(Kind::NullValue(_)) })) if !self.json => return Ok(()),
                Some(Event::Result(result)) => return self.end(Some(Outcome::Result(result)), answer.call.as_ref()),
                Some(Event::Failure(failure)) => {
                    return self.end(Some(Outcome::Failure(failure)), answer.call.as_ref());
                }
                Some(Event::Accepted(_)) | None => {}
            }
        }
        Err(Failure::unreachable(&self.remote.address, "the server ended the stream"))
    }

    async fn request(&self, invocation: Invocation) -> Result<CallToolRequest, Failure> {
        let Invocation { tool, given, arguments, verbatim, timeout, call_id } = invocation;
        let wrong = |problem: String| Failure::failed(format!("{tool}: {problem}"));
        let arguments = match arguments {
            Some(text) => {
                let text = input::read(text, verbatim)?.text().map_err(wrong)?;
                arguments::object(&text).map_err(wrong)?
            }
            None => self.typed(&tool, given, verbatim).await?,
        };
        let Value { kind: Some(Kind::MapValue(entries)) } = json::parse(Json::Object(arguments)).map_err(wrong)? else {
            return Err(wrong("the arguments are an object that stands for something else; use $map".into()));
        };
        Ok(CallToolRequest {
            session_id: self.session.clone(),
            tool,
            arguments: Some(MapValue { entries: entries.entries }),
            call_id,
            timeout: timeout.and_then(|timeout| timeout.try_into().ok()),
            author: user(),
            ..CallToolRequest::default()
        })
    }

    async fn typed(
        &self,
        tool: &str,
        given: Vec<(String, String)>,
        verbatim: bool,
    ) -> Result<Map<String, Json>, Failure> {
        if given.is_empty() {
            return Ok(Map::new());
        }
        let asked =
            GetToolRequest { session_id: self.session.clone(), tool: tool.to_owned(), ..GetToolRequest::default() };
        let answer = self.remote.answered(self.remote.tools().get_tool(timed(asked))).await?;
        let spec = answer.tool.and_then(|tool| tool.spec).unwrap_or_default();
        let schema = serde_json::from_str(&spec.arguments_schema).unwrap_or_default();
        let mut arguments = Map::new();
        for (name, text) in given {
            let wrong = |problem: String| Failure::failed(format!("{tool}: {problem}"));
            let text = input::read(text, verbatim)?.text().map_err(wrong)?;
            let value = arguments::typed(&name, text, &schema).map_err(wrong)?;
            if arguments.insert(name.clone(), value).is_some() {
                return Err(wrong(format!("the argument {name} was given twice")));
            }
        }
        Ok(arguments)
    }

    fn end(&self, outcome: Option<Outcome>, call: Option<&Call>) -> Result<(), Failure> {
        let told = |key: &str, value: Json| {
            let mut object = json!({key: value});
            if let Some(call) = call {
                object["call_id"] = json!(call.call_id);
                object["attempts"] = json!(call.attempts.len());
                object["took"] = json!(call.took.and_then(|it| Duration::try_from(it).ok()).map(|it| it.as_secs_f64()));
            }
            terminal::object(&object)
        };
        match outcome {
            Some(Outcome::Result(result)) if self.json => Ok(told("result", json::of(&result))?),
            Some(Outcome::Result(result)) => Ok(terminal::others(&show::value(&result))?),
            Some(Outcome::Failure(failure)) => {
                let ToolFailure { r#type: kind, bases, message, retryable, traceback } = failure;
                let failed = format!("the tool failed: {}: {message}", terminal::plain(&kind));
                if self.json {
                    let failure = json!({
                        "type": kind, "bases": bases, "message": message, "retryable": retryable,
                        "traceback": traceback,
                    });
                    told("failure", failure)?;
                } else if !traceback.is_empty() {
                    eprintln!("{}", terminal::plain_lines(traceback.trim_end()));
                }
                Err(Failure::failed(failed))
            }
            None => Err(Failure::failed("the server sent no outcome; upgrade the older of the two")),
        }
    }
}

fn as_json(tool: &Listed) -> Json {
    let spec = tool.spec.clone().unwrap_or_default();
    let schema = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
    json!({
        "name": spec.name,
        "description": spec.description,
        "arguments": schema(&spec.arguments_schema),
        "result": schema(&spec.result_schema),
        "streaming": spec.streaming,
        "idempotent": spec.idempotent,
        "global": tool.global,
        "native": tool.native,
        "workers": tool.workers,
        "metadata": spec.metadata,
    })
}

/// The names of the arguments, those that may be left out in brackets.
fn signature(schema: &str) -> String {
    let Ok(schema) = serde_json::from_str::<Json>(schema) else { return "any".into() };
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return "any".into() };
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let shown = properties.keys().map(|name| if required(name) { name.clone() } else { format!("[{name}]") });
    shown.collect::<Vec<_>>().join(" ")
}

fn argument(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("takes NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| *seconds > 0.0);
    seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).ok_or_else(|| "takes seconds, e.g. 5 or 0.5".into())
}
