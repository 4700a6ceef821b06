//! Every request has an id: in its answer, in its error, in the audit log.

use prost::bytes::Bytes;
use snakepit_proto::v1::{
    CallToolRequest, DeleteSessionRequest, GetServerInfoRequest, ServeToolsRequest, StreamToolRequest, WatchMode,
    server_service_client::ServerServiceClient,
};
use snakepit_server::{audit::AuditLog, server::Server};
use tonic::{Code, Request, Response, Status, metadata::AsciiMetadataValue};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::*,
    guarded::{ALL, Guarded},
    metadata::named,
    raw,
    setup::*,
    worker::*,
};

/// The id that an error has: the same in its details and in its metadata.
pub fn id_of(status: &Status) -> String {
    let details = status.get_error_details();
    let Some(request) = details.request_info() else { panic!("{status:?} names no request") };
    if let Some(said) = status.metadata().get("x-request-id") {
        assert_eq!(said, &*request.request_id);
    }
    request.request_id.clone()
}

fn answered<T>(response: &Response<T>) -> &str {
    response.metadata().get("x-request-id").unwrap().to_str().unwrap()
}

fn is_made(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[tokio::test]
async fn an_answer_and_an_error_have_the_id_that_the_client_gave() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut variables = session.variables.clone();
    let write = session.write_of([register("n", snakepit_proto::v1::VariableType::Integer, int(1))]);
    assert_eq!(answered(&variables.write_variables(named("mine-1", write)).await.unwrap()), "mine-1");
    let refused = variables.write_variables(named("mine-2", session.write_of([set("n", text("x"))]))).await;
    assert_eq!(id_of(&refused.unwrap_err()), "mine-2");
    let watch = session.watch_of(WatchMode::Every);
    assert_eq!(answered(&variables.watch_variables(named("mine-3", watch)).await.unwrap()), "mine-3");
}

#[tokio::test]
async fn who_gives_no_id_gets_one_and_another_each_time() {
    let server = TestServer::start().await;
    let mut client = ServerServiceClient::new(server.connect().await);
    let first = client.get_server_info(GetServerInfoRequest {}).await.unwrap();
    let second = client.get_server_info(GetServerInfoRequest {}).await.unwrap();
    assert!(is_made(answered(&first)) && is_made(answered(&second)), "{first:?} {second:?}");
    assert_ne!(answered(&first), answered(&second));
}

#[tokio::test]
async fn an_id_that_could_forge_a_line_of_the_log_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    let server = TestServer::of(Server::builder().audit(AuditLog::open(&log).unwrap())).await;
    let session = server.session().await;
    let endless = "x".repeat(129);
    let forged: [&[u8]; 8] = [
        b"",
        b"a b",
        b"a\tlevel=ERROR",
        b"a\",\"level\":\"ERROR",
        b"\x1b[31m",
        "é".as_bytes(),
        b"a;b",
        endless.as_bytes(),
    ];
    for id in forged {
        let mut request = Request::new(session.write_of([set("missing", int(1))]));
        let Ok(value) = AsciiMetadataValue::try_from(id) else {
            // What even HTTP does not carry.
            continue;
        };
        request.metadata_mut().insert("x-request-id", value);
        let status = session.variables.clone().write_variables(request).await.unwrap_err();
        assert!(is_made(&id_of(&status)), "{id:?}");
    }
    let mut twice = named("a", session.write_of([set("missing", int(1))]));
    twice.metadata_mut().append("x-request-id", "b".parse().unwrap());
    assert!(is_made(&id_of(&session.variables.clone().write_variables(twice).await.unwrap_err())));
    let fits = "A-b_c.d:e/f+g=h@i".to_owned() + &"0".repeat(111);
    let status =
        session.variables.clone().write_variables(named(&fits, session.write_of([set("missing", int(1))]))).await;
    assert_eq!(id_of(&status.unwrap_err()), fits);
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = line["request_id"].as_str().unwrap();
        assert!(is_made(id) || id == fits, "{line}");
    }
}

