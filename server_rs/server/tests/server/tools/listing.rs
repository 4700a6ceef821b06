//! What is offered, who sees it, and when it vanishes.

use snakepit_core::config::Limits;
use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, ListToolsRequest, OfferRefusal, RetryPolicy, Tool, ToolSpec,
};
use snakepit_server::server::Server;

use crate::support::{
    caller::*,
    clock::{Frozen, live, pass},
    setup::*,
    worker::*,
};

fn names(tools: &[Tool]) -> Vec<&str> {
    tools.iter().map(|tool| &*tool.spec.as_ref().unwrap().name).collect()
}

fn reasons(refused: &[OfferRefusal]) -> Vec<(&str, &str)> {
    refused.iter().map(|refusal| (&*refusal.tool, &*refusal.reason)).collect()
}

#[tokio::test]
async fn a_tool_is_listed_as_it_was_offered_as_soon_as_the_offer_is_answered() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let spec = ToolSpec {
        description: "Counts.".into(),
        arguments_schema: r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#.into(),
        result_schema: r#"{"type":"integer"}"#.into(),
        streaming: true,
        timeout: seconds(7),
        max_concurrency: 3,
        metadata: [("kind".to_owned(), "dspy.program".to_owned())].into(),
        ..idempotent("count")
    };
    let _worker = TestWorker::offering(&session, [spec.clone()]).await;
    let listed = session.listed().await;
    assert_eq!((listed[0].spec.as_ref(), listed.len()), (Some(&spec), 1));
    assert_eq!((listed[0].global, listed[0].native, listed[0].workers), (false, false, 1));
    assert_eq!(session.tool("count").await.unwrap().tool.as_ref(), Some(&listed[0]));
    let _defaults = TestWorker::offering(&session, [tool("plain")]).await;
    let spec = session.tool("plain").await.unwrap().tool.unwrap().spec.unwrap();
    let span = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let retry = RetryPolicy {
        max_attempts: 3,
        initial_backoff: span(0, 100_000_000),
        multiplier: 2.0,
        max_backoff: span(5, 0),
    };
    assert_eq!(spec.retry, Some(retry), "what it is by default is said");
}

#[tokio::test]
async fn a_list_comes_in_pages_by_name_and_by_pattern() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let all: Vec<String> = (0..25).map(|number| format!("t{number:02}")).collect();
    let _global = TestWorker::global(&session, 1, all[..10].iter().map(|name| tool(name))).await;
    let _own = TestWorker::offering(&session, all[5..].iter().map(|name| tool(name))).await;
    let (mut client, mut seen, mut token) = (session.tools(), Vec::new(), String::new());
    loop {
        let request = ListToolsRequest { page_size: 10, page_token: token, ..session.listing("") };
        let page = client.list_tools(request).await.unwrap().into_inner();
        assert!(page.tools.len() <= 10);
        seen.extend(page.tools);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names(&seen), all);
    let global: Vec<bool> = seen.iter().map(|tool| tool.global).collect();
    assert!(global[..5].iter().all(|global| *global) && !global[5..].iter().any(|global| *global));
    for (pattern, expected) in
        [("t1?", &all[10..20]), ("*4", &[all[4].clone(), all[14].clone(), all[24].clone()]), ("t", &[]), ("T*", &[])]
    {
        let page = client.list_tools(session.listing(pattern)).await.unwrap().into_inner();
        assert_eq!(names(&page.tools), expected, "{pattern}");
    }
    let bad = ListToolsRequest { page_size: 1_001, ..session.listing("") };
    assert_eq!(refused(client.list_tools(bad).await).fact("field"), "page_size");
    let bad = ListToolsRequest { page_token: "?".into(), ..session.listing("") };
    assert_eq!(refused(client.list_tools(bad).await).fact("field"), "page_token");
}

