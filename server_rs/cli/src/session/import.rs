use std::{
    fs::File,
    io::{self, BufReader},
};

use prost::Message as _;
use serde_json::json;
use snakepit_core::value::Value;
use snakepit_proto::{
    v1 as proto,
    v1::{CreateSessionRequest, DeleteSessionRequest, GetServerInfoRequest, ListSessionsRequest, Operation},
};
use snakepit_server::journal::sqlite::Archived;

use crate::{
    Failure, data,
    output::{progress::Progress, terminal},
    remote::{Remote, timed},
    session::new_life,
    var::declared,
};

pub(super) async fn run(
    remote: &Remote,
    from: &str,
    rename: Option<String>,
    without_secrets: bool,
    as_objects: bool,
) -> Result<(), Failure> {
    let mut sessions = read(from, without_secrets)?;
    if let Some(id) = rename {
        let [only] = &mut sessions[..] else {
            return Err(Failure::failed(format!("--as names one session; the export has {}", sessions.len())));
        };
        only.session =
            snakepit_core::session::SessionId::parse(&id).map_err(|error| Failure::failed(error.to_string()))?;
    }
    for session in &sessions {
        free(remote, &session.session).await?;
    }
    let mut made = Vec::new();
    for session in &sessions {
        if let Err(failure) = import(remote, session, &mut made).await {
            for life in made {
                // What went wrong first is what is told.
                drop(remote.sessions().delete_session(timed(life)).await);
            }
            return Err(failure);
        }
    }
    for Archived { session, kept } in &sessions {
        let variables = kept.specs.len();
        terminal::line(&if as_objects {
            terminal::json(&json!({"session": &**session, "variables": variables}))
        } else {
            format!("session {} is made, with {variables} variables", &**session)
        })?;
    }
    Ok(())
}

fn read(from: &str, without_secrets: bool) -> Result<Vec<Archived>, Failure> {
    if from == "-" {
        return data::read(io::stdin().lock(), without_secrets, false);
    }
    let file = File::open(from).map_err(|error| {
        Failure::failed(format!("cannot read {from:?}: {error}; give it what `snakepit session export` printed"))
    })?;
    data::read(BufReader::new(file), without_secrets, false)
}

/// Refuses an id that is in use, before anything is made.
async fn free(remote: &Remote, id: &str) -> Result<(), Failure> {
    let request = ListSessionsRequest { pattern: id.to_owned(), ..ListSessionsRequest::default() };
    let found = remote.answered(remote.sessions().list_sessions(timed(request))).await?;
    if found.sessions.is_empty() {
        return Ok(());
    }
    Err(in_use(id))
}

fn in_use(id: &str) -> Failure {
    Failure::failed(format!(
        "session {id} is there already; nothing was imported. Import it as another with --as ID, or end this one with \
         `snakepit session delete {id}`"
    ))
}

/// Makes one session; what has to be ended if this fails is in `made`.
async fn import(remote: &Remote, from: &Archived, made: &mut Vec<DeleteSessionRequest>) -> Result<(), Failure> {
    let Archived { session, kept } = from;
    let life = CreateSessionRequest {
        ttl: kept.ttl.and_then(|ttl| ttl.try_into().ok()),
        metadata: kept.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        ..new_life(session.to_string())
    };
    let incarnation = life.incarnation.clone();
    let created = remote.answered(remote.sessions().create_session(timed(life))).await?.created;
    if !created {
        return Err(in_use(session));
    }
    made.push(DeleteSessionRequest { session_id: session.to_string(), incarnation });
    let operations = kept.specs.iter().map(|(name, spec)| {
        let newest = kept.versions.get(name).and_then(|versions| versions.last());
        let value = newest.and_then(|newest| newest.value.clone()).unwrap_or(Value::Null);
        let declared = declared(proto::VariableSpec::from(&**spec), proto::Value::from(&value), false);
        Operation { name: name.to_string(), expected_version: None, action: Some(declared) }
    });
    let info = remote.answered(remote.server().get_server_info(timed(GetServerInfoRequest {}))).await?;
    let limits = info.limits.unwrap_or_default();
    let mut progress = Progress::of(&format!("importing {}", &**session), kept.specs.len());
    for batch in batches(operations, &limits) {
        let count = batch.len();
        remote.write(session, batch, "imported").await?;
        progress.step(count);
    }
    Ok(())
}

/// As few batches as the server's limits allow.
pub(crate) fn batches(operations: impl IntoIterator<Item = Operation>, limits: &proto::Limits) -> Vec<Vec<Operation>> {
    /// For the request around the operations.
    const AROUND: u64 = 4_096;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    for operation in operations {
        // With its tag and length.
        let size = operation.encoded_len() as u64 + 8;
        let last: Option<&mut Vec<Operation>> = batches.last_mut();
        match last {
            Some(batch)
                if (batch.len() as u64) < limits.batch_operations && bytes + size + AROUND <= limits.batch_bytes =>
            {
                bytes += size;
                batch.push(operation);
            }
            Some(_) | None => {
                bytes = size;
                batches.push(vec![operation]);
            }
        }
    }
    batches
}
