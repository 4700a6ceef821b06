//! Every reason that this server can answer, with its code and its facts.

use std::time::Duration;

use snakepit_core::{
    access::{Principal, Role},
    config::{Limits, Windows},
};
use snakepit_proto::v1::{
    Constraints, ErrorReason, FloatConstraints, GetServerInfoRequest, GetSessionRequest, GetVariablesRequest,
    StringConstraints, VariableSpec, VariableType, WatchMode, WatchVariablesRequest, WriteVariablesRequest,
    constraints::Kind as Limit, server_service_client::ServerServiceClient,
};
use snakepit_server::{
    journal::{CommitError, testing::Faulty},
    server::Server,
};
use tonic::{Code, Request};

use crate::support::setup::*;

fn is(refused: &Refused, code: Code, reason: ErrorReason) {
    assert_eq!((refused.code, format!("ERROR_REASON_{}", refused.reason)), (code, reason.as_str_name().to_owned()));
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    let answer = session.sessions.get_session(GetSessionRequest { session_id: "nowhere".into() }).await;
    let refused = refused(answer);
    is(&refused, Code::NotFound, ErrorReason::SessionNotFound);
    assert_eq!(refused.fact("session"), "nowhere");
}

#[tokio::test]
async fn another_life_of_a_session_is_expired() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let write = session.write_of([set("n", int(1))]);
    let stale = WriteVariablesRequest { incarnation: incarnation().into(), ..write };
    let refused = refused(session.send(stale).await);
    is(&refused, Code::NotFound, ErrorReason::SessionExpired);
    assert_eq!((refused.fact("session"), refused.fact("revision")), (&*session.id, "2"));
}

#[tokio::test]
async fn an_unknown_variable_is_not_found_and_the_closest_names_are_told() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["llm_temperature", "other"]).await;
    for answer in [refused(session.get("llm_temprature").await), session.refused([set("llm_temprature", int(1))]).await]
    {
        is(&answer, Code::NotFound, ErrorReason::VariableNotFound);
        assert_eq!(answer.fact("variable"), "llm_temprature");
        assert_eq!(answer.fact("closest"), "llm_temperature");
        assert_eq!(answer.fact("revision"), "2");
        assert_eq!(answer.fact("incarnation").len(), 32);
    }
}

#[tokio::test]
async fn a_variable_of_another_spec_exists() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let refused = session.refused([register("n", VariableType::Float, float(0.0))]).await;
    is(&refused, Code::AlreadyExists, ErrorReason::VariableExists);
    assert_eq!((refused.fact("session"), refused.fact("variable")), (&*session.id, "n"));
}

#[tokio::test]
async fn a_value_of_another_type_is_a_mismatch() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let refused = session.refused([set("n", float(1.0))]).await;
    is(&refused, Code::InvalidArgument, ErrorReason::TypeMismatch);
    let facts = ["variable", "expected", "got", "operation"].map(|name| refused.fact(name));
    assert_eq!(facts, ["n", "integer", "float", "0"]);
}

#[tokio::test]
async fn a_value_outside_its_range_violates_a_constraint() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let limits = Limit::Float(FloatConstraints { max: Some(2.0), ..Default::default() });
    let constrained =
        VariableSpec { constraints: Some(Constraints { kind: Some(limits) }), ..spec(VariableType::Float) };
    session.write([register_as("t", constrained, float(1.0)), register("n", VariableType::Integer, int(0))]).await;
    let refused = session.refused([set("n", int(5)), set("t", float(2.5))]).await;
    is(&refused, Code::InvalidArgument, ErrorReason::ConstraintViolated);
    assert_eq!((refused.fact("variable"), refused.fact("value"), refused.fact("operation")), ("t", "2.5", "1"));
    assert!(refused.fact("constraint").starts_with("max=2"));
    assert_eq!(session.value("n").await, int(0).kind.unwrap(), "a batch is all or nothing");
}

#[tokio::test]
async fn the_value_of_a_secret_is_in_no_refusal() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let limits = Limit::String(StringConstraints { max_length: Some(8), ..Default::default() });
    let secret = VariableSpec {
        secret: true,
        constraints: Some(Constraints { kind: Some(limits) }),
        ..spec(VariableType::String)
    };
    session.write([register_as("key", secret, text("x"))]).await;
    let status = session.send(session.write_of([set("key", text("sk-123456789"))])).await.unwrap_err();
    assert!(!format!("{status:?}").contains("123456789"));
    is(&refused::<()>(Err(status)), Code::InvalidArgument, ErrorReason::ConstraintViolated);
}

#[tokio::test]
async fn a_malformed_request_is_invalid_and_names_its_field() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let long = |length| "x".repeat(length);
    let write = || session.write_of([increment("n", 1)]);
    let cases = [
        ("operations", session.write_of([])),
        ("name", session.write_of([set("1st", int(1))])),
        ("reason", WriteVariablesRequest { reason: long(1_025), ..write() }),
        ("client_id", WriteVariablesRequest { client_id: long(129), ..write() }),
        ("client_id", WriteVariablesRequest { idempotency_key: "k".into(), ..write() }),
        ("idempotency_key", WriteVariablesRequest { idempotency_key: long(129), ..write() }),
        ("incarnation", WriteVariablesRequest { incarnation: vec![1, 2].into(), ..write() }),
        ("session_id", WriteVariablesRequest { session_id: "a b".into(), ..write() }),
    ];
    for (field, request) in cases {
        let refused = refused(session.send(request).await);
        is(&refused, Code::InvalidArgument, ErrorReason::InvalidRequest);
        assert_eq!(refused.fact("field"), field);
    }
    let nothing = GetVariablesRequest { session_id: session.id.clone(), ..Default::default() };
    assert_eq!(refused(session.variables.clone().get_variables(nothing).await).fact("field"), "names");
}

