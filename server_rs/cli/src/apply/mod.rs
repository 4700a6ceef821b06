//! `snakepit apply`: a session's variables as a file declares them.

mod file;
mod plan;

use std::{collections::HashMap, path::Path, time::Duration};

use serde_json::json;
use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, GetServerInfoRequest, GetVariablesRequest, ListSessionsRequest,
    Operation, Variable,
};

use crate::{
    Failure, input,
    output::terminal,
    remote::{Remote, client::At, timed},
    session::{batches, new_life},
};
use plan::{Item, Wanted, plan};

const FORMAT: &str = r#"The file, in TOML:
  session = "production"          # --session says another; it is made if it is not there
  ttl = 86400                     # of a session that is made, in seconds; without it, for good
  metadata = {team = "answers"}   # its labels

  [variables.temperature]
  type = "float"
  value = 0.7                     # or value_file = "PATH", from the file's directory; or value_env = "NAME"
  min = 0.0                       # limits by the names of `var define`: min, max, pattern, choices, max_length, ...
  max = 2.0
  description = "how lively"      # also: metadata, nullable, secret, read_only

A variable that is there keeps its value, unless --set-values is given. Applying a file twice changes nothing the second
time. What is changed is changed as one atomic write, as far as it fits into one.

Exit codes: 0 done, or with --diff nothing would change; 1 refused or failed; 2 wrong usage; 3 the server cannot be
reached; 4 with --diff something would change."#;

/// Values of secrets asked for at once.
const AT_ONCE: usize = 100;

/// Declare the variables of a session as a file says.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the flags")]
pub(super) struct Apply {
    /// The file; - for stdin.
    file: String,
    #[command(flatten)]
    at: At,
    /// The session, instead of the one that the file names; if neither is given, `SNAKEPIT_SESSION`.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only show what would change.
    #[arg(long)]
    diff: bool,
    /// Set variables that are there to the file's values, too.
    #[arg(long)]
    set_values: bool,
    /// Delete variables that the file does not declare.
    #[arg(long)]
    prune: bool,
    /// Print one JSON object per variable.
    #[arg(long)]
    json: bool,
    /// Why, for the variables' histories.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

impl Apply {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let from = &self.file;
        let wrong = |problem: String| Failure::failed(format!("{from}: {problem}"));
        let given = if from == "-" { from.clone() } else { format!("@{from}") };
        let text = input::read(given, false)?.text().map_err(wrong)?;
        let directory = Path::new(from).parent().unwrap_or(Path::new("."));
        let (file, declared) = file::parse(&text, directory).map_err(wrong)?;
        // The file is more particular than an environment that is there for other commands.
        let environment = || std::env::var("SNAKEPIT_SESSION").ok();
        let session = self.session.clone().or(file.session).or_else(environment).filter(|it| !it.is_empty());
        let session =
            session.ok_or_else(|| wrong("it names no session; say `session = \"ID\"`, or --session ID".into()))?;
        let ttl = file.ttl.map(|ttl| Duration::try_from_secs_f64(ttl).map_err(|_| wrong(format!("{ttl} is no ttl"))));
        let life = CreateSessionRequest {
            ttl: ttl.transpose()?.and_then(|ttl| ttl.try_into().ok()),
            metadata: file.metadata.into_iter().collect(),
            ..new_life(session.clone())
        };

        let remote = Remote::connect(&self.at).await?;
        let there = there(&remote, &session).await?;
        let current = if there { self.current(&remote, &session).await? } else { Vec::new() };
        let wanted = Wanted { set_values: self.set_values, prune: self.prune };
        let items = plan(declared, &current, wanted).map_err(Failure::Failed)?;
        self.tell(&session, there, &items)?;
        let operations: Vec<_> = items.iter().filter_map(Item::operation).collect();
        if self.diff {
            return if there && operations.is_empty() { Ok(()) } else { Err(Failure::WouldChange) };
        }
        let made = if there { None } else { Self::made(&remote, life).await? };
        let written = self.write(&remote, &session, operations).await;
        if let (Err(_), Some(made)) = (&written, made) {
            // What went wrong first is what is told.
            drop(remote.sessions().delete_session(timed(made)).await);
        }
        written
    }

    /// Makes the session. What ends it again, if nobody else was faster.
    async fn made(remote: &Remote, life: CreateSessionRequest) -> Result<Option<DeleteSessionRequest>, Failure> {
        let answer = remote.answered(remote.sessions().create_session(timed(life))).await?;
        let life = answer.session.filter(|_| answer.created);
        Ok(life.map(|life| DeleteSessionRequest { session_id: life.id, incarnation: life.incarnation }))
    }

    /// The variables as they are, secrets with their values as far as they are given.
    async fn current(&self, remote: &Remote, session: &str) -> Result<Vec<Variable>, Failure> {
        let (mut live, _) = remote.list(session, "").await?;
        let names: Vec<_> = live.iter().filter(|it| it.redacted).map(|it| it.name.clone()).collect();
        let mut given = HashMap::new();
        for names in names.chunks(AT_ONCE) {
            let request = GetVariablesRequest {
                session_id: session.to_owned(),
                names: names.to_vec(),
                allow_missing: true,
                ..GetVariablesRequest::default()
            };
            let answer = remote.answered(remote.variables().get_variables(timed(request))).await?;
            given.extend(answer.variables.into_iter().map(|it| (it.name.clone(), it)));
        }
        for variable in &mut live {
            if let Some(given) = given.remove(&variable.name) {
                *variable = given;
            }
        }
        Ok(live)
    }

    fn tell(&self, session: &str, there: bool, items: &[Item]) -> Result<(), Failure> {
        if self.json {
            return Ok(items.iter().try_for_each(|item| terminal::object(&item.as_json()))?);
        }
        if !there {
            terminal::line(&terminal::coloured(&format!("+ session {session}"), "32"))?;
        }
        for (sign, what) in items.iter().filter_map(Item::told) {
            let colour = match sign {
                '+' => Some("32"),
                '~' => Some("33"),
                '-' => Some("31"),
                _ => None,
            };
            for line in terminal::wrapped(&format!("{sign} "), 2, &terminal::plain(&what)) {
                terminal::line(
                    &colour.map_or_else(|| line.as_str().into(), |colour| terminal::coloured(&line, colour)),
                )?;
            }
        }
        Ok(())
    }

    async fn write(&self, remote: &Remote, session: &str, operations: Vec<Operation>) -> Result<(), Failure> {
        let count = operations.len();
        let info = remote.answered(remote.server().get_server_info(timed(GetServerInfoRequest {}))).await?;
        let batches = batches(operations, &info.limits.unwrap_or_default());
        if batches.len() > 1 {
            eprintln!("snakepit: too much for one atomic write; it is made in {}", batches.len());
        }
        let mut revision = None;
        for batch in batches {
            revision = Some(remote.write(session, batch, &self.reason).await?.revision);
        }
        if self.json {
            return Ok(terminal::line(
                &json!({"session": session, "changed": count, "revision": revision}).to_string(),
            )?);
        }
        Ok(terminal::line(&match revision {
            Some(revision) => format!("session {session}: {count} variables changed, at revision {revision}"),
            None => format!("session {session} is as the file says"),
        })?)
    }
}

/// Whether the session is live.
async fn there(remote: &Remote, session: &str) -> Result<bool, Failure> {
    let request = ListSessionsRequest { pattern: session.to_owned(), ..ListSessionsRequest::default() };
    let found = remote.answered(remote.sessions().list_sessions(timed(request))).await?;
    Ok(found.sessions.iter().any(|it| it.id == session))
}