#[tokio::test]
async fn what_is_refused_before_any_service_sees_it_has_an_id_too() {
    let server = Guarded::start(&[("all", ALL, "*")]).await;
    let channel = server.server.connect().await;
    let mut ids = Vec::new();
    for (method, message, code) in [
        ("/snakepit_bridge.v1.ServerService/GetServerInfo", Bytes::new(), Code::Unauthenticated),
        ("/snakepit_bridge.v1.ServerService/NoSuchRpc", Bytes::new(), Code::Unimplemented),
        ("/no.such.Service/Rpc", Bytes::new(), Code::Unimplemented),
        ("/grpc.health.v1.Health/NoSuchRpc", Bytes::new(), Code::Unimplemented),
    ] {
        let status = raw::call(&channel, method, message).await.unwrap_err();
        assert_eq!(status.code(), code, "{method}");
        ids.push(id_of(&status));
    }
    let mut health = HealthClient::new(channel.clone());
    let unknown = health.check(HealthCheckRequest { service: "unknown".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    ids.push(id_of(&unknown));

    let server = TestServer::start().await;
    let channel = server.connect().await;
    for (message, code) in
        [(Bytes::from_static(b"\xff"), Code::InvalidArgument), (vec![0; 33 << 20].into(), Code::ResourceExhausted)]
    {
        let status = raw::call(&channel, "/snakepit_bridge.v1.ServerService/GetServerInfo", message).await.unwrap_err();
        assert_eq!(status.code(), code);
        ids.push(id_of(&status));
    }
    let mut other = Request::new(GetServerInfoRequest {});
    other.metadata_mut().insert("snakepit-api-version", "2".parse().unwrap());
    ids.push(id_of(&ServerServiceClient::new(channel).get_server_info(other).await.unwrap_err()));
    assert!(ids.iter().all(|id| is_made(id)), "{ids:?}");
}

#[tokio::test]
async fn a_stream_ends_with_the_id_that_it_began_with() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut watches = Vec::new();
    for (id, mode) in [("watch-1", WatchMode::Latest), ("watch-2", WatchMode::Every)] {
        let watch = session.variables.clone().watch_variables(named(id, session.watch_of(mode))).await.unwrap();
        watches.push((id, watch.into_inner()));
    }
    let delete = DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    session.sessions.clone().delete_session(delete).await.unwrap();
    for (id, mut watch) in watches {
        let ended = loop {
            match watch.message().await {
                Ok(message) => assert!(message.is_some(), "a session's end is an error"),
                Err(status) => break status,
            }
        };
        assert_eq!((id_of(&ended), ended.code()), (id.to_owned(), Code::NotFound));
    }
    let nothing = tokio_stream::iter([ServeToolsRequest { event: None }]);
    assert_eq!(id_of(&session.tools().serve_tools(named("worker-1", nothing)).await.unwrap_err()), "worker-1");
}

#[tokio::test]
async fn the_end_of_a_streamed_call_has_its_id() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("count")]).await;
    let call = CallToolRequest { call_id: "c".into(), ..session.call_of("count", None) };
    let request = named("stream-1", StreamToolRequest { call: Some(call) });
    let mut streamed = session.tools().stream_tool(request).await.unwrap().into_inner();
    worker.dispatch().await;
    assert!(session.cancel("c", "me").await.unwrap());
    let ended = loop {
        match streamed.message().await {
            Ok(message) => assert!(message.is_some(), "a cancelled call is an error"),
            Err(status) => break status,
        }
    };
    assert_eq!((id_of(&ended), ended.code()), ("stream-1".to_owned(), Code::Cancelled));
}

#[tokio::test]
async fn what_has_no_reason_has_an_id() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut watch = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    watch.message().await.unwrap();
    let late = CallToolRequest { timeout: seconds(0), ..session.call_of("none", None) };
    assert!(!id_of(&session.send_call(late).await.unwrap_err()).is_empty());
    server.tell_to_stop();
    let stopped = loop {
        if let Err(status) = watch.message().await {
            break status;
        }
    };
    assert_eq!(stopped.code(), Code::Unavailable);
    assert!(stopped.get_error_details().error_info().is_none() && is_made(&id_of(&stopped)));
}
