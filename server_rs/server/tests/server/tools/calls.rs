//! A call, from its acceptance to its one end.

use snakepit_core::config::Limits;
use snakepit_proto::v1::{
    CallState, CallToolRequest, CancelCallRequest, Dtype, GetCallRequest, GetToolRequest, ListToolsRequest, ListValue,
    MapEntry, MapValue, NdArray, WorkerHello, value::Kind,
};
use snakepit_server::server::Server;
use tonic::{Code, Request};

use crate::support::{caller::*, setup::*, worker::*};

#[tokio::test]
async fn a_call_goes_to_the_worker_and_its_result_comes_back() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("population")]).await;
    let call = session.calling("population", arguments([("city", text("Paris"))]));
    let dispatch = worker.dispatch().await;
    assert_eq!((&*dispatch.tool, dispatch.attempt), ("population", 1));
    assert_eq!(dispatch.arguments, arguments([("city", text("Paris"))]));
    worker.returns(&dispatch, int(2_102_650));
    let (value, told) = result(call).await;
    assert_eq!(value, int(2_102_650));
    assert_eq!((told.state(), told.attempts.len(), &*told.attempts[0].worker_id), (CallState::Result, 1, &*worker.id));
    assert_eq!(told.call_id, dispatch.call_id);
}

#[tokio::test]
async fn a_failure_is_an_outcome_of_the_call() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("broken")]).await;
    let call = session.calling("broken", None);
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, failure(false));
    let (told, call) = failed(call).await;
    assert_eq!((told, call.state()), (failure(false), CallState::Failure));
}

#[tokio::test]
async fn values_of_every_kind_arrive_as_they_were_sent_both_ways() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("echo")]).await;
    let array = NdArray { dtype: Dtype::Float64.into(), shape: vec![1], data: vec![0, 0, 0, 0, 0, 0, 240, 63].into() };
    let kinds = [
        Kind::NullValue(0),
        Kind::BoolValue(true),
        Kind::Int64Value(i64::MIN),
        Kind::DoubleValue(-0.1),
        Kind::StringValue("ü\u{0}".repeat(300_000)),
        Kind::BytesValue(vec![0, 255].into()),
        Kind::NdarrayValue(array),
        Kind::ListValue(ListValue { items: vec![int(1), float(1.0)] }),
    ];
    let entries = kinds
        .into_iter()
        .enumerate()
        .map(|(index, kind)| MapEntry { key: format!("{}", 9 - index), value: Some(of(kind)) });
    let map = MapValue { entries: entries.collect() };
    let call = session.calling("echo", Some(map.clone()));
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.arguments, Some(map.clone()), "in the order given");
    worker.returns(&dispatch, of(Kind::MapValue(map.clone())));
    assert_eq!(result(call).await.0, of(Kind::MapValue(map)));
}

#[tokio::test]
async fn a_worker_is_told_who_calls_and_from_where() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::global(&session, 1, [tool("whoami")]).await;
    let request = CallToolRequest { author: "ada".into(), call_id: "c-1".into(), ..session.call_of("whoami", None) };
    let mut request = Request::new(request);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", trace.parse().unwrap());
    let mut client = session.tools();
    let call = tokio::spawn(async move { client.call_tool(request).await.map(tonic::Response::into_inner) });
    let told = worker.dispatch().await;
    assert_eq!((&*told.caller, &*told.call_id, &*told.session_id), ("ada", "c-1", &*session.id));
    assert_eq!((&*told.traceparent, told.chunk_credit), (trace, 0));
    worker.returns(&told, int(1));
    result(call).await;
}

#[tokio::test]
async fn an_unknown_tool_is_refused_with_the_closest_names() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let _worker = TestWorker::offering(&session, ["population", "popularity", "weather"].map(tool)).await;
    for refused in [
        refused(session.send_call(session.call_of("popluation", None)).await),
        refused(session.stream(session.call_of("popluation", None)).await),
        refused(session.tool("popluation").await),
    ] {
        assert_eq!((refused.code, &*refused.reason), (Code::NotFound, "TOOL_NOT_FOUND"));
        assert_eq!((refused.fact("session"), refused.fact("tool")), (&*session.id, "popluation"));
        assert_eq!(refused.fact("closest").split(',').next(), Some("population"));
    }
}

#[tokio::test]
async fn a_call_id_is_refused_while_the_session_has_a_call_of_it() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let other = server.session().await;
    let mut worker = TestWorker::global(&session, 10, [tool("t")]).await;
    let call = session.calling_as("mine", "t");
    let first = worker.dispatch().await;
    let again = || async { refused(session.calling_as("mine", "t").await.unwrap()) };
    assert_eq!((&*again().await.reason, again().await.fact("field")), ("INVALID_REQUEST", "call_id"), "it runs");
    let call_of_another_session = other.calling_as("mine", "t");
    let second = worker.dispatch().await;
    worker.returns(&first, int(1));
    worker.returns(&second, int(2));
    assert_eq!((result(call).await.0, result(call_of_another_session).await.0), (int(1), int(2)));
    assert_eq!(again().await.fact("field"), "call_id", "it is remembered");
    assert_eq!(session.tool("t").await.unwrap().stats.unwrap().calls, 2);
    for bad in ["x".repeat(65), "a b".into(), "ä".into(), "a/b".into()] {
        assert_eq!(refused(session.calling_as(&bad, "t").await.unwrap()).fact("field"), "call_id", "{bad}");
    }
}

