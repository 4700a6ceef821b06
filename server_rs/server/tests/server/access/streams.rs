//! Open streams when the tokens change: they end as soon as they would not be opened any more.

use std::time::Duration;

use snakepit_proto::v1::{
    CallToolRequest, OfferTools, ServeToolsRequest, ServeToolsResponse, StreamToolRequest, ToolSpec, VariableType,
    WatchMode, WorkerHello, serve_tools_request::Event as Say, serve_tools_response::Event as Told,
    stream_tool_response::Event as Streamed, watch_variables_response::Event,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    setup::*,
};

/// What ends a stream that says nothing of interest any more.
async fn end<T>(stream: &mut Streaming<T>) -> Refused {
    let end = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a reason"),
                Err(status) => return refused::<()>(Err(status)),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.unwrap()
}

fn is(refused: &Refused, reason: &str, role: &str) {
    assert_eq!((&*refused.reason, refused.fact("role")), (reason, role));
}

#[tokio::test]
async fn a_watch_ends_when_its_token_may_no_longer_have_it() {
    for (tokens, reason, role) in [
        (&[][..], "UNAUTHENTICATED", "read"),
        (&[("it", "write read_secret", "*")], "PERMISSION_DENIED", "read"),
        (&[("it", "read read_secret", "other")], "PERMISSION_DENIED", "read"),
        (&[("it", "read", "*")], "PERMISSION_DENIED", "read_secret"),
    ] {
        for mode in [WatchMode::Latest, WatchMode::Every] {
            let server = Guarded::start(&[("all", ALL, "*"), ("it", "read read_secret", "*")]).await;
            let (all, it) = (server.holder("all").await, server.holder("it").await);
            all.open("s").await.unwrap();
            let mut watch = it.watch("s", mode).await.unwrap();
            server.now(&[&[("all", ALL, "*")], tokens].concat());
            is(&end(&mut watch).await, reason, role);
        }
    }
}

