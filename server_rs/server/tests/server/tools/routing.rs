//! Which worker gets a call, and when.

use snakepit_core::config::Limits;
use snakepit_proto::v1::{CallState, ToolSpec, WorkerHello, serve_tools_response::Event};
use snakepit_server::server::Server;
use tonic::Code;

use crate::support::{caller::*, setup::*, worker::*};

#[tokio::test]
async fn calls_that_wait_are_dispatched_first_come_first_served() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, ["t", "u"].map(tool)).await;
    let mut calls = Vec::new();
    for (number, name) in ["t", "u", "u", "t", "u"].into_iter().enumerate() {
        let id = format!("c{number}");
        calls.push(session.calling_as(&id, name));
        session.until_call(&id, |_| true).await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        let dispatch = worker.dispatch().await;
        assert_eq!(dispatch.call_id, format!("c{number}"), "whatever the tool");
        worker.returns(&dispatch, int(1));
        result(call).await;
    }
}

#[tokio::test]
async fn a_call_goes_to_the_least_loaded_worker_for_its_size() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut big = TestWorker::with_room(&session, 4, [tool("t")]).await;
    let mut small = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let mut calls = Vec::new();
    for number in 0..5 {
        let id = format!("c{number}");
        calls.push(session.calling_as(&id, "t"));
        session.until_call(&id, |call| call.state() == CallState::Running).await;
    }
    for _ in 0..4 {
        let dispatch = big.dispatch().await;
        big.returns(&dispatch, text("big"));
    }
    let dispatch = small.dispatch().await;
    assert!(["c0", "c1"].contains(&&*dispatch.call_id), "an empty worker is the least loaded");
    small.returns(&dispatch, text("small"));
    for call in calls {
        result(call).await;
    }
}

#[tokio::test]
async fn a_worker_never_has_more_than_it_takes_in_all_or_of_one_tool() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let few = ToolSpec { max_concurrency: 2, ..tool("few") };
    let mut worker = TestWorker::with_room(&session, 3, [few, tool("many")]).await;
    let mut calls: Vec<_> = (0..4).map(|_| session.calling("few", None)).collect();
    session.until_queued("few", 2).await;
    calls.extend((0..3).map(|_| session.calling("many", None)));
    session.until_queued("many", 2).await;
    let shown = session.tool("few").await.unwrap();
    assert_eq!((shown.workers[0].in_flight, shown.workers[0].worker_in_flight), (2, 3));
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        while few.len() + many.len() < 3
            && session.tool("few").await.unwrap().stats.unwrap().in_flight
                + session.tool("many").await.unwrap().stats.unwrap().in_flight
                > (few.len() + many.len()) as u64
        {
            let dispatch = worker.dispatch().await;
            if dispatch.tool == "few" { few.push(dispatch) } else { many.push(dispatch) }
        }
        assert!(few.len() <= 2 && few.len() + many.len() <= 3);
        let done = few.pop().or_else(|| many.pop()).unwrap();
        worker.returns(&done, int(1));
        session.until(&done.tool, |_| true).await;
        session.until_call(&done.call_id, |call| call.state() == CallState::Result).await;
    }
    for call in calls {
        result(call).await;
    }
}

#[tokio::test]
async fn a_cancelled_call_holds_its_place_until_its_worker_answers() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let first = session.calling_as("first", "t");
    let dispatch = worker.dispatch().await;
    let second = session.calling_as("second", "t");
    session.until_queued("t", 1).await;
    session.cancel("first", "").await.unwrap();
    assert_eq!(refused(first.await.unwrap()).reason, "CALL_CANCELLED");
    worker.cancelled(&dispatch).await;
    assert_eq!(session.call("second").await.unwrap().state(), CallState::Queued);
    worker.fails(&dispatch, failure(false));
    let next = worker.dispatch().await;
    assert_eq!(next.call_id, "second");
    worker.returns(&next, int(1));
    result(second).await;
}

#[tokio::test]
async fn eight_workers_share_the_calls_of_a_tool() {
    const CALLS: i64 = 400;
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut shares = Vec::new();
    for _ in 0..8 {
        let mut worker = TestWorker::with_room(&session, 2, [tool("t")]).await;
        shares.push(tokio::spawn(async move {
            let mut count = 0;
            while let Ok(Event::Dispatch(dispatch)) = worker.next().await {
                let value = dispatch.arguments.clone().unwrap().entries.remove(0).value.unwrap();
                worker.returns(&dispatch, value);
                count += 1;
            }
            count
        }));
    }
    let calls: Vec<_> = (0..CALLS).map(|number| session.calling("t", arguments([("n", int(number))]))).collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(result(call).await.0, int(i64::try_from(number).unwrap()));
    }
    let stats = session.tool("t").await.unwrap().stats.unwrap();
    assert_eq!((stats.calls, stats.results, stats.in_flight), (400, 400, 0));
    server.tell_to_stop();
    let mut total = 0;
    for share in shares {
        let count: i64 = share.await.unwrap();
        assert!(count > 0, "everybody gets some");
        total += count;
    }
    assert_eq!(total, CALLS);
}

