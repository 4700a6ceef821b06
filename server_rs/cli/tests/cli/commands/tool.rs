//! `snakepit tool`, with workers that a test plays.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::{Value as Json, json};
use snakepit_proto::v1::{MapValue, ToolFailure, ToolSpec, VariableSpec, VariableType, value::Kind};

use crate::{
    command_line::{objects, snakepit},
    pty::Terminal,
    support::{caller::failure, setup::*, worker::*},
};

const SCHEMA: &str = r#"{"type": "object", "required": ["city"], "properties": {
    "city": {"type": "string"}, "top": {"type": "integer"}, "tags": {"type": "array"}, "scale": {"type": "number"}}}"#;

fn with_schema(name: &str) -> ToolSpec {
    ToolSpec { arguments_schema: SCHEMA.into(), description: "Says things.\nAt length.".into(), ..tool(name) }
}

fn command(server: &TestServer, session: &TestSession, arguments: &[&str]) -> Command {
    let mut command = snakepit();
    command.env("SNAKEPIT_ADDRESS", server.address.to_string()).env("SNAKEPIT_SESSION", &session.id);
    command.arg("tool").args(arguments);
    command
}

fn started(server: &TestServer, session: &TestSession, arguments: &[&str]) -> Child {
    let mut command = command(server, session, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(child: Child) -> Output {
    tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
}

async fn run(server: &TestServer, session: &TestSession, arguments: &[&str]) -> Output {
    ended(started(server, session, arguments)).await
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn entries(map: Option<MapValue>) -> Vec<(String, Kind)> {
    map.unwrap().entries.into_iter().map(|it| (it.key, it.value.unwrap().kind.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_are_typed_by_the_tools_schema() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [with_schema("say")]).await;
    let given = ["call", "say", "city=7", "top=9007199254740993", "tags=[1, \"a\"]", "scale=0.5", "--call-id", "mine"];
    let calling = started(&server, &session, &given);
    let dispatch = worker.dispatch().await;
    let arguments = entries(dispatch.arguments.clone());
    assert_eq!(arguments[0], ("city".into(), Kind::StringValue("7".into())));
    assert_eq!(arguments[1], ("top".into(), Kind::Int64Value((1 << 53) + 1)));
    assert!(matches!(&arguments[2], (name, Kind::ListValue(list)) if name == "tags" && list.items.len() == 2));
    assert_eq!(arguments[3], ("scale".into(), Kind::DoubleValue(0.5)));
    worker.returns(&dispatch, text("two\nlines"));
    assert_eq!(printed(&ended(calling).await), "two\nlines\n");

    let refused = told(&run(&server, &session, &["call", "say", "city=Paris", "top=many"]).await);
    assert!(refused.contains("top takes integer"), "{refused}");
    let refused = told(&run(&server, &session, &["call", "say", "top=1"]).await);
    assert!(refused.contains("INVALID_REQUEST") && refused.contains("city"), "{refused}");
    let refused = told(&run(&server, &session, &["call", "say", "city=a", "city=b"]).await);
    assert!(refused.contains("twice"), "{refused}");
    assert!(told(&run(&server, &session, &["call", "nobody"]).await).contains("TOOL_NOT_FOUND"));
    assert_eq!(run(&server, &session, &["call", "say", "city"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_arguments_come_as_one_object_from_anywhere_and_the_result_is_exact_json() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [with_schema("say")]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("arguments.json");
    std::fs::write(&file, r#"{"city": "Lyon"}"#).unwrap();
    let at = format!("@{}", file.display());
    for (given, city) in [(r#"{"city": "Paris"}"#, "Paris"), (&at, "Lyon"), ("-", "Nice")] {
        let mut calling = started(&server, &session, &["call", "say", "--arguments", given, "--json"]);
        calling.stdin.take().unwrap().write_all(br#"{"city": "Nice"}"#).unwrap();
        let dispatch = worker.dispatch().await;
        assert_eq!(entries(dispatch.arguments.clone()), [("city".into(), Kind::StringValue(city.into()))]);
        worker.returns(&dispatch, int(i64::MAX));
        let answer = objects(&printed(&ended(calling).await)).remove(0);
        assert_eq!((answer["result"].to_string(), &answer["attempts"]), ("9223372036854775807".into(), &json!(1)));
    }
    let refused = told(&run(&server, &session, &["call", "say", "--arguments", "[1]"]).await);
    assert!(refused.contains("object"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_fails_says_how_and_the_exit_code_tells() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("say")]).await;
    for flags in [&[][..], &["--json"]] {
        let calling = started(&server, &session, &[&["call", "say"], flags].concat());
        let dispatch = worker.dispatch().await;
        worker.fails(&dispatch, failure(false));
        let output = ended(calling).await;
        assert!(told(&output).contains("KeyError: no"));
        if !flags.is_empty() {
            let failure = objects(&String::from_utf8(output.stdout).unwrap()).remove(0)["failure"].clone();
            assert_eq!((&failure["type"], &failure["bases"][0]), (&json!("KeyError"), &json!("LookupError")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_printed_as_they_come() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let streaming = ToolSpec { streaming: true, ..tool("count") };
    let mut worker = TestWorker::offering(&session, [streaming]).await;
    for json in [false, true] {
        let flags: &[&str] = if json { &["--json"] } else { &[] };
        let mut calling = started(&server, &session, &[&["stream", "count"], flags].concat());
        let mut lines = BufReader::new(calling.stdout.take().unwrap());
        let dispatch = worker.dispatch().await;
        for number in 0..3 {
            worker.yields(&dispatch, number, text(&format!("chunk {number}")));
            // The next is sent only when this one was printed.
            let (line, rest) = tokio::task::spawn_blocking(move || next(lines)).await.unwrap();
            lines = rest;
            let told: Json = if json { serde_json::from_str(&line).unwrap() } else { json!({"chunk": line}) };
            assert_eq!(told["chunk"], json!(format!("chunk {number}")));
        }
        worker.returns(&dispatch, if json { int(3) } else { of(Kind::NullValue(0)) });
        let rest: Vec<_> = lines.lines().map(Result::unwrap).collect();
        let results: Vec<Json> = rest.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            results.iter().map(|it| it["result"].clone()).collect::<Vec<_>>(),
            if json { vec![json!(3)] } else { vec![] }
        );
        assert_eq!(ended(calling).await.status.code(), Some(0));
    }
}

fn next(mut lines: BufReader<ChildStdout>) -> (String, BufReader<ChildStdout>) {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    (line.trim_end().to_owned(), lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_listed_with_what_they_take() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let _worker = TestWorker::offering(&session, [with_schema("say"), tool("other")]).await;
    let listed = printed(&run(&server, &session, &["list", "s*"]).await);
    assert!(listed.contains("city [top] [tags] [scale]") && listed.contains("Says things."), "{listed}");
    assert!(!listed.contains("other") && !listed.contains("At length"), "{listed}");
    let listed = objects(&printed(&run(&server, &session, &["list", "--json"]).await));
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&json!("other"), &json!("say")));
    assert_eq!(listed[1]["arguments"]["properties"]["top"]["type"], json!("integer"));
}

/// Escape sequences, a C1 control and texts that change the direction of what follows.
const OBEYED: &str = "a\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{61c}z";

fn is_shown(text: &str) {
    let obeyed = |c: &char| {
        (c.is_control() && !matches!(c, '\r' | '\n'))
            || matches!(c, '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(obeyed), None, "{text:?}");
    assert!(text.contains("202e") && text.contains('z'), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_words_of_others_do_anything_to_a_terminal() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let described = ToolSpec { description: OBEYED.into(), ..tool("say") };
    let mut worker = TestWorker::offering(&session, [described]).await;
    let secret = VariableSpec { description: OBEYED.into(), ..spec(VariableType::String) };
    session.write([register_as("v", secret, text(OBEYED))]).await;
    let plain = |mut command: Command| async move {
        command.env("NO_COLOR", "1");
        tokio::task::spawn_blocking(move || Terminal::run(command, 200, 24).ended().0).await.unwrap()
    };
    let id = session.id.clone();
    for arguments in [
        &["tool", "list"][..],
        &["tool", "list", "--json"],
        &["var", "get", "v"],
        &["var", "get", "v", "--json"],
        &["var", "list", "--json"],
        &["var", "history", "v", "--json"],
        &["session", "export", &id],
    ] {
        let mut command = snakepit();
        command.env("SNAKEPIT_ADDRESS", server.address.to_string()).args(arguments);
        if arguments[0] != "session" {
            command.env("SNAKEPIT_SESSION", &id);
        }
        is_shown(&plain(command).await);
    }
    for flags in [&[][..], &["--json"]] {
        let command = command(&server, &session, &[&["call", "say"][..], flags].concat());
        let called = tokio::spawn(plain(command));
        let dispatch = worker.dispatch().await;
        let words = || OBEYED.to_owned();
        let failure = ToolFailure {
            r#type: words(),
            message: words(),
            traceback: words(),
            bases: vec![words()],
            ..failure(false)
        };
        worker.fails(&dispatch, failure);
        is_shown(&called.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_in_a_pipe_says_what_it_said_escaped_or_not() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let described = ToolSpec { description: OBEYED.into(), ..tool("say") };
    let _worker = TestWorker::offering(&session, [described]).await;
    let listed = printed(&run(&server, &session, &["list", "--json"]).await);
    assert_eq!(objects(&listed)[0]["description"], json!(OBEYED));
}
