//! A worker's stream: how it begins, what keeps it alive, and what ends it.

use std::time::Duration;

use prost::{Message as _, bytes::Bytes};
use snakepit_core::config::Limits;
use snakepit_proto::v1::{
    CallToolRequest, DispatchResult, ListValue, MapEntry, MapValue, OfferTools, ServeToolsRequest, ToolSpec, Value,
    WorkerHeartbeat, WorkerHello, serve_tools_request::Event as Say, serve_tools_response::Event, value::Kind,
};
use snakepit_server::server::Server;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::*,
    clock::{Frozen, pass, pass_over},
    raw::{self, field},
    setup::*,
    worker::*,
};

const SERVE: &str = "/snakepit_bridge.v1.ToolService/ServeTools";

fn hello(session: &TestSession) -> WorkerHello {
    WorkerHello { session_id: session.id.clone(), worker_id: unique("w"), max_concurrency: 1, ..Default::default() }
}

fn bytes(event: Say) -> Bytes {
    ServeToolsRequest { event: Some(event) }.encode_to_vec().into()
}

/// How a stream of these messages ends.
async fn end_of(session: &TestSession, messages: Vec<Bytes>) -> Refused {
    let mut stream = match raw::stream(&session.channel, SERVE, messages).await {
        Ok(stream) => stream,
        Err(status) => return refused(Err::<(), _>(status)),
    };
    loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => return refused(Err::<(), _>(status)),
        }
    }
}

#[tokio::test]
async fn a_worker_is_welcomed_with_what_it_has_to_know() {
    let limits = Limits { value_bytes: 12_345, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits).heartbeat(Duration::from_secs(7))).await;
    let session = server.session().await;
    let worker = TestWorker::join(&session, "w", 1).await.unwrap();
    assert_eq!((span(worker.welcome.heartbeat_interval), worker.welcome.value_bytes), (Duration::from_secs(7), 12_345));
}

#[tokio::test]
async fn who_a_worker_is_has_to_be_said_properly() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let good = hello(&session);
    for (bad, field) in [
        (WorkerHello { worker_id: String::new(), ..good.clone() }, "worker_id"),
        (WorkerHello { worker_id: "x".repeat(65), ..good.clone() }, "worker_id"),
        (WorkerHello { worker_id: "a/b".into(), ..good.clone() }, "worker_id"),
        (WorkerHello { max_concurrency: 0, ..good.clone() }, "max_concurrency"),
        (WorkerHello { max_concurrency: u32::MAX, ..good.clone() }, "max_concurrency"),
        (WorkerHello { label: "x".repeat(257), ..good.clone() }, "label"),
        (WorkerHello { instance: vec![0; 65].into(), ..good.clone() }, "instance"),
        (WorkerHello { session_id: "no session".into(), ..good.clone() }, "session_id"),
        (WorkerHello { incarnation: vec![1].into(), ..good.clone() }, "incarnation"),
    ] {
        let refused = refused(TestWorker::hello(&session, bad.clone()).await.map(drop));
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", field), "{bad:?}");
    }
    let label = "ü".repeat(256);
    let mut worker = TestWorker::hello(&session, WorkerHello { label: label.clone(), ..good }).await.unwrap();
    worker.offer([tool("t")]).await;
    assert_eq!(session.tool("t").await.unwrap().workers[0].label, label);
}

#[tokio::test]
async fn hello_comes_first_and_once() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let offer = bytes(Say::Offer(OfferTools { request: 1, tools: vec![tool("t")] }));
    let first = bytes(Say::Hello(hello(&session)));
    assert_eq!(end_of(&session, vec![offer.clone()]).await.fact("field"), "event");
    assert_eq!(end_of(&session, vec![Bytes::new()]).await.fact("field"), "event");
    assert_eq!(end_of(&session, vec![first.clone(), offer, first]).await.fact("field"), "hello");
    session.until_gone("t").await;
}

