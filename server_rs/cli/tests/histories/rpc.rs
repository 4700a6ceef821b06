//! Calls as clients make them, and what their answers mean.

use std::{future::Future, time::Duration};

use prost::bytes::Bytes;
use snakepit_proto::v1::{
    GetVariablesRequest, ListVariableVersionsRequest, ListVariablesRequest, OperationOutcome, SyncVariablesRequest,
    WriteVariablesRequest,
};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::{
    client::Shared,
    history::{Answer, Asked, Refusal, Said},
};

/// How long an answer may take before it counts as unknown.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an rpc may take, and who cancels it then.
#[derive(Clone, Copy, Debug)]
pub enum Deadline {
    Patient,
    /// Server and client know of it.
    Told(Duration),
    /// The client goes away.
    Untold(Duration),
}

/// Asks once.
pub async fn ask(shared: &Shared, asked: &Asked, deadline: Deadline) -> Answer {
    let (session_id, incarnation) = (shared.session.clone(), shared.incarnation.clone());
    let mut client = shared.links.variables();
    match asked.clone() {
        Asked::Write(write) => {
            let request = WriteVariablesRequest {
                session_id,
                incarnation,
                operations: write.operations.clone(),
                reason: write.tag.clone(),
                author: write.author.clone(),
                client_id: write.author.clone(),
                idempotency_key: write.key.clone(),
            };
            let rpc = within(deadline, request, |request| client.write_variables(request));
            // Nothing is a secret here. What is no longer kept may have been one, and a late repeat says so.
            let plain = |it| OperationOutcome { secret: false, ..it };
            told(rpc.await, |it| {
                (it.revision, it.incarnation, Said::Written(it.outcomes.into_iter().map(plain).collect()))
            })
        }
        Asked::Get { names, allow_missing } => {
            let request = GetVariablesRequest { session_id, incarnation, names, allow_missing };
            let rpc = within(deadline, request, |request| client.get_variables(request));
            let said = |variables, absent| Said::Got { variables, absent };
            told(rpc.await, |it| (it.revision, it.incarnation, said(it.variables, it.absent)))
        }
        Asked::Sync { known: known_revision, names, new_names } => {
            let request = SyncVariablesRequest { session_id, incarnation, known_revision, names, new_names };
            let rpc = within(deadline, request, |request| client.sync_variables(request));
            told(rpc.await, |it| (it.revision, it.incarnation.clone(), Said::Synced(it.into())))
        }
        Asked::List { token: page_token, size: page_size, .. } => {
            let pattern = String::new();
            let request = ListVariablesRequest { session_id, incarnation, pattern, page_size, page_token };
            let rpc = within(deadline, request, |request| client.list_variables(request));
            told(rpc.await, |it| {
                let token = (!it.next_page_token.is_empty()).then_some(it.next_page_token);
                (it.revision, it.incarnation, Said::Listed { variables: it.variables, token })
            })
        }
        Asked::Versions { name } => {
            let (page_size, page_token) = (1_000, String::new());
            let request = ListVariableVersionsRequest { session_id, incarnation, name, page_size, page_token };
            let rpc = within(deadline, request, |request| client.list_variable_versions(request));
            told(rpc.await, |it| (it.revision, it.incarnation, Said::Versions(it.versions)))
        }
    }
}

async fn within<Q, A, F>(
    deadline: Deadline,
    request: Q,
    rpc: impl FnOnce(Request<Q>) -> F,
) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let mut request = Request::new(request);
    let patience = match deadline {
        Deadline::Patient => PATIENCE,
        Deadline::Told(time) => {
            request.set_timeout(time);
            PATIENCE
        }
        Deadline::Untold(time) => time,
    };
    let answer = tokio::time::timeout(patience, rpc(request)).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("given up")))
}

fn told<A>(answer: Result<Response<A>, Status>, said: impl FnOnce(A) -> (u64, Bytes, Said)) -> Answer {
    match answer {
        Ok(response) => {
            let (revision, incarnation, said) = said(response.into_inner());
            Answer::At { revision, incarnation, said }
        }
        Err(status) => match refusal(&status) {
            None => Answer::Unknown(format!("{:?} {}", status.code(), status.message())),
            Some(refusal) if refusal.reason == "OUTCOME_UNKNOWN" => Answer::Unknown(refusal.reason),
            Some(refusal) if refusal.reason == "SERVER_READ_ONLY" => Answer::NotApplied(refusal.reason),
            Some(refusal) => {
                // One without a revision is behind everything, and is reported so.
                let revision = refusal.facts.get("revision").and_then(|it| it.parse().ok()).unwrap_or_default();
                let incarnation = refusal.facts.get("incarnation").map(|it| unhex(it)).unwrap_or_default();
                Answer::At { revision, incarnation, said: Said::Refused(refusal) }
            }
        },
    }
}

/// Why the server refuses, if it does. Any other status means that the server or the way to it failed.
pub fn refusal(status: &Status) -> Option<Refusal> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == "snakepit_bridge.v1")?;
    let facts = info.metadata.iter().map(|(name, fact)| (name.clone(), fact.clone())).collect();
    Some(Refusal { reason: info.reason.clone(), facts })
}

fn unhex(text: &str) -> Bytes {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default()).collect()
}
