//! Reading by name, in pages, and back in time.

use std::collections::BTreeMap;

use snakepit_core::access::{Principal, Role};
use snakepit_proto::v1::{
    ChangeKind, GetVariablesRequest, ListVariableVersionsRequest, ListVariableVersionsResponse, ListVariablesRequest,
    ListVariablesResponse, RollbackOperation, Variable, VariableSpec, VariableType, WatchMode, operation::Action,
    value::Kind, watch_variables_response::Event,
};
use snakepit_server::server::Server;
use tonic::Status;

use crate::support::setup::*;

async fn list(session: &TestSession, request: ListVariablesRequest) -> Result<ListVariablesResponse, Status> {
    let request = ListVariablesRequest { session_id: session.id.clone(), ..request };
    session.variables.clone().list_variables(request).await.map(tonic::Response::into_inner)
}

/// All pages of a list, and how many there were.
async fn pages(session: &TestSession, pattern: &str, page_size: u32) -> (Vec<Variable>, usize) {
    let (mut all, mut count, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let page = list(
            session,
            ListVariablesRequest { pattern: pattern.into(), page_size, page_token, ..Default::default() },
        );
        let page = page.await.unwrap();
        all.extend(page.variables);
        count += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (all, count);
        }
    }
}

fn names(variables: &[Variable]) -> Vec<&str> {
    variables.iter().map(|variable| &*variable.name).collect()
}

async fn versions(
    session: &TestSession,
    request: ListVariableVersionsRequest,
) -> Result<ListVariableVersionsResponse, Status> {
    let request = ListVariableVersionsRequest { session_id: session.id.clone(), ..request };
    session.variables.clone().list_variable_versions(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_read_by_name_keeps_the_order_asked_for_and_lists_what_is_absent() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "b", "c"]).await;
    let request = GetVariablesRequest {
        session_id: session.id.clone(),
        names: texts(&["c", "missing", "a"]),
        allow_missing: true,
        ..Default::default()
    };
    let read = session.variables.clone().get_variables(request.clone()).await.unwrap().into_inner();
    assert_eq!((names(&read.variables), read.absent), (vec!["c", "a"], texts(&["missing"])));
    assert_eq!((read.revision, &read.incarnation[..]), (2, &session.incarnation[..]));
    let strict = GetVariablesRequest { allow_missing: false, ..request };
    assert_eq!(refused(session.variables.clone().get_variables(strict).await).fact("variable"), "missing");
}

#[tokio::test]
async fn a_variable_says_who_changed_it_when_and_why() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let write = session.write_of([register("n", VariableType::Integer, int(1))]);
    let write = snakepit_proto::v1::WriteVariablesRequest { reason: "why".into(), author: "ada".into(), ..write };
    session.send(write).await.unwrap();
    let variable = session.get("n").await.unwrap();
    let author = variable.updated_by.unwrap();
    assert_eq!((&*author.name, author.verified, &*variable.reason), ("ada", false, "why"));
    assert_eq!((variable.version, variable.revision), (1, 2));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let age = i64::try_from(now).unwrap() - variable.updated_at.unwrap().seconds;
    assert!((-1..60).contains(&age), "{age}");
}

#[tokio::test]
async fn a_list_comes_in_pages_by_name_without_gap_or_repeat() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let all: Vec<String> = (0..250).map(|n| format!("v{n:03}")).collect();
    session.integers(all.iter().map(String::as_str)).await;
    for (size, count) in [(0, 3), (1, 250), (100, 3), (250, 1), (1_000, 1)] {
        let (variables, pages) = pages(&session, "", size).await;
        assert_eq!((names(&variables), pages), (all.iter().map(String::as_str).collect(), count), "{size}");
    }
    let (some, _) = pages(&session, "v?0*", 7).await;
    let expected = all.iter().filter(|name| &name[2..3] == "0").count();
    assert_eq!(some.len(), expected);
}

#[tokio::test]
async fn a_glob_is_anchored_and_everything_but_star_and_question_mark_is_itself() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a.b", "axb", "aab", "xa.b"]).await;
    for (pattern, expected) in
        [("a.b", vec!["a.b"]), ("a?b", vec!["a.b", "aab", "axb"]), ("*.b", vec!["a.b", "xa.b"]), ("[a]*", vec![])]
    {
        assert_eq!(names(&pages(&session, pattern, 0).await.0), expected, "{pattern}");
    }
}

#[tokio::test]
async fn a_page_closes_before_it_outgrows_what_clients_accept_by_default() {
    let server = TestServer::start().await;
    let session = server.session().await;
    for name in ["a", "b", "c", "d", "e"] {
        let value = of(Kind::BytesValue(vec![1; 1_500_000].into()));
        session.write([register(name, VariableType::Bytes, value)]).await;
    }
    let page = list(&session, ListVariablesRequest::default()).await.unwrap();
    assert_eq!(names(&page.variables), ["a", "b"]);
    assert!(prost::Message::encoded_len(&page) < 4 * 1024 * 1024);
    assert_eq!(pages(&session, "", 0).await.0.len(), 5);
}

