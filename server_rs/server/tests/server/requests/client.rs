//! The library's own client, through a real server.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use snakepit_client::{CallError, CallOptions, Client, Credentials, Session, Streamed, connect};
use snakepit_proto::v1::{ToolFailure, ToolSpec, WatchMode, variable_service_client::VariableServiceClient};

use crate::support::{setup::*, worker::*};

/// A session with a worker that offers a tool, and the library's client of it.
async fn meeting(server: &TestServer, tool: ToolSpec) -> (Session, TestWorker) {
    let session = server.session().await;
    let worker = TestWorker::offering(&session, [tool]).await;
    let client = Client::connect(&server.address.to_string()).await.unwrap();
    (client.session(&session.id).await.unwrap(), worker)
}

#[tokio::test]
async fn values_of_every_json_type_go_there_and_come_back() {
    let server = TestServer::start().await;
    let (session, mut worker) = meeting(&server, tool("echo")).await;
    let given = json!({
        "text": "ü\n", "whole": i64::MAX, "float": 0.1, "flag": true, "nothing": null, "list": [1, 1.0, "a"],
        "map": {"b": 1, "a": {}},
    });
    let call = tokio::spawn({
        let given = given.clone();
        async move { session.call_tool("echo", &given).await }
    });
    let dispatch = worker.dispatch().await;
    let arguments = dispatch.arguments.clone().unwrap();
    worker.returns(&dispatch, of(snakepit_proto::v1::value::Kind::MapValue(arguments)));
    let reply = call.await.unwrap().unwrap();
    assert_eq!(reply.value.to_string(), given.to_string());
    assert_eq!(reply.call.attempts.len(), 1);
}

#[tokio::test]
async fn a_failure_a_refusal_and_a_deadline_are_told_apart() {
    let server = TestServer::start().await;
    let (session, mut worker) = meeting(&server, tool("broken")).await;
    let Err(CallError::Refused(refused)) = session.call_tool("borken", &json!({})).await else { panic!() };
    assert_eq!((&*refused.reason, &*refused.facts["closest"]), ("TOOL_NOT_FOUND", "broken"));
    let Err(CallError::Arguments(_)) = session.call_tool("broken", &[1]).await else { panic!() };
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.call_tool("broken", &json!({})).await }
    });
    let dispatch = worker.dispatch().await;
    worker.fails(&dispatch, ToolFailure { r#type: "ValueError".into(), message: "no".into(), ..Default::default() });
    let Err(CallError::Failed(failure)) = call.await.unwrap() else { panic!() };
    assert_eq!((&*failure.kind, &*failure.message), ("ValueError", "no"));
    let options = CallOptions { timeout: Some(Duration::from_millis(20)), ..Default::default() };
    let Err(CallError::Deadline(_)) = session.call_tool_with("broken", &json!({}), options).await else { panic!() };
}

#[tokio::test]
async fn a_stream_gives_chunks_and_then_the_result() {
    let server = TestServer::start().await;
    let (session, mut worker) = meeting(&server, ToolSpec { streaming: true, ..tool("count") }).await;
    let mut stream = session.stream_tool("count", &json!({}), CallOptions::default()).await.unwrap();
    let dispatch = worker.dispatch().await;
    for number in 0..3 {
        worker.yields(&dispatch, number, int(number.cast_signed()));
    }
    worker.returns(&dispatch, text("done"));
    let mut told: Vec<Value> = Vec::new();
    while let Some(next) = stream.next().await {
        match next.unwrap() {
            Streamed::Chunk(value) => told.push(value),
            Streamed::Result(reply) => told.push(reply.value),
        }
    }
    assert_eq!(told, [json!(0), json!(1), json!(2), json!("done")]);
}

#[tokio::test]
async fn a_call_is_cancelled_by_its_id_and_by_dropping_it() {
    let server = TestServer::start().await;
    let (session, mut worker) = meeting(&server, tool("slow")).await;
    let options = CallOptions { call_id: "one".into(), ..Default::default() };
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.call_tool_with("slow", &json!({}), options).await }
    });
    let dispatch = worker.dispatch().await;
    assert!(session.cancel_call("one").await.unwrap());
    worker.cancelled(&dispatch).await;
    let Err(CallError::Refused(refused)) = call.await.unwrap() else { panic!() };
    assert_eq!((&*refused.reason, &*refused.facts["call"]), ("CALL_CANCELLED", "one"));
    assert!(!session.cancel_call("one").await.unwrap());

    let call = tokio::spawn(async move { session.call_tool("slow", &json!({})).await });
    let dispatch = worker.dispatch().await;
    call.abort();
    worker.cancelled(&dispatch).await;
}

#[tokio::test]
async fn nobody_at_the_address_is_told_as_such() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let Err(CallError::Transport(told)) = Client::connect(&address).await.map(|_| ()) else { panic!() };
    assert!(told.contains(&address), "{told}");
    assert!(matches!(Client::connect("no address").await, Err(CallError::Transport(_))));
}

/// HTTP/2's flood protection of this client ended the connection, and all calls on it, when some ten thousand small
/// messages were unread there.
#[tokio::test]
async fn watches_that_nobody_reads_leave_the_connection_to_others() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["v"]).await;
    let connected = connect(&server.address.to_string(), &Credentials::default()).await.unwrap();
    let mut watching = VariableServiceClient::new(connected.clone());
    let mut unread = Vec::new();
    for _ in 0..32 {
        let mut watch = watching.watch_variables(session.watch_of(WatchMode::Every)).await.unwrap().into_inner();
        watch.message().await.unwrap();
        unread.push(watch);
    }
    let mut reader = watching.watch_variables(session.watch_of(WatchMode::Every)).await.unwrap().into_inner();
    let first = reader.message().await.unwrap().unwrap().revision;
    for turn in 1..=1_500 {
        session.write([set("v", int(turn))]).await;
        // Each is sent before the next is made, so none of them shares a frame.
        while reader.message().await.unwrap().unwrap().revision < first + u64::try_from(turn).unwrap() {}
    }
    for mut watch in unread {
        let next = watch.message().await.unwrap().unwrap().revision;
        assert_eq!(next, first + 1);
    }
}

#[tokio::test]
async fn a_call_that_an_older_server_does_not_know_names_this_release() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let served = tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
    let client = Client::connect(&address).await.unwrap();
    let Err(CallError::Refused(refused)) = client.session("s").await else { panic!() };
    assert_eq!(refused.reason, "VERSION_UNSUPPORTED");
    assert_eq!(refused.facts["client_release"], env!("CARGO_PKG_VERSION"));
    served.abort();
}