#[tokio::test]
async fn so_many_calls_of_a_tool_may_wait_and_no_more() {
    let server =
        TestServer::of(Server::builder().limits(Limits { queued_calls_per_tool: 2, ..Limits::default() })).await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, ["t", "u"].map(tool)).await;
    let first = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    let waiting = [session.calling("t", None), session.calling("t", None)];
    session.until_queued("t", 2).await;
    let refused = refused(session.send_call(session.call_of("t", None)).await);
    assert_eq!((refused.code, &*refused.reason), (Code::ResourceExhausted, "LIMIT_EXCEEDED"));
    assert_eq!((refused.fact("limit"), refused.fact("max")), ("queued_calls_per_tool", "2"));
    assert_eq!(session.tool("t").await.unwrap().stats.unwrap().refused, 1);
    let of_another_tool = session.calling("u", None);
    session.until_queued("u", 1).await;
    worker.returns(&dispatch, int(1));
    result(first).await;
    for call in waiting.into_iter().chain([of_another_tool]) {
        let dispatch = worker.dispatch().await;
        worker.returns(&dispatch, int(1));
        result(call).await;
    }
}

#[tokio::test]
async fn a_draining_worker_finishes_what_it_has_gets_nothing_more_and_is_told_when_it_may_go() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut drains = TestWorker::with_room(&session, 5, [tool("t"), tool("alone")]).await;
    let running = session.calling("t", None);
    let dispatch = drains.dispatch().await;
    let mut stays = TestWorker::with_room(&session, 1, [tool("t")]).await;
    drains.drain();
    session.until_gone("alone").await;
    let shown = session.tool("t").await.unwrap();
    assert_eq!(shown.tool.unwrap().workers, 1);
    let draining: Vec<bool> = shown.workers.iter().map(|worker| worker.draining).collect();
    assert_eq!(draining, [true, false]);
    let other = session.calling("t", None);
    let kept = stays.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    let answer = drains.offer([tool("more")]).await;
    assert_eq!(answer.refused[0].reason, "INVALID_REQUEST");
    drains.returns(&dispatch, int(1));
    result(running).await;
    drains.drained().await;
    drop(drains);
    stays.returns(&kept, int(2));
    let dispatch = stays.dispatch().await;
    stays.returns(&dispatch, int(3));
    assert_eq!((result(other).await.0, result(waiting).await.0), (int(2), int(3)));
}

#[tokio::test]
async fn a_worker_without_calls_is_drained_at_once_and_what_waits_for_it_alone_ends() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut idle = TestWorker::offering(&session, [tool("idle")]).await;
    idle.drain();
    idle.drained().await;
    let mut busy = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let running = session.calling("t", None);
    let dispatch = busy.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    busy.drain();
    assert_eq!(refused(waiting.await.unwrap()).fact("dispatched"), "false");
    busy.returns(&dispatch, int(1));
    busy.drained().await;
    result(running).await;
}

#[tokio::test]
async fn a_worker_that_connects_again_takes_the_place_of_its_old_connection() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut old = TestWorker::join(&session, "w", 1).await.unwrap().with([tool("t")]).await;
    let of_another_name = TestWorker::offering(&session, [tool("u")]).await;
    let _global =
        TestWorker::hello(&session, WorkerHello { worker_id: "w".into(), max_concurrency: 1, ..Default::default() })
            .await
            .unwrap();
    let running = session.calling("t", None);
    let dispatch = old.dispatch().await;
    let mut new = TestWorker::join(&session, "w", 1).await.unwrap();
    assert_eq!(refused(running.await.unwrap()).fact("dispatched"), "true");
    let end = refused(Err::<(), _>(old.end().await));
    assert_eq!((&*end.reason, end.fact("field")), ("INVALID_REQUEST", "worker_id"));
    old.returns(&dispatch, int(1));
    assert_eq!(new.offer([tool("t")]).await.refused, []);
    let call = session.calling("t", None);
    let dispatch = new.dispatch().await;
    new.returns(&dispatch, int(2));
    assert_eq!(result(call).await.0, int(2));
    assert_eq!(session.tool("t").await.unwrap().workers.len(), 1);
    session.tool("u").await.unwrap();
    drop(of_another_name);
}
