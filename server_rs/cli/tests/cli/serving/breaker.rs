//! Whether calls go to a worker that fails.

use std::time::Duration;

use snakepit_proto::v1::{BreakerState, CallToolRequest, ToolSpec, ToolWorker};
use snakepit_server::{server::Server, tool::BreakerPolicy};

use crate::{
    command_line::Served,
    support::{
        caller::*,
        clock::{Frozen, pass, pass_over},
        setup::*,
        worker::*,
    },
};

/// A server whose breakers open after two failures, for half a minute, and close after two successes.
async fn strict() -> TestServer {
    let policy = BreakerPolicy { opens_after: 2, open_for: Duration::from_secs(30), closes_after: 2 };
    TestServer::of(Server::builder().breaker(policy).heartbeat(Duration::from_secs(3_600))).await
}

async fn only(session: &TestSession) -> ToolWorker {
    session.tool("t").await.unwrap().workers.remove(0)
}

async fn state(session: &TestSession) -> (BreakerState, u32) {
    let worker = only(session).await;
    (worker.breaker(), worker.failures_in_row)
}

async fn run(session: &TestSession, worker: &mut TestWorker, retryable: Option<bool>) {
    let call = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    match retryable {
        None => worker.returns(&dispatch, int(1)),
        Some(retryable) => worker.fails(&dispatch, failure(retryable)),
    }
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn failures_in_a_row_open_a_breaker_time_half_opens_it_and_successes_close_it() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for outcome in [Some(true), None, Some(false), Some(true), Some(false)] {
        run(&session, &mut worker, outcome).await;
    }
    assert_eq!(state(&session).await, (BreakerState::Closed, 1), "what is not retryable counts for neither");
    run(&session, &mut worker, Some(true)).await;
    assert_eq!(state(&session).await, (BreakerState::Open, 2));
    pass(10).await;
    assert_eq!(span(only(&session).await.opens_for), Duration::from_secs(20));
    let refused = refused(session.send_call(session.call_of("t", None)).await);
    assert_eq!((&*refused.reason, refused.fact("dispatched")), ("TOOL_UNAVAILABLE", "false"));
    pass(20).await;
    assert_eq!(state(&session).await, (BreakerState::HalfOpen, 2));
    let calls = [session.calling("t", None), session.calling("t", None), session.calling("t", None)];
    session.until_queued("t", 2).await;
    assert_eq!(only(&session).await.in_flight, 1, "one at a time");
    for (index, call) in calls.into_iter().enumerate() {
        let expected = if index < 2 { BreakerState::HalfOpen } else { BreakerState::Closed };
        assert_eq!(state(&session).await.0, expected, "{index}");
        let dispatch = worker.dispatch().await;
        worker.returns(&dispatch, int(1));
        result(call).await;
    }
    assert_eq!(state(&session).await, (BreakerState::Closed, 0));
}

#[tokio::test]
async fn a_trial_that_fails_opens_it_again() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for _ in 0..2 {
        run(&session, &mut worker, Some(true)).await;
    }
    pass(30).await;
    run(&session, &mut worker, Some(true)).await;
    assert_eq!(state(&session).await, (BreakerState::Open, 3));
    assert_eq!(span(only(&session).await.opens_for), Duration::from_secs(30));
}

#[tokio::test]
async fn one_tools_breaker_is_none_of_another_tools_or_workers() {
    let server = strict().await;
    let session = server.session().await;
    let mut bad = TestWorker::with_room(&session, 10, ["t", "u"].map(tool)).await;
    for _ in 0..2 {
        run(&session, &mut bad, Some(true)).await;
    }
    let mut good = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let calls = [session.calling("t", None), session.calling("t", None)];
    for call in calls {
        let dispatch = good.dispatch().await;
        good.returns(&dispatch, int(1));
        result(call).await;
    }
    let other = session.calling("u", None);
    let dispatch = bad.dispatch().await;
    assert_eq!(dispatch.tool, "u");
    bad.returns(&dispatch, int(1));
    result(other).await;
    let states: Vec<BreakerState> = session.tool("t").await.unwrap().workers.iter().map(ToolWorker::breaker).collect();
    assert_eq!(states, [BreakerState::Open, BreakerState::Closed]);
}

