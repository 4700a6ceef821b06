//! Calls that nobody wants any more, and what comes of them all the same.

use snakepit_proto::v1::CallState;
use tonic::Code;

use crate::support::{caller::*, setup::*, worker::*};

#[tokio::test]
async fn a_call_is_cancelled_from_another_connection() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let call = session.calling_as("c", "t");
    let dispatch = worker.dispatch().await;
    let elsewhere = session.elsewhere(&server).await;
    assert!(elsewhere.cancel("c", "ada").await.unwrap());
    let refused_call = refused(call.await.unwrap());
    assert_eq!((refused_call.code, &*refused_call.reason), (Code::Cancelled, "CALL_CANCELLED"));
    assert_eq!((refused_call.fact("call"), refused_call.fact("tool"), refused_call.fact("by")), ("c", "t", "ada"));
    worker.cancelled(&dispatch).await;
    assert!(!elsewhere.cancel("c", "ada").await.unwrap(), "it had ended");
    assert_eq!(session.call("c").await.unwrap().state(), CallState::Cancelled);
    assert_eq!(refused(elsewhere.cancel("other", "ada").await).fact("field"), "call_id");
}

#[tokio::test]
async fn a_call_that_waits_can_be_cancelled_and_is_never_dispatched() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let first = session.calling_as("first", "t");
    let dispatch = worker.dispatch().await;
    let second = session.calling_as("second", "t");
    session.until_queued("t", 1).await;
    assert!(session.cancel("second", "").await.unwrap());
    assert_eq!(refused(second.await.unwrap()).reason, "CALL_CANCELLED");
    let third = session.calling_as("third", "t");
    worker.returns(&dispatch, int(1));
    result(first).await;
    let next = worker.dispatch().await;
    assert_eq!(next.call_id, "third");
    worker.returns(&next, int(1));
    result(third).await;
}

#[tokio::test]
async fn dropping_the_rpc_cancels_the_call() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let call = session.calling_as("c", "t");
    let dispatch = worker.dispatch().await;
    call.abort();
    worker.cancelled(&dispatch).await;
    assert_eq!(session.call("c").await.unwrap().state(), CallState::Cancelled);
}

#[tokio::test]
async fn a_lost_connection_cancels_the_calls_that_came_over_it() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let elsewhere = session.elsewhere(&server).await;
    let call = elsewhere.calling("t", None);
    drop(elsewhere);
    let dispatch = worker.dispatch().await;
    call.abort();
    worker.cancelled(&dispatch).await;
}

#[tokio::test]
async fn a_result_after_the_end_is_dropped_and_counted_and_an_acknowledged_cancel_is_not() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 2, [tool("t")]).await;
    for (id, late) in [("a", 1), ("b", 1)] {
        let call = session.calling_as(id, "t");
        let dispatch = worker.dispatch().await;
        session.cancel(id, "").await.unwrap();
        worker.cancelled(&dispatch).await;
        assert_eq!(refused(call.await.unwrap()).reason, "CALL_CANCELLED");
        if id == "a" {
            worker.returns(&dispatch, int(1));
        } else {
            worker.fails(&dispatch, failure(false));
        }
        // What it said is heard once it has its place again.
        let shown = session.until("t", |shown| shown.workers[0].in_flight == 0).await;
        let stats = shown.stats.unwrap();
        assert_eq!((stats.late, stats.results, stats.failures), (late, 0, 0));
        worker.returns(&dispatch, int(1));
        assert_eq!(session.call(id).await.unwrap().state(), CallState::Cancelled);
    }
}