#[tokio::test]
async fn a_write_that_expected_another_version_conflicts() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let one = session.refused([expecting(7, set("n", int(1)))]).await;
    is(&one, Code::Aborted, ErrorReason::VersionConflict);
    assert_eq!(["variable", "expected", "actual"].map(|name| one.fact(name)), ["n", "7", "1"]);
    let none = session.refused([expecting(1, set("missing", int(1)))]).await;
    assert_eq!((&*none.reason, none.fact("actual")), ("VERSION_CONFLICT", "0"));
}

#[tokio::test]
async fn a_read_only_variable_is_only_replaced() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let read_only = VariableSpec { read_only: true, ..spec(VariableType::Integer) };
    session.write([register_as("n", read_only.clone(), int(1))]).await;
    for operation in [set("n", int(2)), increment("n", 1), delete("n")] {
        let refused = session.refused([operation]).await;
        is(&refused, Code::FailedPrecondition, ErrorReason::VariableReadOnly);
        assert_eq!(refused.fact("variable"), "n");
    }
    session.write([replace("n", read_only, int(2))]).await;
    assert_eq!(session.value("n").await, int(2).kind.unwrap());
}

#[tokio::test]
async fn without_the_role_admin_nothing_is_replaced() {
    let principal = Principal::anonymous().without(Role::Admin);
    let server = TestServer::of(Server::builder().principal(principal)).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let refused = session.refused([replace("n", spec(VariableType::Float), float(1.0))]).await;
    is(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    assert_eq!(refused.fact("role"), "admin");
}

/// A server whose home fails from the moment the switch is on, and a session made before that.
async fn failing(error: CommitError) -> (TestServer, TestSession) {
    let home = Faulty { delay: Duration::ZERO, error, failing: Default::default() };
    let switch = home.failing.clone();
    let server = TestServer::of(Server::builder().journal(home)).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    switch.store(true, std::sync::atomic::Ordering::SeqCst);
    (server, session)
}

#[tokio::test]
async fn a_full_disk_makes_the_server_read_only() {
    let (_server, session) = failing(CommitError::NotApplied { cause: "disk full".into() }).await;
    let refused = session.refused([set("n", int(1))]).await;
    is(&refused, Code::Unavailable, ErrorReason::ServerReadOnly);
    assert_eq!(refused.fact("cause"), "disk full");
    assert_eq!(session.value("n").await, int(0).kind.unwrap());
}

#[tokio::test]
async fn a_failed_sync_leaves_the_outcome_unknown_once_and_then_the_server_read_only() {
    let (_server, session) = failing(CommitError::Unknown { cause: "failed fsync".into() }).await;
    let first = session.refused([set("n", int(1))]).await;
    is(&first, Code::Unknown, ErrorReason::OutcomeUnknown);
    assert_eq!(first.fact("cause"), "failed fsync");
    is(&session.refused([set("n", int(2))]).await, Code::Unavailable, ErrorReason::ServerReadOnly);
}

#[tokio::test]
async fn another_api_version_is_unsupported() {
    let server = TestServer::start().await;
    let mut client = ServerServiceClient::new(server.connect().await);
    for (version, fits) in [("1", true), ("1.4", true), ("2", false), ("x", false), ("", false)] {
        let mut request = Request::new(GetServerInfoRequest {});
        request.metadata_mut().insert("snakepit-api-version", version.parse().unwrap());
        let answer = client.get_server_info(request).await;
        if fits {
            assert!(answer.is_ok(), "{version}");
            continue;
        }
        let refused = refused(answer);
        is(&refused, Code::FailedPrecondition, ErrorReason::VersionUnsupported);
        assert_eq!((refused.fact("server"), refused.fact("client")), ("1", version));
    }
}

#[tokio::test]
async fn a_write_beyond_a_limit_is_refused() {
    let limits = Limits { variables_per_session: 1, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    session.integers(["a"]).await;
    let refused = session.refused([register("b", VariableType::Integer, int(1))]).await;
    is(&refused, Code::ResourceExhausted, ErrorReason::LimitExceeded);
    assert_eq!((refused.fact("limit"), refused.fact("max")), ("variables_per_session", "1"));
}

#[tokio::test]
async fn a_watch_of_every_change_below_the_log_is_compacted() {
    let windows = Windows { log_events: 2, ..Windows::default() };
    let server = TestServer::of(Server::builder().windows(windows)).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for _ in 0..3 {
        session.write([increment("n", 1)]).await;
    }
    let request = WatchVariablesRequest { known_revision: 1, ..session.watch_of(WatchMode::Every) };
    let refused = refused(session.watch(request).await);
    is(&refused, Code::OutOfRange, ErrorReason::Compacted);
    assert_eq!((refused.fact("oldest"), refused.fact("revision")), ("4", "5"));
}
