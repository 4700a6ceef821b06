use std::io::{self, BufWriter, Write as _};

use prost_types::Timestamp as Time;
use serde_json::{Value as Json, json};
use snakepit_core::{
    session::{Kept, RecordKind, VersionRecord},
    value::Value,
    variable::{Spec, Timestamp},
};
use snakepit_proto::v1 as proto;
use snakepit_server::journal::sqlite::Archived;

use crate::{
    output::{json as values, progress::Progress, terminal},
    spec,
};

pub(super) const FORMAT: &str = r#"For each session one line that says what it is, then for each name its versions, oldest first:
  {"kind": "session", "session": ID, "incarnation": HEX, "revision": N, ...}
  {"kind": "version", "session": ID, "name": NAME, "value": VALUE, "version": N, "change": "registered"|"set"|"deleted", ...}
  {"kind": "variable", "session": ID, "name": NAME, "value": VALUE, "version": N, "spec": {...}, ...}
The newest version of a variable that exists is its "variable" line. A deletion has no value; a secret's is left out and
"redacted" is true, unless asked for with --with-secrets.
Values are written as `snakepit var --help` says."#;

/// The first line: what this is.
pub(crate) const HEADER: &str = "snakepit export";

pub(super) fn print(sessions: &[Archived], with_secrets: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", terminal::json(&json!({"kind": HEADER, "format": 1})))?;
    let names = sessions.iter().map(|it| it.kept.versions.len()).sum();
    let mut progress = Progress::of_printing("exporting", names);
    for Archived { session, kept } in sessions {
        writeln!(out, "{}", terminal::json(&of_session(session, kept)))?;
        for (name, versions) in &kept.versions {
            progress.step(1);
            let spec = kept.specs.get(name);
            let Some((newest, earlier)) = versions.split_last() else { continue };
            let secret = spec.is_some_and(|spec| spec.secret);
            let key = [("session", json!(&**session)), ("name", json!(&**name))];
            let line = |kind: &str, record: &VersionRecord| {
                let hidden = (secret || record.secret) && !with_secrets;
                let mut line = serde_json::Map::from_iter([("kind".to_owned(), json!(kind))]);
                line.extend(key.clone().map(|(key, value)| (key.to_owned(), value)));
                line.extend(of_version(record, hidden));
                line
            };
            for record in earlier {
                writeln!(out, "{}", terminal::json(&Json::Object(line("version", record))))?;
            }
            match spec {
                Some(spec) => {
                    let mut line = line("variable", newest);
                    line.insert("spec".into(), of_spec(spec));
                    writeln!(out, "{}", terminal::json(&Json::Object(line)))?;
                }
                None => writeln!(out, "{}", terminal::json(&Json::Object(line("version", newest))))?,
            }
        }
    }
    out.flush()
}

fn of_session(session: &str, kept: &Kept) -> Json {
    json!({
        "kind": "session",
        "session": session,
        "incarnation": kept.incarnation.to_string(),
        "revision": kept.revision,
        "created_at": time(kept.created_at),
        "last_event": time(kept.last_event),
        "ttl": kept.ttl.map(|ttl| ttl.as_secs_f64()),
        "metadata": *kept.metadata,
        "forgotten": {"revision": kept.forgotten.revision, "version": kept.forgotten.version},
    })
}

fn of_version(record: &VersionRecord, hidden: bool) -> impl Iterator<Item = (String, Json)> {
    let change = match record.kind {
        RecordKind::Registered => "registered",
        RecordKind::Set => "set",
        RecordKind::Deleted => "deleted",
    };
    let value = |value: &Value| ("value", values::of(&proto::Value::from(value)));
    let redacted = ("redacted", json!(true));
    let shown = record.value.as_ref().map(|it| if hidden { redacted } else { value(it) });
    let rest = [
        ("change", json!(change)),
        ("version", json!(record.version)),
        ("revision", json!(record.revision)),
        ("at", json!(time(record.time))),
        ("by", json!(*record.author.name)),
        ("verified", json!(record.author.verified)),
        ("reason", json!(*record.reason)),
        ("secret", json!(record.secret)),
    ];
    shown.into_iter().chain(rest).map(|(key, value)| (key.to_owned(), value))
}

fn of_spec(spec: &Spec) -> Json {
    spec::of(&proto::VariableSpec::from(spec))
}

fn time(time: Timestamp) -> String {
    let (seconds, micros) = (time.0 / 1_000_000, time.0 % 1_000_000);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Time { seconds, nanos: i32::try_from(micros * 1_000).unwrap_or_default() }.to_string()
}