#[tokio::test]
async fn lost_connections_count_and_a_worker_that_comes_back_is_recognised() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut busy = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let _running = session.calling("t", None);
    busy.dispatch().await;
    for _ in 0..2 {
        let mut worker = TestWorker::join(&session, "w", 10).await.unwrap().with([tool("t")]).await;
        let calls = [session.calling("t", None), session.calling("t", None)];
        for _ in &calls {
            worker.dispatch().await;
        }
        drop(worker);
        for call in calls {
            assert_eq!(refused(call.await.unwrap()).fact("dispatched"), "true");
        }
    }
    let gone = session.tool("t").await.unwrap().workers.into_iter().find(|worker| worker.worker_id == "w").unwrap();
    assert_eq!((gone.connected, gone.breaker(), gone.failures_in_row), (false, BreakerState::Open, 2));
    let _again = TestWorker::join(&session, "w", 10).await.unwrap().with([tool("t")]).await;
    let back = session.tool("t").await.unwrap().workers.into_iter().find(|worker| worker.worker_id == "w").unwrap();
    assert_eq!((back.connected, back.breaker(), back.in_flight), (true, BreakerState::Open, 0));
}

#[tokio::test]
async fn a_tool_that_overruns_its_own_timeout_counts_and_a_hurried_caller_does_not() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [ToolSpec { timeout: seconds(6), ..tool("t") }]).await;
    for (timeout, in_row) in [(2, 0), (60, 1), (2, 1), (6, 2)] {
        let call = session.sending(CallToolRequest { timeout: seconds(timeout), ..session.call_of("t", None) });
        let dispatch = worker.dispatch().await;
        pass_over(timeout.min(6).unsigned_abs()).await;
        call.await.unwrap().unwrap_err();
        worker.cancelled(&dispatch).await;
        assert_eq!(state(&session).await.1, in_row, "{timeout}");
        worker.fails(&dispatch, failure(true));
        session.until("t", |shown| shown.workers[0].in_flight == 0).await;
    }
    assert_eq!(state(&session).await.0, BreakerState::Open);
}

#[tokio::test]
async fn a_call_that_waits_goes_to_a_worker_as_soon_as_its_breakers_time_is_up() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut bad = TestWorker::with_room(&session, 1, [tool("t")]).await;
    for _ in 0..2 {
        run(&session, &mut bad, Some(true)).await;
    }
    let mut busy = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let long = |id: &str| CallToolRequest { timeout: seconds(100), call_id: id.into(), ..session.call_of("t", None) };
    let running = session.sending(long("running"));
    let kept = busy.dispatch().await;
    let waiting = session.sending(long("waiting"));
    session.until_queued("t", 1).await;
    pass_over(30).await;
    let dispatch = bad.dispatch().await;
    assert_eq!(dispatch.call_id, "waiting");
    bad.returns(&dispatch, int(1));
    busy.returns(&kept, int(1));
    result(waiting).await;
    result(running).await;
}

#[tokio::test]
async fn what_waits_when_the_last_breaker_opens_ends_or_waits_for_it() {
    let _clock = Frozen::clock();
    let server = strict().await;
    let session = server.session().await;
    let mut policy = idempotent("i").retry.unwrap();
    policy.max_backoff = seconds(60);
    let again = ToolSpec { retry: Some(policy), max_concurrency: 1, ..idempotent("i") };
    let mut worker = TestWorker::offering(&session, [ToolSpec { max_concurrency: 1, ..tool("t") }, again]).await;
    run(&session, &mut worker, Some(true)).await;
    let failing = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    worker.fails(&dispatch, failure(true));
    failed(failing).await;
    assert_eq!(refused(waiting.await.unwrap()).fact("dispatched"), "false");
    let patient = session.sending(CallToolRequest { timeout: seconds(100), ..session.call_of("i", None) });
    for attempt in 1..=2 {
        let dispatch = worker.dispatch().await;
        assert_eq!(dispatch.attempt, attempt);
        worker.fails(&dispatch, failure(true));
        session.until("i", |shown| shown.workers[0].in_flight == 0).await;
        pass_over(1).await;
    }
    session.until_queued("i", 1).await;
    pass_over(30).await;
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.attempt, 3);
    worker.returns(&dispatch, int(1));
    result(patient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_when_breakers_open() {
    let served = Served::start(&[
        "--ephemeral",
        "--breaker-failures",
        "1",
        "--breaker-open",
        "3600",
        "--breaker-successes",
        "1",
    ]);
    let session = served.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    run(&session, &mut worker, Some(true)).await;
    assert_eq!(state(&session).await, (BreakerState::Open, 1));
    assert!((3_500..=3_600).contains(&span(only(&session).await.opens_for).as_secs()));
}
