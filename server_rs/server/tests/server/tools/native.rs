//! Tools that the host of the server runs itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snakepit_client::{CallError, CallOptions, Client, Session};
use snakepit_core::tool::Failure;
use snakepit_proto::v1::CallState;
use snakepit_server::{
    server::{ServeError, Server},
    tool::{RetryPolicy, Tool},
};
use tokio::{net::TcpListener, sync::Notify};

use crate::support::setup::*;

/// Everything that JSON has.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
struct Everything {
    /// Text.
    text: String,
    whole: i64,
    float: f64,
    flag: bool,
    nothing: Option<u8>,
    list: Vec<u32>,
    map: BTreeMap<String, Option<f32>>,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

async fn hosting(tool: Tool) -> (TestServer, Session) {
    let server = TestServer::of(Server::builder().native_tool(tool)).await;
    let session = Client::connect(&server.address.to_string()).await.unwrap().session(&unique("s")).await.unwrap();
    (server, session)
}

fn failure(answer: Result<snakepit_client::Reply, CallError>) -> Failure {
    match answer {
        Err(CallError::Failed(failure)) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn typed_arguments_and_results_go_in_and_out_exactly() {
    let echo = Tool::new("echo", |it: Everything| async move { Ok::<_, Failure>(it) }).description("Gives it back.");
    let (_server, session) = hosting(echo).await;
    let given = json!({
        "text": "ü", "whole": i64::MIN, "float": 0.1, "flag": true, "nothing": null, "list": [1, 2],
        "map": {"b": null, "a": 1.5},
    });
    let reply = session.call_tool("echo", &given).await.unwrap();
    assert_eq!(reply.value, given);
    assert_eq!((reply.call.state(), &*reply.call.attempts[0].worker_id), (CallState::Result, ""));
    let listed = &session.list_tools().await.unwrap()[0];
    let spec = listed.spec.clone().unwrap();
    assert_eq!((listed.native, listed.global, &*spec.description), (true, true, "Gives it back."));
    let schema: Value = serde_json::from_str(&spec.arguments_schema).unwrap();
    assert_eq!((&schema["type"], &schema["properties"]["text"]["description"]), (&json!("object"), &json!("Text.")));
}

#[tokio::test]
async fn arguments_that_do_not_fit_never_reach_it() {
    let ran = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&ran);
    let (_server, session) = hosting(Tool::new("echo", move |_: Everything| {
        counting.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Failure>(()) }
    }))
    .await;
    assert!(session.call_tool("echo", &json!({"text": 5})).await.is_err());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn errors_are_told_by_type_and_text_and_failures_as_they_are() {
    let parse = |_: Nothing| async { "x".parse::<u8>() };
    let (_server, session) = hosting(Tool::new("parse", parse)).await;
    let told = failure(session.call_tool("parse", &json!({})).await);
    assert_eq!((&*told.kind, &*told.message), ("ParseIntError", "invalid digit found in string"));

    let (_server, session) = hosting(Tool::new("say", |_: Nothing| async { Err::<(), _>("no".to_owned()) })).await;
    assert_eq!(failure(session.call_tool("say", &json!({})).await), Failure::new("ToolError", "no"));

    let own = Failure::new("Teapot", "short and stout").retryable();
    let raised = own.clone();
    let tool = Tool::new("own", move |_: Nothing| std::future::ready(Err::<(), _>(raised.clone())));
    let (_server, session) = hosting(tool).await;
    assert_eq!(failure(session.call_tool("own", &json!({})).await), own);
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_server_goes_on() {
    #[expect(clippy::panic, reason = "that is what is tested")]
    let tool = Tool::new("fall", |_: Nothing| async { if true { panic!("over") } else { Ok::<(), Failure>(()) } });
    let (_server, session) = hosting(tool).await;
    for _ in 0..3 {
        assert_eq!(failure(session.call_tool("fall", &json!({})).await), Failure::new("panic", "over"));
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_if_that_does_no_harm() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&tries);
    let flaky = Tool::new("flaky", move |_: Nothing| {
        let attempt = counting.fetch_add(1, Ordering::SeqCst) + 1;
        async move { if attempt < 3 { Err(Failure::new("Busy", "later").retryable()) } else { Ok(attempt) } }
    })
    .idempotent(true)
    .retry(RetryPolicy { initial_backoff: Duration::from_millis(1), ..RetryPolicy::default() });
    let (_server, session) = hosting(flaky).await;
    let reply = session.call_tool("flaky", &json!({})).await.unwrap();
    assert_eq!((reply.value, reply.call.attempts.len()), (json!(3), 3));
}

#[tokio::test]
async fn a_caller_who_gives_up_drops_its_future() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, drops) = (Arc::clone(&begun), Arc::clone(&dropped));
    let tool = Tool::new("wait", move |_: Nothing| {
        let (begins, guard) = (Arc::clone(&begins), Dropped(Arc::clone(&drops)));
        async move {
            begins.notify_one();
            std::future::pending::<()>().await;
            drop(guard);
            Ok::<(), Failure>(())
        }
    });
    let (_server, session) = hosting(tool).await;
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.call_tool("wait", &json!({})).await }
    });
    begun.notified().await;
    call.abort();
    dropped.notified().await;

    let options = CallOptions { timeout: Some(Duration::from_millis(20)), ..CallOptions::default() };
    let answer = session.call_tool_with("wait", &json!({}), options).await;
    assert!(matches!(answer, Err(CallError::Deadline(_))), "{answer:?}");
    dropped.notified().await;
}

#[tokio::test]
async fn no_more_run_at_once_than_it_says() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (Arc::clone(&running), Arc::clone(&most));
    let tool = Tool::new("work", move |_: Nothing| {
        let (now, highest) = (Arc::clone(&now), Arc::clone(&highest));
        async move {
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<(), Failure>(())
        }
    })
    .max_concurrency(3);
    let (_server, session) = hosting(tool).await;
    let nothing = json!({});
    let calls = (0..50).map(|_| session.call_tool("work", &nothing));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_tool_that_cannot_be_offered_keeps_the_server_from_starting() {
    let tool = |name: &str| Tool::new(name, |_: Nothing| async { Ok::<(), Failure>(()) });
    for tools in [vec![tool("not a name")], vec![tool("twice"), tool("twice")]] {
        let builder = tools.into_iter().fold(Server::builder(), snakepit_server::server::Builder::native_tool);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = builder.serve(listener, std::future::ready(())).await;
        assert!(matches!(served, Err(ServeError::Tool(_))), "{served:?}");
    }
}
