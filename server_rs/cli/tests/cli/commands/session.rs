//! `snakepit session`: a running server's sessions, out and in again.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value as Json, json};
use snakepit_proto::v1::{VariableType, value::Kind};

use crate::{
    command_line::{Served, code, objects, out, snakepit},
    journal::{data, disk::serving},
    support::setup::*,
};

fn command(server: &Served, arguments: &[&str]) -> Command {
    let mut command = snakepit();
    command.env("SNAKEPIT_ADDRESS", &server.address).arg("session").args(arguments);
    command
}

fn run(server: &Served, arguments: &[&str]) -> Output {
    command(server, arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    assert_eq!(code(output), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn import(server: &Served, export: &str, flags: &[&str]) -> Output {
    let mut command = command(server, &[&["import"], flags].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn sessions_are_made_shown_listed_and_ended() {
    let server = Served::start(&["--ephemeral"]);
    let made = out(&run(&server, &["create", "a", "--ttl", "2h", "--metadata", "team=x"]));
    assert_eq!(made, "session a is made\n");
    let again = objects(&out(&run(&server, &["create", "a", "--json"]))).remove(0);
    assert_eq!((&again["created"], &again["ttl"]), (&json!(false), &json!(7200.0)));
    out(&run(&server, &["create", "b"]));
    let shown = out(&run(&server, &["show", "a"]));
    assert!(shown.contains("7200 s") && shown.contains("team=x") && shown.contains("expires at"), "{shown}");
    let listed = objects(&out(&run(&server, &["list", "--json"])));
    assert_eq!(listed.iter().map(|it| it["session"].clone()).collect::<Vec<_>>(), [json!("a"), json!("b")]);
    assert!(listed[1]["ttl"].is_null() && listed[1]["expires_at"].is_null());
    assert_eq!(out(&run(&server, &["list", "b*"])).lines().count(), 2);
    out(&run(&server, &["delete", "a", "b"]));
    assert_eq!(out(&run(&server, &["list", "--json"])), "");
    assert!(told(&run(&server, &["show", "a"])).contains("SESSION_"));
    assert_eq!(code(&run(&server, &["create", "c", "--ttl", "soon"])), Some(2));
}

#[tokio::test]
async fn what_is_exported_online_is_imported_online_and_offline() {
    let server = Served::start(&["--ephemeral"]);
    let session = data::rich(&server).await;
    let exported = out(&run(&server, &["export", &session.id, "--with-secrets"]));
    let lines = objects(&exported);
    let of =
        |name: &str| lines.iter().filter(|it| it["name"] == name).map(|it| it["version"].clone()).collect::<Vec<_>>();
    assert_eq!(of("float"), [json!(1), json!(2), json!(3)], "with its history, oldest first");
    assert_eq!((of("secret"), of("gone")), (vec![json!(1)], vec![]));

    let done = out(&import(&server, &exported, &["--as", "copy"]));
    assert_eq!(done, "session copy is made, with 5 variables\n");
    let copy = TestSession { id: "copy".into(), incarnation: Vec::new(), ..session.clone() };
    for name in ["float", "string", "choice", "tensor", "secret"] {
        let (here, there) = (copy.get(name).await.unwrap(), session.get(name).await.unwrap());
        assert_eq!((here.value, here.spec), (there.value, there.spec), "{name}");
    }
    let taken = told(&import(&server, &exported, &[]));
    assert!(taken.contains("there already") && taken.contains("--as"), "{taken}");

    let directory = tempfile::tempdir().unwrap();
    data::import_into(directory.path(), &exported);
    let offline = serving("127.0.0.1:0", &directory);
    let again = out(&run(&offline, &["export", &session.id, "--with-secrets"]));
    let without = |text: &str| objects(text).into_iter().filter(|it| it["kind"] != "session").collect::<Vec<Json>>();
    assert_eq!(without(&again), without(&exported), "versions, times and authors too");
}

#[tokio::test]
async fn secrets_are_redacted_unless_asked_for_and_half_an_import_leaves_nothing() {
    let server = Served::start(&["--ephemeral"]);
    let session = data::rich(&server).await;
    let exported = out(&run(&server, &["export", &session.id]));
    assert!(!exported.contains("hush") && exported.contains(r#""redacted":true"#), "{exported}");
    let refused = told(&import(&server, &exported, &["--as", "copy"]));
    assert!(refused.contains("--without-secrets"), "{refused}");
    out(&import(&server, &exported, &["--as", "copy", "--without-secrets"]));
    let copy = TestSession { id: "copy".into(), incarnation: Vec::new(), ..session.clone() };
    assert!(copy.get("secret").await.is_err() && copy.get("float").await.is_ok());

    let narrow = Served::start(&["--ephemeral", "--limit-batch-operations", "1", "--limit-variables-per-session", "3"]);
    let refused = told(&import(&narrow, &exported, &["--without-secrets"]));
    assert!(refused.contains("LIMIT_EXCEEDED"), "{refused}");
    assert_eq!(out(&run(&narrow, &["list", "--json"])), "", "the session that was begun is ended");
    let broken = exported.replacen("\"spec\"", "\"sepc\"", 1);
    let refused = told(&import(&narrow, &broken, &["--without-secrets"]));
    assert!(refused.contains("line ") && refused.contains("spec"), "{refused}");
}

#[tokio::test]
async fn a_large_session_is_imported_in_batches_that_the_server_takes() {
    let server = Served::start(&["--ephemeral", "--limit-batch-operations", "7", "--limit-batch-bytes", "20000"]);
    let session = server.session().await;
    for batch in 0..10 {
        let name = |at: usize| format!("v{batch}_{at}");
        let big = text(&"x".repeat(1_000));
        session.write((0..5).map(|at| register(&name(at), VariableType::String, big.clone()))).await;
    }
    session.write([register("huge", VariableType::String, text(&"y".repeat(100_000)))]).await;
    let exported = out(&run(&server, &["export", &session.id]));
    out(&import(&server, &exported, &["--as", "copy"]));
    let copy = TestSession { id: "copy".into(), incarnation: Vec::new(), ..session.clone() };
    assert_eq!(copy.value("huge").await, Kind::StringValue("y".repeat(100_000)));
    assert_eq!(objects(&out(&run(&server, &["show", "copy", "--json"])))[0]["variables"], json!(51));
}
