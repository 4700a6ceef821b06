//! `snakepit status`: what a server says of itself.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use snakepit_proto::v1::{Durability, GetServerInfoRequest, GetServerInfoResponse, ListSessionsRequest};

use crate::{
    EXIT_CODES, Failure,
    output::{table, terminal},
    remote::{Remote, client::At, timed},
};

/// Sessions are counted up to here: counting all would take as long as listing them.
const COUNTED: u32 = 1_000;

/// Tell what a server is, what it accepts and how it fares.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Status {
    #[command(flatten)]
    at: At,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let remote = Remote::connect(&self.at).await?;
        let began = Instant::now();
        let info = remote.answered(remote.server().get_server_info(timed(GetServerInfoRequest {}))).await?;
        let latency = began.elapsed();
        let request = ListSessionsRequest { page_size: COUNTED, ..ListSessionsRequest::default() };
        let listed = remote.answered(remote.sessions().list_sessions(timed(request))).await?;
        let (sessions, more) = (listed.sessions.len(), !listed.next_page_token.is_empty());
        if self.json {
            let object = json!({
                "address": remote.address,
                "version": info.version,
                "api_version": info.api_version,
                "durability": durability(&info),
                "insecure": info.insecure,
                "read_only_cause": info.read_only_cause,
                "heartbeat": heartbeat(&info),
                "sessions": sessions,
                "more_sessions": more,
                "latency": latency.as_secs_f64(),
                "limits": Json::Object(limits(&info).map(|(name, value)| (name.to_owned(), json!(value))).collect()),
            });
            return Ok(terminal::object(&object)?);
        }
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let writes = if info.read_only_cause.is_empty() {
            "accepted".into()
        } else {
            format!("refused: {}; `snakepit doctor` says more", info.read_only_cause)
        };
        let survives = match info.durability() {
            Durability::Ephemeral => "none: sessions end with the server",
            Durability::Disk => "disk: what is acknowledged survives a crash of the machine",
            Durability::Unspecified => "unknown to this client",
        };
        let mut facts = vec![
            fact("address", remote.address.clone()),
            fact("server", format!("snakepit {}, protocol {}", info.version, info.api_version)),
            fact("durability", survives.into()),
            fact("writes", writes),
            fact("sessions", if more { format!("more than {sessions}") } else { sessions.to_string() }),
            fact(
                "open to",
                if info.insecure { "anyone who reaches it" } else { "this machine, or whom it knows" }.into(),
            ),
            fact("heartbeat", format!("{} s", heartbeat(&info).unwrap_or_default())),
            fact("latency", format!("{:.2} ms", latency.as_secs_f64() * 1e3)),
        ];
        facts.extend(limits(&info).map(|(name, value)| fact(&format!("limit {name}"), limit(name, value))));
        Ok(table::block(&facts)?)
    }
}

pub(super) fn durability(info: &GetServerInfoResponse) -> &'static str {
    match info.durability() {
        Durability::Ephemeral => "ephemeral",
        Durability::Disk => "disk",
        Durability::Unspecified => "unknown",
    }
}

fn heartbeat(info: &GetServerInfoResponse) -> Option<f64> {
    info.heartbeat_interval.and_then(|it| Duration::try_from(it).ok()).map(|it| it.as_secs_f64())
}

/// The one limit that is off by default says so.
fn limit(name: &str, value: u64) -> String {
    if name == "requests_per_second" && value == 0 { "none".into() } else { value.to_string() }
}

fn limits(info: &GetServerInfoResponse) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let it = info.limits.unwrap_or_default();
    [
        ("value_bytes", it.value_bytes),
        ("session_value_bytes", it.session_value_bytes),
        ("variables_per_session", it.variables_per_session),
        ("sessions", it.sessions),
        ("batch_operations", it.batch_operations),
        ("batch_bytes", it.batch_bytes),
        ("message_bytes", it.message_bytes),
        ("streams_per_connection", it.streams_per_connection),
        ("watchers_per_session", it.watchers_per_session),
        ("tools_per_session", it.tools_per_session),
        ("queued_calls_per_tool", it.queued_calls_per_tool),
        ("tool_schema_bytes", it.tool_schema_bytes),
        ("requests_per_second", it.requests_per_second),
    ]
    .into_iter()
}