#[tokio::test]
async fn a_sessions_own_tool_hides_the_global_one_of_its_name() {
    let server = TestServer::start().await;
    let (session, other) = (server.session().await, server.session().await);
    let mut global = TestWorker::global(&session, 5, [tool("t")]).await;
    let mut own = TestWorker::offering(&session, [ToolSpec { description: "own".into(), ..tool("t") }]).await;
    let listed = session.listed().await;
    assert_eq!((listed.len(), listed[0].global, &*listed[0].spec.as_ref().unwrap().description), (1, false, "own"));
    let (mine, theirs) = (session.calling("t", None), other.calling("t", None));
    let (to_own, to_global) = (own.dispatch().await, global.dispatch().await);
    own.returns(&to_own, text("own"));
    global.returns(&to_global, text("global"));
    assert_eq!((result(mine).await.0, result(theirs).await.0), (text("own"), text("global")));
    own.withdraw("t").await;
    assert!(session.listed().await[0].global, "it is there again");
}

#[tokio::test]
async fn an_offer_is_taken_as_a_whole_or_not_at_all() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let _first = TestWorker::offering(&session, [tool("taken")]).await;
    let mut worker = TestWorker::join(&session, "w", 1).await.unwrap();
    let other = ToolSpec { description: "another".into(), ..tool("taken") };
    let answer = worker.offer([tool("new"), other]).await;
    assert_eq!(reasons(&answer.refused), [("taken", "TOOL_EXISTS")]);
    assert_eq!(answer.refused[0].facts["tool"], "taken");
    let retry = |max_attempts, multiplier| ToolSpec {
        retry: Some(RetryPolicy { max_attempts, multiplier, ..Default::default() }),
        ..tool("t")
    };
    for (bad, field) in [
        (tool("no name"), "name"),
        (tool(&"n".repeat(129)), "name"),
        (tool(""), "name"),
        (ToolSpec { timeout: seconds(-1), ..tool("t") }, "timeout"),
        (ToolSpec { description: "x".repeat(64 * 1024 + 1), ..tool("t") }, "description"),
        (ToolSpec { metadata: (0..65).map(|n| (n.to_string(), String::new())).collect(), ..tool("t") }, "metadata"),
        (retry(0, 1.0), "retry.max_attempts"),
        (retry(11, 1.0), "retry.max_attempts"),
        (retry(3, 0.5), "retry.multiplier"),
        (retry(3, f64::NAN), "retry.multiplier"),
    ] {
        let answer = worker.offer([tool("new"), bad.clone()]).await;
        assert_eq!(reasons(&answer.refused), [(&*bad.name, "INVALID_REQUEST")], "{bad:?}");
        assert_eq!(answer.refused[0].facts["field"], field);
    }
    let twice = [tool("new"), ToolSpec { streaming: true, ..tool("new") }];
    assert_eq!(reasons(&worker.offer(twice).await.refused), [("new", "TOOL_EXISTS")]);
    assert_eq!(names(&session.listed().await), ["taken"]);
    assert_eq!(worker.offer([tool("new"), tool("new"), tool("taken")]).await.refused, []);
    assert_eq!(names(&session.listed().await), ["new", "taken"]);
    assert_eq!(session.tool("taken").await.unwrap().workers.len(), 2);
}

#[tokio::test]
async fn tools_of_a_session_and_their_schemas_are_limited() {
    let limits = Limits { tools_per_session: 3, tool_schema_bytes: 100, ..Limits::default() };
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, ["a", "b"].map(tool)).await;
    let answer = worker.offer(["c", "d"].map(tool)).await;
    assert_eq!(reasons(&answer.refused), [("c", "LIMIT_EXCEEDED"), ("d", "LIMIT_EXCEEDED")]);
    let facts = &answer.refused[0].facts;
    assert_eq!((&*facts["limit"], &*facts["max"]), ("tools_per_session", "3"));
    assert_eq!(worker.offer([tool("c")]).await.refused, []);
    worker.withdraw("a").await;
    assert_eq!(worker.offer([tool("d")]).await.refused, [], "what nobody offers makes room");
    assert_eq!(names(&session.listed().await), ["b", "c", "d"]);
    let schema = format!(r#"{{"type":"object","description":"{}"}}"#, "x".repeat(100));
    for big in [
        ToolSpec { arguments_schema: schema.clone(), ..tool("b") },
        ToolSpec { result_schema: schema.clone(), ..tool("b") },
    ] {
        let answer = worker.offer([big]).await;
        assert_eq!(answer.refused[0].facts["limit"], "tool_schema_bytes");
    }
    let other = server.session().await;
    TestWorker::offering(&other, ["a", "b", "c"].map(tool)).await;
}

