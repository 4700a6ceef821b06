use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _},
};

use prost_types::Timestamp;
use serde_json::{Map, Value as Json, json};
use snakepit_proto::v1::{Author, ChangeKind, GetVariablesRequest, Session as Found, Value, Variable, VariableVersion};

use crate::{
    Failure,
    data::HEADER,
    output::{json as values, progress::Progress, terminal},
    remote::{Remote, timed},
    session::{found, hex, seconds},
    show, spec,
};

pub(super) const FORMAT: &str = "The lines are those of `snakepit data export`, and `snakepit data import` takes them. The versions of names that do not
exist any more are not among them, nor are earlier values of secrets.";

/// How often a session is read again that was written meanwhile. After that its variables may be of different revisions.
const TRIES: u32 = 5;
/// Values of secrets asked for at once.
const SECRETS: usize = 100;

pub(super) async fn run(remote: &Remote, ids: &[String], with_secrets: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout());
    writeln!(out, "{}", terminal::json(&json!({"kind": HEADER, "format": 1})))?;
    for id in ids {
        session(remote, id, with_secrets, &mut out).await?;
    }
    Ok(out.flush()?)
}

async fn session(remote: &Remote, id: &str, with_secrets: bool, out: &mut impl io::Write) -> Result<(), Failure> {
    let (variables, revision) = at_one_revision(remote, id).await?;
    let session = found(remote, id).await?;
    let secrets = if with_secrets { secrets(remote, id, &variables).await? } else { HashMap::new() };
    writeln!(out, "{}", terminal::json(&of_session(&session, revision, &variables)))?;
    let mut progress = Progress::of_printing(&format!("exporting {id}"), variables.len());
    for mut variable in variables {
        let secret = variable.spec.as_ref().is_some_and(|spec| spec.secret);
        if let Some(now) = secrets.get(&variable.name) {
            variable = now.clone();
        }
        let versions = remote.versions(id, &variable.name, usize::MAX).await?;
        // Newer ones were written after the variables were read; of a secret, only its value now is given.
        let past = versions.into_iter().rev().filter(|it| it.version < variable.version);
        for version in past.filter(|_| !(secret && with_secrets)) {
            writeln!(out, "{}", terminal::json(&Json::Object(of_version(id, &variable.name, &version, secret))))?;
        }
        writeln!(out, "{}", terminal::json(&Json::Object(of_variable(id, &variable, secret))))?;
        progress.step(1);
    }
    Ok(())
}

/// The variables, and the revision that all of them were read at, if writers allow it.
async fn at_one_revision(remote: &Remote, id: &str) -> Result<(Vec<Variable>, u64), Failure> {
    let mut tries = 0;
    loop {
        let (variables, (first, last)) = remote.list(id, "").await?;
        tries += 1;
        if first == last || tries == TRIES {
            if first != last {
                eprintln!("snakepit: {id} is written all the time: its variables are of revisions {first} to {last}");
            }
            return Ok((variables, last));
        }
    }
}

/// The secret variables with their values, by name.
async fn secrets(remote: &Remote, id: &str, variables: &[Variable]) -> Result<HashMap<String, Variable>, Failure> {
    let withheld: Vec<_> = variables.iter().filter(|it| it.redacted).map(|it| it.name.clone()).collect();
    let mut given = HashMap::new();
    for names in withheld.chunks(SECRETS) {
        let request = GetVariablesRequest {
            session_id: id.to_owned(),
            names: names.to_vec(),
            allow_missing: true,
            ..GetVariablesRequest::default()
        };
        let answer = remote.answered(remote.variables().get_variables(timed(request))).await?;
        given.extend(answer.variables.into_iter().map(|variable| (variable.name.clone(), variable)));
    }
    Ok(given)
}

fn of_session(session: &Found, revision: u64, variables: &[Variable]) -> Json {
    let created = session.created_at.as_ref();
    let last = variables.iter().filter_map(|it| it.updated_at.as_ref()).chain(created).max_by_key(|it| {
        // Both are within what a clock tells.
        (it.seconds, it.nanos)
    });
    json!({
        "kind": "session",
        "session": session.id,
        "incarnation": hex(&session.incarnation),
        "revision": revision,
        "created_at": created.map(Timestamp::to_string),
        "last_event": last.map(Timestamp::to_string),
        "ttl": seconds(session),
        "metadata": session.metadata,
        // Nothing is known of names that were deleted; none of them has had more versions than there were writes.
        "forgotten": {"revision": revision, "version": revision},
    })
}

fn of_version(session: &str, name: &str, it: &VariableVersion, secret: bool) -> Map<String, Json> {
    let deleted = it.kind() == ChangeKind::Deleted;
    let mut line = beginning("version", session, name, it.value.as_ref(), it.redacted && !deleted);
    line.extend(ending(show::kind(it.kind()), it.version, it.revision, it.updated_at.as_ref()));
    line.extend(why(it.updated_by.as_ref(), &it.reason, secret || it.redacted));
    line
}

fn of_variable(session: &str, it: &Variable, secret: bool) -> Map<String, Json> {
    let mut line = beginning("variable", session, &it.name, it.value.as_ref(), it.redacted);
    let change = if it.version == 1 { "registered" } else { "set" };
    line.extend(ending(change, it.version, it.revision, it.updated_at.as_ref()));
    line.extend(why(it.updated_by.as_ref(), &it.reason, secret));
    line.insert("spec".into(), spec::of(&it.spec.clone().unwrap_or_default()));
    line
}

fn beginning(kind: &str, session: &str, name: &str, value: Option<&Value>, redacted: bool) -> Map<String, Json> {
    let mut line = Map::new();
    line.insert("kind".into(), json!(kind));
    line.insert("session".into(), json!(session));
    line.insert("name".into(), json!(name));
    match value {
        Some(value) => line.insert("value".into(), values::of(value)),
        None if redacted => line.insert("redacted".into(), json!(true)),
        None => None,
    };
    line
}

fn ending(change: &str, version: u64, revision: u64, at: Option<&Timestamp>) -> [(String, Json); 4] {
    [
        ("change".into(), json!(change)),
        ("version".into(), json!(version)),
        ("revision".into(), json!(revision)),
        ("at".into(), json!(at.map(Timestamp::to_string))),
    ]
}

fn why(by: Option<&Author>, reason: &str, secret: bool) -> [(String, Json); 4] {
    [
        ("by".into(), json!(by.map(|by| &by.name))),
        ("verified".into(), json!(by.is_some_and(|by| by.verified))),
        ("reason".into(), json!(reason)),
        ("secret".into(), json!(secret)),
    ]
}
