//! `snakepit session`: the sessions of a server.

mod export;
mod import;

use std::{fmt::Write as _, time::Duration};

use clap::Subcommand;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, ListSessionsRequest, Session as Found,
};

use crate::{
    EXIT_CODES, Failure,
    output::{table, terminal},
    remote::{Remote, client::At, timed},
    show,
    var::label,
};

pub(super) use import::batches;

/// List, make, end, export and import the sessions of a running server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Session {
    #[command(flatten)]
    at: At,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List live sessions, by id.
    List {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
    /// Describe a session.
    Show {
        /// Its id.
        id: String,
    },
    /// Make a session; one that is there already stays as it is.
    Create {
        /// Its id.
        id: String,
        /// How long it lives untouched, e.g. 90, 30m, 12h, 7d; without it, for good.
        #[arg(long, value_name = "TIME", value_parser = ttl)]
        ttl: Option<Duration>,
        /// A label; may be given several times.
        #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
        metadata: Vec<(String, String)>,
    },
    /// End sessions and all that they hold.
    Delete {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Print sessions with their variables and kept versions, one JSON object per line.
    #[command(after_help = export::FORMAT)]
    Export {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Print the values of secret variables too, where the server gives them; otherwise they are marked as redacted.
        #[arg(long)]
        with_secrets: bool,
    },
    /// Make the sessions that an export holds and declare their variables with their last values.
    ///
    /// The export is that of `session export` or `data export`. What was before, it does not bring back: that is for
    /// `snakepit data import`, into the directory of a stopped server. If anything is refused, nothing is left behind.
    Import {
        /// The export; - for stdin.
        #[arg(default_value = "-", value_name = "FILE")]
        from: String,
        /// Name the session so; for an export of one.
        #[arg(long = "as", value_name = "ID")]
        rename: Option<String>,
        /// Leave out variables whose values are redacted; otherwise they are refused.
        #[arg(long)]
        without_secrets: bool,
    },
}

impl Session {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { at, json, command } = self;
        let remote = Remote::connect(&at).await?;
        match command {
            Command::List { pattern } => list(&remote, pattern, json).await,
            Command::Show { id } => {
                let session = found(&remote, &id).await?;
                Ok(if json { terminal::object(&as_json(&session)) } else { table::block(&facts(&session)) }?)
            }
            Command::Create { id, ttl, metadata } => {
                let request = CreateSessionRequest {
                    ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
                    metadata: metadata.into_iter().collect(),
                    ..new_life(id)
                };
                let answer = remote.answered(remote.sessions().create_session(timed(request))).await?;
                let session = answer.session.unwrap_or_default();
                if json {
                    let mut object = as_json(&session);
                    object["created"] = json!(answer.created);
                    return Ok(terminal::object(&object)?);
                }
                Ok(terminal::line(&if answer.created {
                    format!("session {} is made", session.id)
                } else {
                    format!("session {} is there already, at revision {}", session.id, session.revision)
                })?)
            }
            Command::Delete { ids } => {
                for id in ids {
                    let request = DeleteSessionRequest { session_id: id.clone(), ..DeleteSessionRequest::default() };
                    let ended = remote.answered(remote.sessions().delete_session(timed(request))).await?;
                    terminal::line(&if json {
                        json!({"session": id, "incarnation": hex(&ended.incarnation), "revision": ended.revision})
                            .to_string()
                    } else {
                        format!("session {id} is ended, at revision {}", ended.revision)
                    })?;
                }
                Ok(())
            }
            Command::Export { ids, with_secrets } => export::run(&remote, &ids, with_secrets).await,
            Command::Import { from, rename, without_secrets } => {
                import::run(&remote, &from, rename, without_secrets, json).await
            }
        }
    }
}

async fn list(remote: &Remote, pattern: String, as_objects: bool) -> Result<(), Failure> {
    let mut request = ListSessionsRequest { pattern, page_size: 1_000, ..ListSessionsRequest::default() };
    let mut all = Vec::new();
    loop {
        let page = remote.answered(remote.sessions().list_sessions(timed(request.clone()))).await?;
        all.extend(page.sessions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if as_objects {
        return Ok(all.iter().try_for_each(|session| terminal::object(&as_json(session)))?);
    }
    let time = |time: &Option<Timestamp>| time.as_ref().map(show::second).unwrap_or_default();
    let row = |it: &Found| {
        let expires = if it.ttl.is_none() { "never".into() } else { time(&it.expires_at) };
        vec![it.id.clone(), it.variable_count.to_string(), it.revision.to_string(), expires, time(&it.created_at)]
    };
    Ok(table::print(&["SESSION", "VARIABLES", "REVISION", "EXPIRES", "CREATED"], all.iter().map(row).collect())?)
}

async fn found(remote: &Remote, id: &str) -> Result<Found, Failure> {
    let request = GetSessionRequest { session_id: id.to_owned() };
    Ok(remote.answered(remote.sessions().get_session(timed(request))).await?.session.unwrap_or_default())
}

/// Opens a session of this id, as a life that no other client has thought of.
pub(super) fn new_life(id: String) -> CreateSessionRequest {
    let incarnation: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    CreateSessionRequest { session_id: id, incarnation: incarnation.to_vec().into(), ..CreateSessionRequest::default() }
}

fn as_json(session: &Found) -> Json {
    json!({
        "session": session.id,
        "incarnation": hex(&session.incarnation),
        "revision": session.revision,
        "variables": session.variable_count,
        "created_at": session.created_at.as_ref().map(Timestamp::to_string),
        "ttl": seconds(session),
        "expires_at": session.expires_at.as_ref().map(Timestamp::to_string),
        "metadata": session.metadata,
    })
}

fn facts(session: &Found) -> Vec<(String, String)> {
    let time = |time: &Option<Timestamp>| time.as_ref().map(Timestamp::to_string).unwrap_or_default();
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("session", session.id.clone()),
        fact("incarnation", hex(&session.incarnation)),
        fact("revision", session.revision.to_string()),
        fact("variables", session.variable_count.to_string()),
        fact("created at", time(&session.created_at)),
        fact("lives untouched", seconds(session).map_or_else(|| "for good".into(), |ttl| format!("{ttl} s"))),
    ];
    if session.expires_at.is_some() {
        facts.push(fact("expires at", time(&session.expires_at)));
    }
    let mut labels: Vec<_> = session.metadata.iter().collect();
    labels.sort();
    facts.extend(labels.into_iter().map(|(key, value)| fact("label", format!("{key}={value}"))));
    facts
}

/// How long it lives untouched.
fn seconds(session: &Found) -> Option<f64> {
    session.ttl.and_then(|ttl| Duration::try_from(ttl).ok()).map(|ttl| ttl.as_secs_f64())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn ttl(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err("takes a time, e.g. 90, 30m, 12h, 7d".into()),
    };
    let seconds: Option<f64> = number.parse().ok().filter(|number| *number > 0.0);
    let time = seconds.and_then(|number| Duration::try_from_secs_f64(number * unit).ok());
    time.ok_or_else(|| "takes a time, e.g. 90, 30m, 12h, 7d".into())
}