#[tokio::test]
async fn who_alone_offers_a_tool_may_offer_it_otherwise_and_what_waits_for_the_old_one_ends() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t")]).await;
    let running = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    assert_eq!(worker.offer([ToolSpec { description: "new".into(), ..tool("t") }]).await.refused, []);
    let ended = refused(waiting.await.unwrap());
    assert_eq!((&*ended.reason, ended.fact("dispatched")), ("TOOL_UNAVAILABLE", "false"));
    worker.returns(&dispatch, int(1));
    result(running).await;
    assert_eq!(session.listed().await[0].spec.as_ref().unwrap().description, "new");
}

#[tokio::test]
async fn tools_vanish_with_the_connection_that_offered_them() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut stays = TestWorker::offering(&session, [tool("both")]).await;
    let goes = TestWorker::offering(&session, [tool("both"), tool("alone")]).await;
    assert_eq!(names(&session.listed().await), ["alone", "both"]);
    drop(goes);
    session.until_gone("alone").await;
    assert_eq!(names(&session.listed().await), ["both"]);
    let call = session.calling("both", None);
    let dispatch = stays.dispatch().await;
    stays.returns(&dispatch, int(1));
    result(call).await;
    assert_eq!(refused(session.send_call(session.call_of("alone", None)).await).reason, "TOOL_NOT_FOUND");
}

#[tokio::test]
async fn a_withdrawn_tool_is_gone_and_its_running_calls_go_on() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [tool("t"), tool("u")]).await;
    let running = session.calling("t", None);
    let dispatch = worker.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    assert_eq!(worker.withdraw("t").await.refused, []);
    assert_eq!(refused(waiting.await.unwrap()).fact("dispatched"), "false");
    assert_eq!(refused(session.tool("t").await).reason, "TOOL_NOT_FOUND");
    assert_eq!(worker.withdraw("never").await.refused, []);
    worker.returns(&dispatch, int(1));
    result(running).await;
    let call = session.calling("u", None);
    let dispatch = worker.dispatch().await;
    worker.returns(&dispatch, int(2));
    assert_eq!(result(call).await.0, int(2));
}

#[tokio::test]
async fn tools_and_their_calls_end_with_the_session() {
    let server = TestServer::start().await;
    let (mut session, other) = (server.session().await, server.session().await);
    let mut worker = TestWorker::with_room(&session, 1, [tool("t"), idempotent("i")]).await;
    let running = session.calling("t", None);
    worker.dispatch().await;
    let waiting = session.calling("t", None);
    session.until_queued("t", 1).await;
    let retried = session.calling("i", None);
    session.until_queued("i", 1).await;
    let request = DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    session.sessions.delete_session(request).await.unwrap();
    for call in [running, waiting, retried] {
        assert_eq!(refused(call.await.unwrap()).reason, "SESSION_NOT_FOUND");
    }
    assert_eq!(refused(Err::<(), _>(worker.end().await)).reason, "SESSION_NOT_FOUND");
    assert_eq!(refused(session.send_call(session.call_of("t", None)).await).reason, "SESSION_NOT_FOUND");
    assert_eq!(other.listed().await, []);
}

#[tokio::test]
async fn a_call_that_waits_for_any_worker_ends_with_its_session_too() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    let mut worker = TestWorker::offering(&session, [idempotent("t")]).await;
    let call = session.calling_as("c", "t");
    worker.dispatch().await;
    drop(worker);
    session.until_gone("t").await;
    let request = DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    session.sessions.delete_session(request).await.unwrap();
    assert_eq!(refused(call.await.unwrap()).reason, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_worker_keeps_its_session_alive_and_the_next_life_has_none_of_its_tools() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session_living(10).await;
    let mut worker = TestWorker::offering(&session, [tool("t")]).await;
    for _ in 0..4 {
        pass(9).await;
        assert_eq!(worker.withdraw("none").await.refused, []);
    }
    assert_eq!(names(&session.listed().await), ["t"]);
    drop(worker);
    session.until_gone("t").await;
    live(10).await;
    assert_eq!(refused(session.tool("t").await).reason, "SESSION_EXPIRED");
    let request = CreateSessionRequest { session_id: session.id.clone(), ..Default::default() };
    let again = TestSession::create(session.channel.clone(), request).await;
    assert_eq!(again.listed().await, []);
}
