//! The trace of a caller reaches the tool, whoever runs it.

use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::Deserialize;
use snakepit_core::tool::Failure;
use snakepit_server::{server::Server, tool::Tool};

use crate::support::{caller::*, metadata::*, setup::*, worker::*};

#[tokio::test]
async fn a_worker_is_told_the_span_of_the_caller_and_nothing_that_breaks_the_specification() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for (sent, state, told) in [
        (PARENT, "vendor=1", (PARENT, "vendor=1")),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "vendor=1", ("", "")),
        ("nonsense", "vendor=1", ("", "")),
    ] {
        let request = traced(session.call_of("t", None), sent, state);
        let mut tools = session.tools();
        let call = tokio::spawn(async move { tools.call_tool(request).await.map(tonic::Response::into_inner) });
        let dispatch = worker.dispatch().await;
        assert_eq!((&*dispatch.traceparent, &*dispatch.tracestate), told, "{sent}");
        worker.returns(&dispatch, int(1));
        result(call).await;
    }
}

#[tokio::test]
async fn a_tool_of_the_host_is_told_the_same() {
    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let note = Tool::with_context("note", move |_: Nothing, call| {
        noting.lock().unwrap().push((call.traceparent.to_string(), call.tracestate.to_string()));
        async { Ok::<_, Failure>(()) }
    });
    let server = TestServer::of(Server::builder().native_tool(note)).await;
    let session = server.session().await;
    session.tools().call_tool(traced(session.call_of("note", arguments([])), PARENT, "a=1")).await.unwrap();
    session.send_call(session.call_of("note", arguments([]))).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, [(PARENT.to_owned(), "a=1".to_owned()), (String::new(), String::new())]);
}
