//! The server's own log.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use serde_json::Value as Json;
use snakepit_proto::v1::VariableType;
use snakepit_server::{
    journal::{CommitError, testing::Faulty},
    server::Server,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    command_line::{Served, code, objects, snakepit},
    support::{
        metadata::{PARENT, named, traced},
        setup::*,
    },
};

fn line<'a>(lines: &'a [Json], id: &str) -> &'a Json {
    lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("no line about {id} in {lines:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_json_says_of_a_request_what_is_known_of_it() {
    let server = Served::start(&["--ephemeral", "--log-format", "json", "--log", "snakepit_server=debug"]);
    let session = server.session().await;
    let mut variables = session.variables.clone();
    let write = session.write_of([register("n", VariableType::Integer, int(0))]);
    let mut request = traced(write, PARENT, "");
    request.metadata_mut().insert("x-request-id", "write-1".parse().unwrap());
    variables.write_variables(request).await.unwrap();
    variables.write_variables(named("write-2", session.write_of([set("n", text("x"))]))).await.unwrap_err();
    drop((session, variables));
    let (ended, log) = server.stop();
    let lines = objects(&log);
    assert_eq!(ended, Some(0));
    for line in &lines {
        assert!(line["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
        assert!(["level", "target"].iter().all(|field| line[field].is_string()), "{line}");
    }
    let written = line(&lines, "write-1");
    let said = ["level", "target", "method", "principal", "code", "trace_id", "parent_span_id"];
    assert_eq!(
        said.map(|field| written[field].as_str().unwrap_or_default()),
        [
            "DEBUG",
            "snakepit_server::access",
            "VariableService/WriteVariables",
            "anonymous",
            "Ok",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00f067aa0ba902b7"
        ]
    );
    // The server's own span, which is a child of the caller's.
    assert!(written["span_id"].as_str().is_some_and(|id| id.len() == 16 && id != "00f067aa0ba902b7"), "{written}");
    assert!(written["took"].as_f64().is_some() && written["peer"].as_str().is_some(), "{written}");
    let refused = line(&lines, "write-2");
    assert_eq!((&refused["code"], &refused["reason"]), (&"InvalidArgument".into(), &"TYPE_MISMATCH".into()));
    assert!(refused.get("trace_id").is_none(), "{refused}");
    assert!(lines.iter().any(|line| line["message"] == "stopping" && line["level"] == "INFO"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_being_asked_it_has_no_line_about_a_request_and_in_words_what_json_has() {
    let mut asked = snakepit();
    asked.env("SNAKEPIT_LOG", "snakepit_server::access=debug");
    for (command, told) in [(snakepit(), false), (asked, true)] {
        let server = Served::of(command, "127.0.0.1:0", &["--ephemeral"]);
        let session = server.session().await;
        let write = named("mine", session.write_of([set("n", int(1))]));
        session.variables.clone().write_variables(write).await.unwrap_err();
        drop(session);
        let (_, log) = server.stop();
        assert_eq!((log.contains("CreateSession"), log.contains("mine")), (told, told), "{log}");
        assert_eq!(log.contains("VARIABLE_NOT_FOUND"), told, "{log}");
    }
}

#[test]
fn a_filter_that_is_none_is_refused_and_an_empty_one_is_the_default() {
    for arguments in [&["--log", "snakepit_server=loud"][..], &["--log", "a=b=c"], &["--log-format", "xml"]] {
        let given = arguments[1];
        let output = snakepit().args(["serve", "--ephemeral"]).args(arguments).output().unwrap();
        assert_eq!(code(&output), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains(given), "it says what was wrong");
    }
    let mut command = snakepit();
    command.env("SNAKEPIT_LOG", "a=b=c");
    assert_eq!(code(&command.args(["serve", "--ephemeral"]).output().unwrap()), Some(2));
    let mut command = snakepit();
    command.env("SNAKEPIT_LOG", "");
    assert!(Served::of(command, "127.0.0.1:0", &["--ephemeral"]).stop().1.contains("stopping"));
}

#[test]
fn a_full_disk_ends_neither_kind_of_log() {
    for format in ["human", "json"] {
        let mut full = std::process::Command::new("sh");
        full.args(["-c", "exec \"$0\" \"$@\" 2> /dev/full", env!("CARGO_BIN_EXE_snakepit")]);
        full.env("SNAKEPIT_LOG", "debug");
        let server = Served::of(full, "127.0.0.1:0", &["--ephemeral", "--log-format", format]);
        let mut status = snakepit();
        let output = status.args(["status", "--address", &server.address]).output().unwrap();
        assert!(output.status.success(), "{format}: {output:?}");
        assert_eq!(server.stop().0, Some(0), "{format}");
    }
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn what_is_the_servers_own_fault_is_told_at_the_usual_level_with_the_request() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_writer(kept.clone()).with_ansi(false).finish();
    // While there is just one, tracing asks the thread that first comes by whether a line is wanted, and that may be
    // another test's, which wants none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // Of this thread alone, in which this test's server runs, too.
    let _logging = tracing::subscriber::set_default(subscriber);
    let home = Faulty {
        delay: Duration::ZERO,
        error: CommitError::Unknown { cause: "failed fsync".into() },
        failing: Default::default(),
    };
    let switch = home.failing.clone();
    let server = TestServer::of(Server::builder().journal(home)).await;
    let session = server.session().await;
    session.integers(["n"]).await;
    switch.store(true, Ordering::SeqCst);
    for id in ["unknown-1", "read-only-1"] {
        let write = named(id, session.write_of([set("n", int(1))]));
        session.variables.clone().write_variables(write).await.unwrap_err();
    }
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    for (id, level, reason) in [("unknown-1", "ERROR", "OUTCOME_UNKNOWN"), ("read-only-1", "WARN", "SERVER_READ_ONLY")]
    {
        let line = text.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id}: {text}"));
        assert!(line.contains(level) && line.contains(reason), "{line}");
    }
}
