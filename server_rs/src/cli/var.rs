use std::{future::Future, time::Duration};

use clap::Subcommand;
use snakepit_server::proto::{
    GetVariablesRequest, ListVariablesRequest, Operation, SetOperation, Value, Variable, WatchMode,
    WatchVariablesRequest, WriteVariablesRequest, operation::Action, value::Kind, watch_variables_response::Event,
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Failure,
    client::{Client, connect},
    show, typed,
};

const DEADLINE: Duration = Duration::from_secs(10);

const JSON: &str = r#"Values in JSON, given to `set` and printed with --json:
  null, true, false, 1, 0.5, "text", [...], {...}   as they are: integers exact to 64 bits, floats always with a
                                                    fraction or an exponent, maps in order
  {"$float": "NaN"}                                 or "Infinity", "-Infinity"
  {"$bytes": BASE64}                                raw bytes
  {"$ndarray": {"dtype": "float32", "shape": [2, 3], "data": BASE64}}
                                                    an array, row-major and little-endian
  {"$map": [[KEY, VALUE], ...]}                     a map that would read as one of these

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached or is stopping."#;

/// Read, write and watch the variables of a session.
#[derive(Debug, clap::Args)]
#[command(after_help = JSON)]
pub(super) struct Var {
    /// The server.
    #[arg(long, global = true, env = "SNAKEPIT_ADDRESS", default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    address: String,
    /// The session, which has to exist.
    #[arg(
        long,
        global = true,
        env = "SNAKEPIT_SESSION",
        default_value = "",
        hide_default_value = true,
        value_name = "ID"
    )]
    session: String,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the values of variables.
    Get {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Give a variable a value of its type.
    Set {
        /// Its name.
        name: String,
        /// The value: text as it is, true, false, numbers; arrays, lists, maps and bytes in JSON.
        #[arg(required_unless_present = "null", conflicts_with = "null", allow_hyphen_values = true)]
        value: Option<String>,
        /// Set a nullable variable to null.
        #[arg(long)]
        null: bool,
        /// The version the variable has to have; otherwise nothing is changed.
        #[arg(long, value_name = "VERSION")]
        expected_version: Option<u64>,
        /// Why, for its history.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// List variables, by name.
    List {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
    /// Print variables as they are, and then every change, until interrupted.
    Watch {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
}

impl Var {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { address, session, json, command } = self;
        if session.is_empty() {
            return Err(Failure::failed("which session? say it with --session ID or SNAKEPIT_SESSION"));
        }
        let client = connect(&address).await?;
        let mut remote = Remote { client, address, session, json };
        match command {
            Command::Get { names } => remote.get(names).await,
            Command::Set { name, value, null: _, expected_version, reason } => {
                remote.set(name, value, expected_version, reason).await
            }
            Command::List { pattern } => remote.list(pattern).await,
            Command::Watch { pattern } => {
                tokio::select! {
                    ended = remote.watch(pattern) => ended,
                    _ = tokio::signal::ctrl_c() => Ok(()),
                }
            }
        }
    }
}

/// A session on a server.
struct Remote {
    client: Client,
    address: String,
    session: String,
    json: bool,
}

impl Remote {
    async fn get(&mut self, names: Vec<String>) -> Result<(), Failure> {
        let single = names.len() == 1;
        for variable in self.read(names).await? {
            let text = if self.json {
                show::as_json(&variable).to_string()
            } else if single {
                show::bare(&variable)
            } else {
                format!("{} = {}", variable.name, show::literal(&variable))
            };
            show::line(&text)?;
        }
        Ok(())
    }

    async fn set(
        &mut self,
        name: String,
        text: Option<String>,
        expected_version: Option<u64>,
        reason: String,
    ) -> Result<(), Failure> {
        let value = match text {
            None => Value { kind: Some(Kind::NullValue(0)) },
            Some(text) => {
                let variables = self.read(vec![name.clone()]).await?;
                let spec = variables.into_iter().next().and_then(|variable| variable.spec).unwrap_or_default();
                typed::parse(&text, &spec).map_err(|problem| Failure::failed(format!("{name}: {problem}")))?
            }
        };
        let set = Action::Set(SetOperation { value: Some(value) });
        let request = WriteVariablesRequest {
            session_id: self.session.clone(),
            operations: vec![Operation { name, expected_version, action: Some(set) }],
            reason,
            author: std::env::var("USER").unwrap_or_default(),
            ..WriteVariablesRequest::default()
        };
        let written = answered(self.client.write_variables(timed(request)), &self.address).await?;
        written.outcomes.iter().try_for_each(|outcome| show::written(outcome, written.revision, self.json))?;
        Ok(())
    }

    async fn list(&mut self, pattern: String) -> Result<(), Failure> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListVariablesRequest {
                session_id: self.session.clone(),
                pattern: pattern.clone(),
                page_size: 1_000,
                page_token,
                ..ListVariablesRequest::default()
            };
            let page = answered(self.client.list_variables(timed(request)), &self.address).await?;
            if self.json {
                page.variables.iter().try_for_each(|variable| show::line(&show::as_json(variable).to_string()))?;
            } else {
                all.extend(page.variables);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if !self.json {
            show::table(&all)?;
        }
        Ok(())
    }

    async fn watch(&mut self, pattern: String) -> Result<(), Failure> {
        let request = WatchVariablesRequest {
            session_id: self.session.clone(),
            mode: WatchMode::Every.into(),
            pattern,
            ..WatchVariablesRequest::default()
        };
        let mut messages: Streaming<_> = answered(self.client.watch_variables(request), &self.address).await?;
        while let Some(message) = messages.message().await.map_err(|status| self.refused(&status))? {
            match message.event {
                Some(Event::Snapshot(snapshot)) => {
                    snapshot.variables.iter().try_for_each(|variable| show::change(variable, None, self.json))?;
                }
                Some(Event::Changes(changes)) => {
                    for change in changes.changes {
                        let kind = change.kind();
                        show::change(&change.variable.unwrap_or_default(), Some(kind), self.json)?;
                    }
                }
                Some(Event::Latest(_) | Event::Heartbeat(_)) | None => {}
            }
        }
        Err(Failure::unreachable(&self.address, "the server ended the watch"))
    }

    async fn read(&mut self, names: Vec<String>) -> Result<Vec<Variable>, Failure> {
        let request = GetVariablesRequest { session_id: self.session.clone(), names, ..GetVariablesRequest::default() };
        Ok(answered(self.client.get_variables(timed(request)), &self.address).await?.variables)
    }

    fn refused(&self, status: &Status) -> Failure {
        Failure::refused(status, &self.address)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

async fn answered<T>(call: impl Future<Output = Result<Response<T>, Status>>, address: &str) -> Result<T, Failure> {
    call.await.map(Response::into_inner).map_err(|status| Failure::refused(&status, address))
}
