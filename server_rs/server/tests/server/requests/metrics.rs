//! The figures that a server tells, before and after what they count.

#![allow(clippy::float_cmp, reason = "what is compared is counted in whole numbers")]

use snakepit_core::config::{Limits, Windows};
use snakepit_proto::v1::{DeleteSessionRequest, ToolFailure, WatchMode, WatchVariablesRequest, WriteVariablesRequest};
use snakepit_server::{
    journal::{CommitError, testing::gated},
    server::Server,
};
use tonic::{Code, Request};

use crate::support::{monitored::*, setup::*, worker::*};

/// Asks until a figure is so much: for what happens after an answer, like the end of a stream that a client left.
async fn reaches(address: std::net::SocketAddr, name: &str, value: f64) -> Samples {
    let mut last = f64::NAN;
    let reached = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let samples = Samples::of(address).await;
            last = samples.value(name);
            if last == value {
                return samples;
            }
        }
    });
    reached.await.unwrap_or_else(|_| panic!("{name} is {last}, not {value}"))
}

#[tokio::test]
async fn writes_are_counted_by_what_became_of_them_and_operations_by_kind() {
    let (server, address) = monitored(Server::builder()).await;
    let session = server.session().await;
    let before = Samples::of(address).await;
    session.integers(["a", "b"]).await;
    session.write([set("a", int(1)), increment("b", 1)]).await;
    session.write([set("a", int(1)), set("b", int(5))]).await;
    session.write([set("a", int(1))]).await;
    session.refused([set("none", int(1))]).await;
    let keyed =
        WriteVariablesRequest { client_id: "c".into(), idempotency_key: "1".into(), ..session.write_of([delete("b")]) };
    session.send(keyed.clone()).await.unwrap();
    session.send(keyed).await.unwrap();
    let after = Samples::of(address).await;
    let expected = rises([
        (r#"writes_total{outcome="committed"}"#, 4.0),
        (r#"writes_total{outcome="unchanged"}"#, 1.0),
        (r#"writes_total{outcome="repeated"}"#, 1.0),
        (r#"writes_total{outcome="refused"}"#, 1.0),
        (r#"write_operations_total{operation="register"}"#, 2.0),
        // What was equal already is no change.
        (r#"write_operations_total{operation="set"}"#, 2.0),
        (r#"write_operations_total{operation="increment"}"#, 1.0),
        (r#"write_operations_total{operation="delete"}"#, 1.0),
        ("variables", 1.0),
        ("events_held", 4.0),
        (r#"refusals_total{reason="VARIABLE_NOT_FOUND"}"#, 1.0),
        ("journal_group_events_sum", 4.0),
        ("journal_wait_duration_seconds_count", 4.0),
    ]);
    let names: Vec<&str> = expected.iter().map(|(name, _)| &**name).collect();
    let names: [&str; 13] = names.try_into().unwrap();
    assert_eq!(after.since(&before, names), expected);
    assert!(after.value("values_bytes") > before.value("values_bytes"));
    assert!(after.value("journal_appended_bytes_total") > before.value("journal_appended_bytes_total"));
    assert!(
        after.value("journal_commit_duration_seconds_count") > before.value("journal_commit_duration_seconds_count")
    );
}

#[tokio::test]
async fn requests_are_counted_by_method_and_code_and_timed() {
    let (server, address) = monitored(Server::builder()).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let before = Samples::of(address).await;
    session.get("n").await.unwrap();
    session.get("n").await.unwrap();
    assert_eq!(session.get("none").await.unwrap_err().code(), Code::NotFound);
    let names = [
        r#"rpc_started_total{method="GetVariables"}"#,
        r#"rpc_handled_total{method="GetVariables",code="OK"}"#,
        r#"rpc_handled_total{method="GetVariables",code="NOT_FOUND"}"#,
        r#"rpc_duration_seconds_count{method="GetVariables"}"#,
        r#"rpc_handled_total{method="WriteVariables",code="OK"}"#,
    ];
    let [started, well, missing, timed, others] = names;
    let after = reaches(address, timed, before.value(timed) + 3.0).await;
    let expected = rises([(started, 3.0), (well, 2.0), (missing, 1.0), (timed, 3.0), (others, 0.0)]);
    assert_eq!(after.since(&before, names), expected);
}

#[tokio::test]
async fn who_does_not_wait_is_counted_as_cancelled_or_too_late_and_the_write_all_the_same() {
    let (home, mut gate) = gated();
    let (server, address) = monitored(Server::builder().journal(home)).await;
    let channel = server.connect().await;
    let creating = tokio::spawn(TestSession::create(channel, Default::default()));
    gate.recv().await.unwrap().settle(Ok(()));
    let session = creating.await.unwrap();
    let before = Samples::of(address).await;

    let mut late = Request::new(session.write_of([register_int("a")]));
    late.set_timeout(std::time::Duration::from_secs(1));
    let status = session.variables.clone().write_variables(late).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    let code = |code| format!(r#"rpc_handled_total{{method="WriteVariables",code="{code}"}}"#);
    reaches(address, &code("DEADLINE_EXCEEDED"), 1.0).await;
    gate.recv().await.unwrap().settle(Ok(()));

    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.integers(["b"]).await }
    });
    let group = gate.recv().await.unwrap();
    waiting.abort();
    reaches(address, &code("CANCELLED"), 1.0).await;
    group.settle(Ok(()));
    let committed = r#"writes_total{outcome="committed"}"#;
    reaches(address, committed, before.value(committed) + 2.0).await;
}

fn register_int(name: &str) -> snakepit_proto::v1::Operation {
    register(name, snakepit_proto::v1::VariableType::Integer, int(0))
}

#[tokio::test]
async fn a_watch_is_open_tells_and_lags_until_its_client_leaves() {
    let (server, address) = monitored(Server::builder()).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for (mode, label) in [(WatchMode::Latest, "latest"), (WatchMode::Every, "every")] {
        let open = format!(r#"watches{{mode="{label}"}}"#);
        let lag = format!(r#"watch_lag_seconds_count{{mode="{label}"}}"#);
        let told = format!(r#"watch_messages_total{{mode="{label}",message="change"}}"#);
        let mut watch = session.watch(session.watch_of(mode)).await.unwrap();
        watch.message().await.unwrap();
        let samples = reaches(address, &open, 1.0).await;
        assert_eq!(samples.value(r#"rpc_streams{method="WatchVariables"}"#), 1.0);
        assert_eq!((samples.value(&lag), samples.value(&told)), (0.0, 1.0), "a snapshot lags behind nothing");
        let written = session.write([increment("n", 1)]).await.revision;
        while watch.message().await.unwrap().unwrap().revision < written {}
        let samples = reaches(address, &told, 2.0).await;
        assert_eq!(samples.value(&lag), 1.0);
        assert!(samples.value(&lag.replace("count", "sum")) < 60.0, "in seconds");
        drop(watch);
        reaches(address, &open, 0.0).await;
        reaches(address, r#"rpc_streams{method="WatchVariables"}"#, 0.0).await;
    }
    let left = r#"rpc_handled_total{method="WatchVariables",code="CANCELLED"}"#;
    assert_eq!(Samples::of(address).await.value(left), 2.0);
}

#[tokio::test]
async fn a_watch_that_is_too_far_behind_is_a_refusal_for_its_reason() {
    let windows = Windows { log_events: 2, ..Windows::default() };
    let (server, address) = monitored(Server::builder().windows(windows)).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for _ in 0..5 {
        session.write([increment("n", 1)]).await;
    }
    let resumed = WatchVariablesRequest { known_revision: 1, ..session.watch_of(WatchMode::Every) };
    assert_eq!(refused(session.watch(resumed).await).reason, "COMPACTED");
    let compacted = reaches(address, r#"refusals_total{reason="COMPACTED"}"#, 1.0).await;
    assert_eq!(compacted.value(r#"rpc_handled_total{method="WatchVariables",code="OUT_OF_RANGE"}"#), 1.0);
    assert_eq!(compacted.value(r#"watches{mode="every"}"#), 0.0);
}

#[tokio::test]
async fn sessions_are_counted_and_limits_by_their_names() {
    let limits = Limits { sessions: 2, ..Limits::default() };
    let (server, address) = monitored(Server::builder().limits(limits)).await;
    let (mut one, _two) = (server.session().await, server.session().await);
    let full = Samples::of(address).await;
    assert_eq!((full.value("sessions"), full.value("sessions_max")), (2.0, 2.0));
    let third = snakepit_proto::v1::CreateSessionRequest {
        session_id: "third".into(),
        incarnation: incarnation().into(),
        ..Default::default()
    };
    assert_eq!(refused(one.sessions.create_session(third).await).reason, "LIMIT_EXCEEDED");
    reaches(address, r#"limit_exceeded_total{limit="sessions"}"#, 1.0).await;
    let gone = DeleteSessionRequest { session_id: one.id.clone(), ..Default::default() };
    one.sessions.delete_session(gone).await.unwrap();
    let after = Samples::of(address).await;
    assert_eq!((after.value("sessions"), after.value("sessions_begun_total")), (1.0, 2.0));
    assert_eq!(after.value(r#"sessions_ended_total{how="deleted"}"#), 1.0);
}

#[tokio::test]
async fn calls_are_counted_by_their_ends_and_while_they_run() {
    let (server, address) = monitored(Server::builder()).await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t"), tool("other")]).await;
    let idle = Samples::of(address).await;
    assert_eq!((idle.value("tools"), idle.value("tool_workers")), (2.0, 1.0));
    let (first, second) = (session.calling("t", None), session.calling("t", None));
    let dispatch = worker.dispatch().await;
    let busy = reaches(address, "tool_calls_waiting", 1.0).await;
    assert_eq!((busy.value("tool_calls_running"), busy.value("tool_calls_accepted_total")), (1.0, 2.0));
    worker.returns(&dispatch, int(1));
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, Default::default());
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let done = Samples::of(address).await;
    for (outcome, count) in [("result", 1.0), ("failure", 1.0), ("deadline", 0.0), ("unavailable", 0.0)] {
        assert_eq!(done.value(&format!(r#"tool_calls_total{{outcome="{outcome}"}}"#)), count, "{outcome}");
    }
    assert_eq!((done.value("tool_calls_running"), done.value("tool_calls_waiting")), (0.0, 0.0));
    assert_eq!(done.value("tool_call_duration_seconds_count"), 2.0);
    drop(worker);
    reaches(address, "tool_workers", 0.0).await;
    let gone = Samples::of(address).await;
    assert_eq!((gone.value("tools"), gone.value(r#"tool_calls_total{outcome="result"}"#)), (0.0, 1.0));
}

#[tokio::test]
async fn what_the_journal_does_not_take_is_counted_by_what_is_known_of_it() {
    let (home, mut gate) = gated();
    let (server, address) = monitored(Server::builder().journal(home)).await;
    let creating = tokio::spawn(TestSession::create(server.connect().await, Default::default()));
    gate.recv().await.unwrap().settle(Ok(()));
    let session = creating.await.unwrap();
    for (name, error, outcome) in [
        ("a", CommitError::NotApplied { cause: "full".into() }, "not_applied"),
        ("b", CommitError::Unknown { cause: "failed fsync".into() }, "unknown"),
    ] {
        let writing = tokio::spawn({
            let session = session.clone();
            async move { session.send(session.write_of([register_int(name)])).await.unwrap_err() }
        });
        gate.recv().await.unwrap().settle(Err(error));
        writing.await.unwrap();
        let samples = Samples::of(address).await;
        assert_eq!(samples.value(&format!(r#"writes_total{{outcome="{outcome}"}}"#)), 1.0);
        assert_eq!(samples.value(&format!(r#"journal_failures_total{{outcome="{outcome}"}}"#)), 1.0);
        assert_eq!(samples.value("read_only"), 1.0);
    }
}

#[tokio::test]
async fn no_word_of_a_caller_is_in_them() {
    const WORD: &str = "canary";
    let (server, address) = monitored(Server::builder()).await;
    let named = snakepit_proto::v1::CreateSessionRequest {
        session_id: format!("{WORD}-session"),
        metadata: [(format!("{WORD}-label"), WORD.to_owned())].into(),
        ..Default::default()
    };
    let session = TestSession::create(server.connect().await, named).await;
    let write = WriteVariablesRequest {
        client_id: format!("{WORD}-client"),
        idempotency_key: format!("{WORD}-key"),
        reason: WORD.into(),
        ..session.write_of([register("canary_variable", snakepit_proto::v1::VariableType::String, text(WORD))])
    };
    session.send(write).await.unwrap();
    session.refused([set("canary_none", text(WORD))]).await;
    session.refused([set("canary_variable", int(1))]).await;
    session.watch(session.watch_of(WatchMode::Every)).await.unwrap().message().await.unwrap();
    let mut worker = TestWorker::join(&session, "canary-worker", 1).await.unwrap().with([tool("canary_tool")]).await;
    let calling = session.calling_as("canary-call", "canary_tool");
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, ToolFailure { r#type: WORD.into(), message: WORD.into(), ..Default::default() });
    calling.await.unwrap().unwrap();
    refused(session.calling("canary_no_tool", None).await.unwrap());
    let told = get(address, "/metrics").await.body + &get(address, "/readyz?verbose").await.body;
    assert!(told.contains(r#"tool_calls_total{outcome="failure"} 1"#));
    let told_of: Vec<&str> = told.lines().filter(|line| line.contains(WORD)).collect();
    assert!(told_of.is_empty(), "{told_of:?}");
    // Nor is a path that somebody made up.
    let made_up = "/snakepit_bridge.v1.SessionService/Canary";
    let status = crate::support::raw::call(&session.channel, made_up, Vec::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    reaches(address, r#"rpc_handled_total{method="other",code="UNIMPLEMENTED"}"#, 1.0).await;
}

#[tokio::test]
async fn two_servers_of_one_process_count_each_for_itself() {
    let ((one, at_one), (_two, at_two)) = (monitored(Server::builder()).await, monitored(Server::builder()).await);
    one.session().await;
    assert_eq!(Samples::of(at_one).await.value("sessions_begun_total"), 1.0);
    assert_eq!(Samples::of(at_two).await.value("sessions_begun_total"), 0.0);
}
