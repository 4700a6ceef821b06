//! How long a call may take, who says so, and what happens then. Under a clock that only the test moves.

use std::time::Duration;

use snakepit_proto::v1::{CallState, CallToolRequest, ToolSpec};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::*,
    clock::{Frozen, pass, pass_over},
    setup::*,
    worker::*,
};

/// In seconds: the tool's own timeout, the caller's, the caller's default, the rpc's; and what becomes of them.
const CASES: [([i64; 4], u64); 11] = [
    ([0, 0, 0, 0], 10),
    ([0, 0, 30, 0], 30),
    ([0, 20, 30, 0], 20),
    ([40, 0, 30, 0], 40),
    ([40, 20, 30, 0], 20),
    ([40, 60, 0, 0], 40),
    ([0, 20, 0, 5], 5),
    ([40, 0, 0, 5], 5),
    ([0, 0, 0, 5], 5),
    ([0, 0, 0, 60], 10),
    ([3, 20, 30, 60], 3),
];

#[tokio::test]
async fn the_shortest_of_what_tool_caller_and_rpc_say_holds_and_defaults_only_where_nobody_says() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    for ([own, caller, default, rpc], expected) in CASES {
        let given = |value: i64| (value > 0).then(|| seconds(value).unwrap());
        let session = server.session().await;
        let mut worker = TestWorker::offering(&session, [ToolSpec { timeout: given(own), ..tool("t") }]).await;
        let request =
            CallToolRequest { timeout: given(caller), default_timeout: given(default), ..session.call_of("t", None) };
        let mut request = Request::new(request);
        if rpc > 0 {
            request.set_timeout(Duration::from_secs(rpc.unsigned_abs()));
        }
        let mut client = session.tools();
        let call = tokio::spawn(async move { client.call_tool(request).await.map(drop) });
        let dispatch = worker.dispatch().await;
        assert_eq!(span(dispatch.time_left), Duration::from_secs(expected), "{own} {caller} {default} {rpc}");
        call.abort();
        worker.cancelled(&dispatch).await;
    }
}

#[tokio::test]
async fn at_the_deadline_the_caller_is_told_and_the_worker_stopped() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let call = session.calling_as("c", "t");
    let dispatch = worker.dispatch().await;
    pass(9).await;
    assert_eq!(session.call("c").await.unwrap().state(), CallState::Running);
    pass_over(1).await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.get_error_details().error_info().is_none(), "it has no reason");
    assert!(status.message().contains("10 s"), "{status:?}");
    worker.cancelled(&dispatch).await;
    let told = session.call("c").await.unwrap();
    assert_eq!((told.state(), told.attempts[0].state()), (CallState::Deadline, CallState::Deadline));
    assert_eq!((span(told.took).as_secs(), session.tool("t").await.unwrap().stats.unwrap().deadlines), (10, 1));
}

#[tokio::test]
async fn a_call_that_waits_has_a_deadline_too_and_is_never_dispatched() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let first = session.sending(CallToolRequest { timeout: seconds(60), ..session.call_of("t", None) });
    let dispatch = worker.dispatch().await;
    let second = session.calling_as("second", "t");
    session.until_queued("t", 1).await;
    pass_over(10).await;
    assert_eq!(second.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(session.call("second").await.unwrap().attempts, []);
    worker.returns(&dispatch, int(1));
    result(first).await;
    assert_eq!(session.tool("t").await.unwrap().stats.unwrap().in_flight, 0);
}

#[tokio::test]
async fn the_time_that_is_left_is_what_the_wait_has_left() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let first = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    let second = session.calling("t", None);
    session.until_queued("t", 1).await;
    pass(4).await;
    worker.returns(&dispatch, int(1));
    result(first).await;
    let dispatch = worker.dispatch().await;
    assert_eq!(span(dispatch.time_left), Duration::from_secs(6));
    worker.returns(&dispatch, int(1));
    let (_, call) = result(second).await;
    assert_eq!(span(call.attempts[0].dispatched_after), Duration::from_secs(4));
}

#[tokio::test]
async fn the_rpcs_own_deadline_is_one_of_the_call() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let mut request = Request::new(CallToolRequest { call_id: "c".into(), ..session.call_of("t", None) });
    request.set_timeout(Duration::from_secs(3));
    let mut client = session.tools();
    let call = tokio::spawn(async move { client.call_tool(request).await.map(drop) });
    let dispatch = worker.dispatch().await;
    pass_over(3).await;
    assert!(call.await.unwrap().is_err());
    worker.cancelled(&dispatch).await;
    assert_eq!(session.call("c").await.unwrap().state(), CallState::Deadline);
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused_and_an_endless_one_is_as_long_as_can_be() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for bad in [0, -1] {
        let call = CallToolRequest { timeout: seconds(bad), ..session.call_of("t", None) };
        assert_eq!(refused(session.send_call(call).await).fact("field"), "timeout");
        let call = CallToolRequest { default_timeout: seconds(bad), ..session.call_of("t", None) };
        assert_eq!(refused(session.send_call(call).await).fact("field"), "default_timeout");
    }
    let call = session.sending(CallToolRequest { timeout: seconds(i64::MAX), ..session.call_of("t", None) });
    let dispatch = worker.dispatch().await;
    assert!(span(dispatch.time_left) > Duration::from_secs(86_400));
    worker.returns(&dispatch, int(1));
    result(call).await;
}
