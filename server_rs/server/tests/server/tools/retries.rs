//! What is tried again, where, and when no longer.

use std::time::Duration;

use snakepit_proto::v1::{CallState, CallToolRequest, RetryPolicy, ToolSpec};
use tonic::Code;

use crate::support::{
    caller::*,
    clock::{Frozen, pass, pass_over},
    setup::*,
    worker::*,
};

#[tokio::test]
async fn a_call_lost_with_its_worker_ends_unless_its_tool_may_be_run_twice() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("once")]).await;
    let running = session.calling_as("running", "once");
    worker.dispatch().await;
    let waiting = session.calling("once", None);
    session.until_queued("once", 1).await;
    drop(worker);
    for (call, dispatched) in [(running, "true"), (waiting, "false")] {
        let refused = refused(call.await.unwrap());
        assert_eq!((refused.code, &*refused.reason), (Code::Unavailable, "TOOL_UNAVAILABLE"));
        assert_eq!((refused.fact("tool"), refused.fact("dispatched")), ("once", dispatched));
    }
    assert_eq!(session.call("running").await.unwrap().state(), CallState::Unavailable);
}

#[tokio::test]
async fn an_idempotent_call_lost_with_its_worker_is_run_by_another() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut first = TestWorker::offering(&session, [idempotent("t")]).await;
    let call = session.calling("t", arguments([("x", int(1))]));
    let lost = first.dispatch().await;
    let mut second = TestWorker::offering(&session, [idempotent("t")]).await;
    let first_id = first.id.clone();
    drop(first);
    let dispatch = second.dispatch().await;
    assert_eq!((dispatch.attempt, &dispatch.call_id), (2, &lost.call_id));
    assert!(dispatch.dispatch > lost.dispatch && dispatch.arguments == lost.arguments);
    second.returns(&dispatch, int(2));
    let (value, call) = result(call).await;
    assert_eq!(value, int(2));
    let attempts: Vec<_> = call.attempts.iter().map(|it| (&*it.worker_id, it.state())).collect();
    assert_eq!(attempts, [(&*first_id, CallState::Unavailable), (&*second.id, CallState::Result)]);
    let stats = session.tool("t").await.unwrap().stats.unwrap();
    assert_eq!((stats.calls, stats.retries, stats.results, stats.unavailable), (1, 1, 1, 0));
}

#[tokio::test]
async fn a_retry_goes_to_a_worker_that_has_not_tried_even_if_it_is_busier() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut first = TestWorker::with_room(&session, 10, [idempotent("t")]).await;
    let call = session.calling("t", None);
    let dispatch = first.dispatch().await;
    let mut busier = TestWorker::with_room(&session, 2, [idempotent("t"), tool("other")]).await;
    let other = session.calling("other", None);
    let kept = busier.dispatch().await;
    first.fails(&dispatch, failure(true));
    let dispatch = busier.dispatch().await;
    assert_eq!(dispatch.attempt, 2);
    busier.returns(&dispatch, int(1));
    busier.returns(&kept, int(1));
    result(call).await;
    result(other).await;
}

#[tokio::test]
async fn retryable_failures_are_tried_again_as_often_as_the_tool_says() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [idempotent("t")]).await;
    let call = session.calling("t", None);
    for attempt in 1..=3 {
        let dispatch = worker.dispatch().await;
        assert_eq!(dispatch.attempt, attempt);
        worker.fails(&dispatch, failure(true));
    }
    let (told, call) = failed(call).await;
    assert_eq!((told, call.attempts.len()), (failure(true), 3));
    assert!(call.attempts.iter().all(|attempt| attempt.state() == CallState::Failure));
}

#[tokio::test]
async fn a_failure_that_is_not_retryable_is_final() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [idempotent("t"), tool("once")]).await;
    for (name, retryable) in [("t", false), ("once", true)] {
        let call = session.calling(name, None);
        let dispatch = worker.dispatch().await;
        worker.fails(&dispatch, failure(retryable));
        let (told, call) = failed(call).await;
        assert_eq!((told, call.attempts.len()), (failure(retryable), 1), "{name}");
    }
}

#[tokio::test]
async fn a_retry_waits_for_a_worker_to_come_back() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::join(&session, "w", 1).await.unwrap().with([idempotent("t")]).await;
    let call = session.calling("t", None);
    worker.dispatch().await;
    drop(worker);
    session.until_gone("t").await;
    let mut again = TestWorker::join(&session, "w", 1).await.unwrap().with([idempotent("t")]).await;
    let dispatch = again.dispatch().await;
    assert_eq!(dispatch.attempt, 2);
    again.returns(&dispatch, int(1));
    result(call).await;
}

#[tokio::test]
async fn a_retry_gives_up_when_nobody_comes_in_time() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [idempotent("t")]).await;
    let call = session.calling("t", None);
    worker.dispatch().await;
    drop(worker);
    session.until_gone("t").await;
    pass_over(1).await;
    session.listed().await;
    pass_over(5).await;
    let refused = refused(call.await.unwrap());
    assert_eq!((&*refused.reason, refused.fact("dispatched")), ("TOOL_UNAVAILABLE", "true"));
}

#[tokio::test]
async fn all_tries_fit_into_the_deadline() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let slow = RetryPolicy { max_attempts: 3, initial_backoff: seconds(8), multiplier: 1.0, max_backoff: seconds(8) };
    let mut worker = TestWorker::offering(&session, [ToolSpec { retry: Some(slow), ..idempotent("t") }]).await;
    let call =
        session.sending(CallToolRequest { call_id: "c".into(), timeout: seconds(10), ..session.call_of("t", None) });
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, failure(true));
    session.until_call("c", |call| call.state() == CallState::Queued).await;
    pass(3).await;
    session.listed().await;
    assert_eq!(session.call("c").await.unwrap().attempts.len(), 1, "it pauses for half of what is said at least");
    pass_over(5).await;
    let dispatch = worker.dispatch().await;
    assert!(span(dispatch.time_left) < Duration::from_secs(2));
    worker.fails(&dispatch, failure(true));
    session.until_call("c", |call| call.state() == CallState::Queued).await;
    pass_over(6).await;
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    let told = session.call("c").await.unwrap();
    assert_eq!((told.state(), told.attempts.len()), (CallState::Deadline, 2));
    assert_eq!(session.tool("t").await.unwrap().workers[0].in_flight, 0);
}

#[tokio::test]
async fn a_call_that_pauses_can_be_cancelled() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut policy = idempotent("t").retry.unwrap();
    (policy.initial_backoff, policy.max_backoff) = (seconds(60), seconds(60));
    let mut worker = TestWorker::offering(&session, [ToolSpec { retry: Some(policy), ..idempotent("t") }]).await;
    let call = session.calling_as("c", "t");
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, failure(true));
    session.until_call("c", |call| call.state() == CallState::Queued).await;
    session.cancel("c", "ada").await.unwrap();
    assert_eq!(refused(call.await.unwrap()).fact("by"), "ada");
    assert_eq!(session.tool("t").await.unwrap().stats.unwrap().in_flight, 0);
}