#[tokio::test]
async fn a_page_token_of_nowhere_and_a_page_too_big_are_refused() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for page_token in ["%", "bm90IGEgbmFtZQ", "_w"] {
        let request = ListVariablesRequest { page_token: page_token.into(), ..Default::default() };
        assert_eq!(refused(list(&session, request).await).fact("field"), "page_token");
    }
    let too_big = ListVariablesRequest { page_size: 1_001, ..Default::default() };
    assert_eq!(refused(list(&session, too_big).await).fact("field"), "page_size");
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_survive_a_deletion() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for value in 1..5 {
        session.write([set("n", int(value))]).await;
    }
    session.write([delete("n")]).await;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListVariableVersionsRequest { name: "n".into(), page_size: 2, page_token, ..Default::default() };
        let page = versions(&session, request).await.unwrap();
        all.extend(page.versions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = all.iter().map(|it| (it.version, it.revision, it.kind(), it.value.clone())).collect();
    let set = |version: u64, value| (version, version + 1, ChangeKind::Set, Some(int(value)));
    let registered = (1, 2, ChangeKind::Registered, Some(int(0)));
    assert_eq!(told, [(6, 7, ChangeKind::Deleted, None), set(5, 4), set(4, 3), set(3, 2), set(2, 1), registered]);
    let unknown = ListVariableVersionsRequest { name: "m".into(), ..Default::default() };
    assert_eq!(refused(versions(&session, unknown).await).reason, "VARIABLE_NOT_FOUND");
}

#[tokio::test]
async fn a_rollback_makes_a_new_version_of_an_old_value() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    session.write([set("n", int(5))]).await;
    let rollback = |version| operation("n", Action::Rollback(RollbackOperation { version }));
    let outcome = session.write([rollback(1)]).await.outcomes.remove(0);
    assert_eq!((outcome.version, outcome.changed, outcome.value), (3, true, Some(int(0))));
    let refused = session.refused([rollback(99)]).await;
    assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "version"));
}

fn secret() -> VariableSpec {
    VariableSpec { secret: true, ..spec(VariableType::Integer) }
}

#[tokio::test]
async fn lists_and_histories_never_show_a_secret() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.write([register_as("key", secret(), int(42)), register("n", VariableType::Integer, int(1))]).await;
    let (variables, _) = pages(&session, "", 0).await;
    let shown: BTreeMap<_, _> = variables.into_iter().map(|it| (it.name, (it.value, it.redacted))).collect();
    assert_eq!(shown["key"], (None, true));
    assert_eq!(shown["n"], (Some(int(1)), false));
    let history = ListVariableVersionsRequest { name: "key".into(), ..Default::default() };
    let version = versions(&session, history).await.unwrap().versions.remove(0);
    assert_eq!((version.value, version.redacted), (None, true));
    assert_eq!(session.value("key").await, int(42).kind.unwrap(), "who may read secrets reads it by name");
    let mut told = session.sync(0, &["key", "n"], &[]).await.unwrap().changed;
    told.sort_by(|one, other| one.name.cmp(&other.name));
    let told: Vec<_> = told.into_iter().map(|it| (it.value, it.redacted, it.secret)).collect();
    assert_eq!(told, [(Some(int(42)), false, true), (Some(int(1)), false, false)], "a mirror knows which not to print");
}

#[tokio::test]
async fn without_the_right_to_secrets_their_values_are_shown_nowhere() {
    let principal = Principal::anonymous().without(Role::ReadSecret);
    let server = TestServer::of(Server::builder().principal(principal)).await;
    let session = server.session().await;
    session.write([register_as("key", secret(), int(42))]).await;
    let variable = session.get("key").await.unwrap();
    assert_eq!((variable.value, variable.redacted), (None, true));
    let state = session.sync(0, &["key"], &[]).await.unwrap().changed.remove(0);
    assert_eq!((state.value, state.redacted, state.secret), (None, true, true));
    let mut latest = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    let mut every = session.watch(session.watch_of(WatchMode::Every)).await.unwrap();
    every.message().await.unwrap();
    let Some(Event::Latest(told)) = latest.message().await.unwrap().unwrap().event else { panic!("no state") };
    assert_eq!(told.changed[0].value, None);
    let refused = session.refused([increment("key", 1)]).await;
    assert_eq!(refused.fact("role"), "read_secret", "adding to a secret is no way to read it");
    let outcome = session.write([set("key", int(42))]).await.outcomes.remove(0);
    assert_eq!((outcome.changed, outcome.version), (true, 2), "nor is setting it to a guess");
    let Some(Event::Changes(told)) = every.message().await.unwrap().unwrap().event else { panic!("no change") };
    let variable = told.changes[0].variable.as_ref().unwrap();
    assert_eq!((variable.value.clone(), variable.redacted, variable.version), (None, true, 2));
}