#[tokio::test]
async fn messages_that_are_none_end_the_stream_and_its_calls() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let first = || bytes(Say::Hello(hello(&session)));
    let unset = Bytes::new();
    let of_another_version = Bytes::from(field(15, b""));
    for (bad, expected) in [
        (unset, "event"),
        (of_another_version, "event"),
        (Bytes::from_static(&[0xff; 64]), "message"),
        (Bytes::from_static(b"\x80\x04\x95"), "message"),
        (Bytes::from(field(4, &field(2, &field(5, b"\xff\xfe")))), "message"),
    ] {
        let refused = end_of(&session, vec![first(), bad.clone()]).await;
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", expected), "{bad:?}");
    }
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let call = session.calling("t", None);
    worker.dispatch().await;
    worker.say(Say::Hello(hello(&session)));
    assert_eq!(refused(call.await.unwrap()).reason, "TOOL_UNAVAILABLE");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_no_worker() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let silent = tokio::spawn({
        let session = session.clone();
        async move { end_of(&session, Vec::new()).await }
    });
    // It has reached the server before this is answered.
    tokio::task::yield_now().await;
    session.listed().await;
    pass_over(10).await;
    assert_eq!(silent.await.unwrap().fact("field"), "event");
}

#[tokio::test]
async fn workers_of_a_session_are_limited_like_its_watchers() {
    let limits = Limits { watchers_per_session: 1, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    let worker = TestWorker::join(&session, "w", 1).await.unwrap();
    let full = refused(TestWorker::join(&session, "x", 1).await.map(drop));
    assert_eq!((&*full.reason, full.fact("limit")), ("LIMIT_EXCEEDED", "watchers_per_session"));
    drop(worker);
    while TestWorker::join(&session, "x", 1).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_server_shows_signs_of_life() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for _ in 0..2 {
        pass_over(5).await;
        assert_eq!(worker.hear().await.unwrap(), Event::Heartbeat(Default::default()));
    }
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_lost_and_one_that_shows_signs_of_life_is_not() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut silent = TestWorker::offering(&session, [tool("silent")]).await;
    let alive = TestWorker::offering(&session, [tool("alive")]).await;
    let call = session.sending(CallToolRequest { timeout: seconds(100), ..session.call_of("silent", None) });
    silent.dispatch().await;
    for _ in 0..3 {
        pass(5).await;
        alive.say(Say::Heartbeat(WorkerHeartbeat {}));
        session.listed().await;
    }
    pass_over(0).await;
    let refused_call = refused(call.await.unwrap());
    assert_eq!((&*refused_call.reason, refused_call.fact("dispatched")), ("TOOL_UNAVAILABLE", "true"));
    assert!(refused_call.fact("cause").contains("silent"), "{refused_call:?}");
    let end = refused(Err::<(), _>(silent.end().await));
    assert_eq!((&*end.reason, end.fact("field")), ("INVALID_REQUEST", "event"));
    session.until_gone("silent").await;
    session.tool("alive").await.unwrap();
}

#[tokio::test]
async fn results_that_are_no_values_are_failures_of_their_calls_alone() {
    let limits = Limits { value_bytes: 1_000, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let entry = |value| MapEntry { key: "k".into(), value };
    let map = |entries| of(Kind::MapValue(MapValue { entries }));
    let deep = (0..31).fold(int(1), |value, _| of(Kind::ListValue(ListValue { items: vec![value] })));
    for bad in [
        Some(text(&"x".repeat(1_001))),
        Some(deep),
        Some(map(vec![entry(Some(int(1))), entry(Some(int(2)))])),
        Some(map(vec![entry(None)])),
        Some(Value { kind: None }),
        None,
    ] {
        let call = session.calling("t", None);
        let dispatch = worker.dispatch().await;
        worker.say(Say::Result(DispatchResult { dispatch: dispatch.dispatch, value: bad.clone() }));
        let (failure, _) = failed(call).await;
        assert_eq!((&*failure.r#type, failure.retryable), ("ValueError", false), "{bad:?}");
        assert!(!failure.message.is_empty());
    }
    let call = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    worker.returns(&dispatch, int(1));
    result(call).await;
}

#[tokio::test]
async fn a_chunk_beyond_the_limit_ends_the_stream() {
    let limits = Limits { value_bytes: 1_000, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [ToolSpec { streaming: true, ..tool("t") }]).await;
    let _stream = session.stream(session.call_of("t", None)).await.unwrap();
    let dispatch = worker.dispatch().await;
    worker.yields(&dispatch, 0, text(&"x".repeat(1_001)));
    let end = refused(Err::<(), _>(worker.end().await));
    assert_eq!((&*end.reason, end.fact("limit")), ("LIMIT_EXCEEDED", "value_bytes"));
}

#[tokio::test]
async fn answers_to_what_a_worker_does_not_have_are_nobodys() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let mut other = TestWorker::with_room(&session, 1, [tool("u")]).await;
    let call = session.calling("u", None);
    let of_other = other.dispatch().await;
    worker.returns(&of_other, text("stolen"));
    worker.fails(&of_other, failure(false));
    let mut never = of_other.clone();
    for number in [0, of_other.dispatch + 1, u64::MAX] {
        never.dispatch = number;
        worker.returns(&never, text("stolen"));
    }
    let own = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    worker.returns(&dispatch, int(1));
    worker.returns(&dispatch, int(2));
    worker.fails(&dispatch, failure(false));
    assert_eq!(result(own).await.0, int(1));
    assert_eq!(worker.withdraw("none").await.refused, [], "its stream goes on");
    other.returns(&of_other, int(3));
    assert_eq!(result(call).await.0, int(3));
    for name in ["t", "u"] {
        assert_eq!(session.tool(name).await.unwrap().stats.unwrap().late, 0);
    }
}

#[tokio::test]
async fn an_older_stream_of_a_worker_that_comes_late_does_not_take_its_place() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let stream = |instance: &'static str, generation| WorkerHello {
        worker_id: "w".into(),
        instance: instance.into(),
        generation,
        ..hello(&session)
    };
    let newest = TestWorker::hello(&session, stream("one", 3)).await.unwrap();
    let mut newest = newest.with([tool("t")]).await;
    let late = refused(TestWorker::hello(&session, stream("one", 2)).await.map(drop));
    assert_eq!((&*late.reason, late.fact("field")), ("INVALID_REQUEST", "generation"));
    // It has lost nothing by that.
    let call = session.calling("t", None);
    let dispatch = newest.dispatch().await;
    newest.returns(&dispatch, int(1));
    assert_eq!(result(call).await.0, int(1));
    // What its program opens next, and what another program opens, does.
    for next in [stream("one", 4), stream("two", 1)] {
        let next = TestWorker::hello(&session, next).await.unwrap();
        let replaced = refused::<()>(Err(newest.end().await));
        assert_eq!((&*replaced.reason, replaced.fact("field")), ("INVALID_REQUEST", "worker_id"));
        newest = next;
    }
}

#[tokio::test]
async fn a_stop_lets_workers_finish_what_they_have_and_then_ends_their_streams() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut idle = TestWorker::offering(&session, [tool("idle")]).await;
    let mut busy = TestWorker::offering(&session, [tool("busy")]).await;
    let call = session.calling("busy", None);
    let dispatch = busy.dispatch().await;
    server.tell_to_stop();
    let unavailable =
        |status: &Status| status.code() == Code::Unavailable && status.get_error_details().error_info().is_none();
    let end = idle.end().await;
    assert!(unavailable(&end), "{end:?}");
    busy.returns(&dispatch, int(1));
    assert_eq!(result(call).await.0, int(1));
    let end = busy.end().await;
    assert!(unavailable(&end), "{end:?}");
    drop((session, idle, busy));
    server.stopped().await;
}