/// A worker of a token's, under this id, that offers a tool and is welcome.
async fn worker(
    holder: &Holder,
    id: &str,
    name: &str,
) -> (mpsc::UnboundedSender<ServeToolsRequest>, Streaming<ServeToolsResponse>) {
    let (say, said) = mpsc::unbounded_channel();
    let hello = WorkerHello { session_id: "s".into(), worker_id: id.into(), max_concurrency: 3, ..Default::default() };
    let offer = OfferTools { tools: vec![ToolSpec { name: name.into(), ..Default::default() }], ..Default::default() };
    for event in [Say::Hello(hello), Say::Offer(offer)] {
        say.send(ServeToolsRequest { event: Some(event) }).unwrap();
    }
    let mut told = holder.tools().serve_tools(UnboundedReceiverStream::new(said)).await.unwrap().into_inner();
    loop {
        match told.message().await.unwrap().unwrap().event.unwrap() {
            Told::Answer(answer) => {
                assert_eq!(answer.refused, []);
                return (say, told);
            }
            Told::Welcome(_) | Told::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_worker_id_is_one_among_its_tokens_and_nobody_takes_the_place_of_anothers_worker() {
    let server = Guarded::start(&[("all", ALL, "*"), ("owner", "offer_tool", "*"), ("other", "offer_tool", "*")]).await;
    let (all, owner, other) = (server.holder("all").await, server.holder("owner").await, server.holder("other").await);
    all.open("s").await.unwrap();
    let (_say, mut honest) = worker(&owner, "w", "mine").await;
    let (_other_say, mut thief) = worker(&other, "w", "theirs").await;
    let call = |tool: &str| CallToolRequest { session_id: "s".into(), tool: tool.into(), ..Default::default() };
    for (stream, tool) in [(&mut honest, "mine"), (&mut thief, "theirs")] {
        let (mut tools, request) = (all.tools(), call(tool));
        let calling = tokio::spawn(async move { tools.call_tool(request).await });
        loop {
            match stream.message().await.unwrap().unwrap().event.unwrap() {
                Told::Dispatch(dispatch) => break assert_eq!(dispatch.tool, tool),
                Told::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
        calling.abort();
    }
    // A worker of the same token that connects anew takes its own place, as ever.
    let (_new_say, _new) = worker(&owner, "w", "mine").await;
    let replaced = end(&mut honest).await;
    assert_eq!((&*replaced.reason, replaced.fact("field")), ("INVALID_REQUEST", "worker_id"));
}

#[tokio::test]
async fn a_watch_that_is_still_allowed_goes_on_and_misses_nothing() {
    let server = Guarded::start(&[("all", ALL, "*"), ("it", "read write", "*")]).await;
    let (all, it) = (server.holder("all").await, server.holder("it").await);
    all.open("s").await.unwrap();
    let mut watch = it.watch("s", WatchMode::Every).await.unwrap();
    // Other roles, other sessions, another name, another order: all of no matter to this watch.
    server.now(&[("it", "read admin", "s"), ("new", ALL, "*"), ("all", ALL, "*")]);
    for number in 0..3 {
        let name = format!("n{number}");
        server.now(&[("it", "read", "s"), ("all", ALL, "*"), (&name, "read", "*")]);
        all.write("s", [register(&name, VariableType::Integer, int(0))]).await.unwrap();
        loop {
            match watch.message().await.unwrap().unwrap().event.unwrap() {
                Event::Changes(changes) => {
                    assert_eq!(changes.changes[0].variable.as_ref().unwrap().name, name);
                    break;
                }
                Event::Heartbeat(_) => {}
                other => panic!("{other:?} is no change"),
            }
        }
    }
}

/// A worker of its own, which goes on saying whatever it likes.
struct Worker {
    said: mpsc::UnboundedSender<ServeToolsRequest>,
    told: Streaming<snakepit_proto::v1::ServeToolsResponse>,
}

impl Worker {
    async fn join(holder: &Holder, session: &str, tools: &[&str]) -> Result<Self, Status> {
        let (said, listened) = mpsc::unbounded_channel();
        let (session_id, worker_id) = (session.to_owned(), unique("worker"));
        let hello = WorkerHello { session_id, worker_id, max_concurrency: 3, ..Default::default() };
        said.send(ServeToolsRequest { event: Some(Say::Hello(hello)) }).unwrap();
        let told = holder.tools().serve_tools(UnboundedReceiverStream::new(listened)).await?.into_inner();
        let mut worker = Self { said, told };
        assert!(matches!(worker.hear().await?, Told::Welcome(_)));
        worker.offer(tools);
        assert!(matches!(worker.hear().await?, Told::Answer(answer) if answer.refused.is_empty()));
        Ok(worker)
    }

    fn offer(&self, tools: &[&str]) {
        let tools = tools.iter().map(|name| ToolSpec { name: (*name).into(), streaming: true, ..Default::default() });
        let offer = Say::Offer(OfferTools { request: 1, tools: tools.collect() });
        // Nobody may be listening any more.
        let _ = self.said.send(ServeToolsRequest { event: Some(offer) });
    }

    async fn hear(&mut self) -> Result<Told, Status> {
        loop {
            match self.told.message().await?.unwrap().event.unwrap() {
                Told::Heartbeat(_) => {}
                other => return Ok(other),
            }
        }
    }
}

async fn tools(holder: &Holder, session: &str) -> Vec<String> {
    let request = snakepit_proto::v1::ListToolsRequest { session_id: session.into(), ..Default::default() };
    let listed = holder.tools().list_tools(request).await.unwrap().into_inner().tools;
    listed.into_iter().map(|tool| tool.spec.unwrap().name).collect()
}

#[tokio::test]
async fn a_worker_whose_token_is_withdrawn_offers_nothing_any_more_whatever_it_says() {
    for kept in [&[][..], &[("it", "call_tool", "*")], &[("it", "offer_tool", "x*")]] {
        let server = Guarded::start(&[("all", ALL, "*"), ("it", "offer_tool", "*")]).await;
        let (all, it) = (server.holder("all").await, server.holder("it").await);
        all.open("s").await.unwrap();
        let mut worker = Worker::join(&it, "s", &["tool"]).await.unwrap();
        assert_eq!(tools(&all, "s").await, ["tool"]);
        server.now(&[&[("all", ALL, "*")], kept].concat());
        worker.offer(&["more"]);
        let refused = end(&mut worker.told).await;
        assert_eq!(&*refused.reason, if kept.is_empty() { "UNAUTHENTICATED" } else { "PERMISSION_DENIED" });
        worker.offer(&["and_more"]);
        while !tools(&all, "s").await.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_streamed_call_ends_with_its_token_and_is_cancelled_at_the_worker() {
    let server = Guarded::start(&[("all", ALL, "*"), ("it", "call_tool", "*")]).await;
    let (all, it) = (server.holder("all").await, server.holder("it").await);
    all.open("s").await.unwrap();
    let mut worker = Worker::join(&all, "s", &["tool"]).await.unwrap();
    let call = CallToolRequest { session_id: "s".into(), tool: "tool".into(), ..Default::default() };
    let request = StreamToolRequest { call: Some(CallToolRequest { author: "somebody else".into(), ..call }) };
    let mut stream = it.tools().stream_tool(request).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().event.unwrap(), Streamed::Accepted(_)));
    let Told::Dispatch(dispatch) = worker.hear().await.unwrap() else { panic!("no dispatch") };
    assert_eq!(dispatch.caller, "it", "who calls is not what the caller says");
    server.now(&[("all", ALL, "*")]);
    is(&end(&mut stream).await, "UNAUTHENTICATED", "call_tool");
    let Told::Cancel(cancel) = worker.hear().await.unwrap() else { panic!("no cancel") };
    assert_eq!(cancel.dispatch, dispatch.dispatch);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_until_it_can() {
    let server = Guarded::start(&[("all", ALL, "*")]).await;
    let all = server.holder("all").await;
    all.open("s").await.unwrap();
    let mut watch = all.watch("s", WatchMode::Every).await.unwrap();
    for broken in ["", "[[token]]\nname = ", "\u{0}"] {
        server.write(broken);
        assert!(server.file.reload().is_err());
    }
    all.write("s", [register("n", VariableType::Integer, int(0))]).await.unwrap();
    assert!(matches!(watch.message().await.unwrap().unwrap().event, Some(Event::Changes(_) | Event::Heartbeat(_))));
    // Nobody says that it has changed: the server looks.
    server.write(&crate::support::guarded::tables(&[("other", ALL, "*")]));
    is(&end(&mut watch).await, "UNAUTHENTICATED", "read");
}