#[tokio::test]
async fn how_a_call_stands_and_ended_can_be_asked() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let first = session.calling_as("first", "t");
    let dispatch = worker.dispatch().await;
    let second = session.calling_as("second", "t");
    let queued = session.until_call("second", |_| true).await;
    assert_eq!((queued.state(), queued.attempts.len()), (CallState::Queued, 0));
    let running = session.call("first").await.unwrap();
    assert_eq!((running.state(), running.attempts[0].state()), (CallState::Running, CallState::Running));
    assert_eq!((&*running.tool, &*running.call_id), ("t", "first"));
    worker.returns(&dispatch, int(1));
    let (_, told) = result(first).await;
    assert_eq!(session.call("first").await.unwrap(), told);
    assert_eq!((told.state(), told.attempts[0].state()), (CallState::Result, CallState::Result));
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, failure(false));
    let (_, told) = failed(second).await;
    assert_eq!(session.call("second").await.unwrap(), told);
    assert_eq!(told.state(), CallState::Failure);
    let unknown = refused(session.call("third").await);
    assert_eq!((&*unknown.reason, unknown.fact("field")), ("INVALID_REQUEST", "call_id"));
    let other = server.session().await;
    assert_eq!(refused(other.call("first").await).fact("field"), "call_id", "another session's");
}

#[tokio::test]
async fn arguments_are_limited_and_have_to_be_values() {
    let server = TestServer::of(Server::builder().limits(Limits { value_bytes: 1_000, ..Limits::default() })).await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    let call = |arguments| session.send_call(session.call_of("t", arguments));
    let big = arguments([("text", text(&"x".repeat(1_001)))]);
    let refused_call = refused(call(big).await);
    assert_eq!((&*refused_call.reason, refused_call.fact("limit")), ("LIMIT_EXCEEDED", "value_bytes"));
    let deep = (0..31).fold(int(1), |value, _| of(Kind::ListValue(ListValue { items: vec![value] })));
    for bad in [
        arguments([("x", int(1)), ("x", int(2))]),
        arguments([("x", of(Kind::ListValue(ListValue { items: vec![Default::default()] })))]),
        arguments([("x", deep)]),
    ] {
        let refused_call = refused(call(bad.clone()).await);
        assert_eq!((&*refused_call.reason, refused_call.fact("field")), ("INVALID_REQUEST", "arguments"), "{bad:?}");
    }
    let accepted = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.arguments, arguments([]));
    worker.returns(&dispatch, int(1));
    result(accepted).await;
}

#[tokio::test]
async fn the_figures_tell_calls_by_how_they_ended() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for ends in ["result", "failure", "cancel", "lost"] {
        let call = session.calling_as(ends, "t");
        let dispatch = worker.dispatch().await;
        match ends {
            "result" => worker.returns(&dispatch, int(1)),
            "failure" => worker.fails(&dispatch, failure(false)),
            "cancel" => {
                assert!(session.cancel(ends, "").await.unwrap());
                worker.cancelled(&dispatch).await;
            }
            _ => worker = TestWorker::offering(&session, [tool("t")]).await,
        }
        call.await.unwrap().ok();
    }
    let running = session.calling("t", None);
    worker.dispatch().await;
    let stats = session.tool("t").await.unwrap().stats.unwrap();
    assert_eq!((stats.results, stats.failures, stats.cancellations, stats.unavailable), (1, 1, 1, 1));
    assert_eq!((stats.calls, stats.in_flight, stats.queued, stats.deadlines), (5, 1, 0, 0));
    assert_eq!(stats.latency.iter().map(|bucket| bucket.count).sum::<u64>(), 4);
    assert!(stats.latency.iter().rev().skip(1).all(|bucket| bucket.up_to.is_some()));
    running.abort();
}

#[tokio::test]
async fn every_request_names_a_session_and_its_life() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let _worker = TestWorker::offering(&session, [tool("t")]).await;
    for (session_id, incarnation, reason) in
        [("nobody", Vec::new(), "SESSION_NOT_FOUND"), (&*session.id, vec![9; 16], "SESSION_EXPIRED")]
    {
        let (session_id, incarnation) = (session_id.to_owned(), prost::bytes::Bytes::from(incarnation));
        let mut client = session.tools();
        let call = CallToolRequest {
            session_id: session_id.clone(),
            incarnation: incarnation.clone(),
            ..session.call_of("t", None)
        };
        let get = GetToolRequest { session_id: session_id.clone(), incarnation: incarnation.clone(), tool: "t".into() };
        let call_id = "c".to_owned();
        let status = GetCallRequest {
            session_id: session_id.clone(),
            incarnation: incarnation.clone(),
            call_id: call_id.clone(),
        };
        let list =
            ListToolsRequest { session_id: session_id.clone(), incarnation: incarnation.clone(), ..Default::default() };
        let cancel = CancelCallRequest {
            session_id: session_id.clone(),
            incarnation: incarnation.clone(),
            call_id,
            ..Default::default()
        };
        let hello =
            WorkerHello { session_id, incarnation, worker_id: "w".into(), max_concurrency: 1, ..Default::default() };
        assert_eq!(refused(client.call_tool(call.clone()).await).reason, reason);
        assert_eq!(refused(session.stream(call).await).reason, reason);
        assert_eq!(refused(client.get_tool(get).await).reason, reason);
        assert_eq!(refused(client.get_call(status).await).reason, reason);
        assert_eq!(refused(client.list_tools(list).await).reason, reason);
        assert_eq!(refused(client.cancel_call(cancel).await).reason, reason);
        assert_eq!(refused(TestWorker::hello(&session, hello).await.map(drop)).reason, reason);
    }
}
