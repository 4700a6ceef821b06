//! `snakepit var`: declaring, deleting, histories, and values from elsewhere.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::{Value as Json, json};
use snakepit_proto::v1::{VariableSpec, VariableType, constraints::Kind as Limit, value::Kind};

use crate::{
    command_line::{Served, code, objects, out},
    support::setup::*,
};

fn told(output: &Output) -> String {
    assert_eq!(code(output), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn spec_of(session: &TestSession, name: &str) -> VariableSpec {
    session.get(name).await.unwrap().spec.unwrap()
}

#[tokio::test]
async fn a_variable_of_every_type_is_declared_with_all_its_limits() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let floats = r#"{"$ndarray": {"dtype": "float32", "shape": [1], "data": "AAAAAA=="}}"#;
    let shorts = r#"{"$ndarray": {"dtype": "int16", "shape": [1, 2], "data": "AQACAA=="}}"#;
    for arguments in [
        &[
            "f",
            "float",
            "-0.5",
            "--min",
            "-1",
            "--max",
            "1e3",
            "--exclusive-min",
            "--exclusive-max",
            "--step",
            "0.5",
            "--allow-nan",
            "--allow-infinity",
            "--description",
            "for people",
            "--metadata",
            "team=a=b",
            "--reason",
            "new",
        ][..],
        &[
            "i",
            "integer",
            "9007199254740993",
            "--min",
            "-9223372036854775808",
            "--max",
            "9223372036854775807",
            "--step",
            "1",
        ],
        &["s", "string", "aa", "--min-length", "1", "--max-length", "3", "--pattern", "a*", "--choices", "a,aa"],
        &["b", "boolean", "true", "--read-only"],
        &["c", "choice", "2", "--choices", "1,2,yes", "--choices", r#"["a,b", true, 2.0]"#],
        &["m", "module", "Predict", "--choices", "Predict,ReAct"],
        &["e", "embedding", floats, "--dimensions", "1", "--dtype", "float32"],
        &["t", "tensor", shorts, "--shape", "-1,2", "--dtype", "int16"],
        &["l", "list", "[1]", "--max-items", "2", "--max-depth", "1"],
        &["p", "map", r#"{"a": 1}"#, "--max-items", "2"],
        &["y", "bytes", r#"{"$bytes": "AP8="}"#, "--max-length", "2"],
        &["n", "string", "--null", "--nullable", "--secret"],
    ] {
        let done = out(&server.var(&session, &[&["define"], arguments].concat()));
        assert_eq!(done, format!("{} is declared, at version 1\n", arguments[0]));
    }
    let float = spec_of(&session, "f").await;
    assert_eq!((float.description.as_str(), float.metadata["team"].as_str()), ("for people", "a=b"));
    let Some(Limit::Float(limits)) = float.constraints.unwrap().kind else { panic!("not a float's") };
    assert_eq!((limits.min, limits.max, limits.step), (Some(-1.0), Some(1000.0), Some(0.5)));
    assert!(limits.exclusive_min && limits.exclusive_max && limits.allow_nan && limits.allow_infinity);
    let Some(Limit::Integer(limits)) = spec_of(&session, "i").await.constraints.unwrap().kind else { panic!("no") };
    assert_eq!((limits.min, limits.max, limits.step), (Some(i64::MIN), Some(i64::MAX), Some(1)), "exactly");
    assert_eq!(session.value("i").await, Kind::Int64Value((1 << 53) + 1));
    let Some(Limit::String(limits)) = spec_of(&session, "s").await.constraints.unwrap().kind else { panic!("no") };
    assert_eq!((limits.min_length, limits.max_length, limits.pattern.as_deref()), (Some(1), Some(3), Some("a*")));
    assert_eq!(limits.r#enum, ["a", "aa"]);
    let Some(Limit::Choice(limits)) = spec_of(&session, "c").await.constraints.unwrap().kind else { panic!("no") };
    assert_eq!(limits.choices, [int(1), int(2), text("yes"), text("a,b"), of(Kind::BoolValue(true)), float_of(2.0)]);
    assert_eq!(session.value("c").await, Kind::Int64Value(2));
    let Some(Limit::Module(limits)) = spec_of(&session, "m").await.constraints.unwrap().kind else { panic!("no") };
    assert_eq!(limits.modules, ["Predict", "ReAct"]);
    let Some(Limit::Tensor(limits)) = spec_of(&session, "t").await.constraints.unwrap().kind else { panic!("no") };
    assert_eq!(limits.shape, [-1, 2]);
    let (flags, secret) = (spec_of(&session, "b").await, spec_of(&session, "n").await);
    assert!(flags.read_only && secret.nullable && secret.secret);
    assert_eq!(session.value("n").await, Kind::NullValue(0));
}

fn float_of(value: f64) -> snakepit_proto::v1::Value {
    of(Kind::DoubleValue(value))
}

#[tokio::test]
async fn declaring_again_changes_nothing_unless_told_to_replace() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let define = ["define", "n", "integer", "1", "--max", "5"];
    out(&server.var(&session, &define));
    out(&server.var(&session, &["set", "n", "2"]));
    let again = out(&server.var(&session, &define));
    assert_eq!(
        (again.as_str(), session.value("n").await),
        ("n is declared like that already, at version 2\n", Kind::Int64Value(2))
    );
    let other = ["define", "n", "integer", "1", "--max", "6"];
    assert!(told(&server.var(&session, &other)).contains("VARIABLE_EXISTS"));
    let replaced =
        out(&server.var(&session, &[&other[..], &["--replace", "--json", "--expected-version", "2"]].concat()));
    assert_eq!(objects(&replaced)[0], json!({"name": "n", "changed": true, "version": 3, "revision": 4}));
    let absent = ["define", "n", "integer", "1", "--expected-version", "0"];
    assert!(told(&server.var(&session, &absent)).contains("VERSION_CONFLICT"));
}

#[tokio::test]
async fn a_limit_that_is_not_the_types_is_refused_before_anything_is_asked() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let refused = told(&server.var(&session, &["define", "b", "boolean", "true", "--min", "1"]));
    assert!(refused.contains("--min") && refused.contains("no limits"), "{refused}");
    let refused = told(&server.var(&session, &["define", "s", "string", "a", "--max", "1"]));
    assert!(refused.contains("--max-length"), "it names those that are: {refused}");
    let refused = told(&server.var(&session, &["define", "i", "integer", "1", "--max", "1.5"]));
    assert!(refused.contains("1.5"), "{refused}");
    assert_eq!(code(&server.var(&session, &["define", "i", "int", "1"])), Some(2));
    assert_eq!(code(&server.var(&session, &["define", "i", "integer"])), Some(2));
    assert!(session.get("i").await.is_err());
}

#[tokio::test]
async fn histories_are_listed_and_changes_undone() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    out(&server.var(&session, &["define", "n", "integer", "9007199254740993"]));
    out(&server.var(&session, &["set", "n", "2", "--reason", "a\u{1b}[31m reason"]));
    let history = objects(&out(&server.var(&session, &["history", "n", "--json"])));
    let facts = |it: &Json| (it["version"].clone(), it["kind"].clone(), it["value"].to_string());
    let facts: Vec<_> = history.iter().map(facts).collect();
    assert_eq!(
        facts,
        [(json!(2), json!("set"), "2".into()), (json!(1), json!("registered"), "9007199254740993".into())]
    );
    let shown = out(&server.var(&session, &["history", "n"]));
    assert!(shown.contains("9007199254740993") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(objects(&out(&server.var(&session, &["history", "n", "--limit", "1", "--json"]))).len(), 1);

    out(&server.var(&session, &["rollback", "n", "--reason", "undo"]));
    assert_eq!(
        (session.value("n").await, session.get("n").await.unwrap().reason),
        (Kind::Int64Value((1 << 53) + 1), "undo".into())
    );
    out(&server.var(&session, &["rollback", "n", "2", "--expected-version", "3"]));
    assert_eq!(session.value("n").await, Kind::Int64Value(2));
    assert!(
        told(&server.var(&session, &["rollback", "n", "2", "--expected-version", "3"])).contains("VERSION_CONFLICT")
    );
    assert_eq!(code(&server.var(&session, &["rollback", "n", "99"])), Some(1));
    assert_eq!(code(&server.var(&session, &["history", "missing"])), Some(1));

    out(&server.var(&session, &["define", "other", "integer", "1"]));
    assert_eq!(code(&server.var(&session, &["delete", "other", "missing"])), Some(1));
    assert!(session.get("other").await.is_ok(), "all or none");
    assert_eq!(code(&server.var(&session, &["delete", "n", "--expected-version", "1"])), Some(1));
    out(&server.var(&session, &["delete", "n", "other", "--reason", "done with"]));
    assert!(session.get("n").await.is_err() && session.get("other").await.is_err());
    let last = objects(&out(&server.var(&session, &["history", "n", "--limit", "1", "--json"]))).remove(0);
    assert_eq!((&last["kind"], &last["reason"], &last["value"]), (&json!("deleted"), &json!("done with"), &Json::Null));
}

/// Runs `snakepit var` with this on stdin.
fn fed(server: &Served, session: &TestSession, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = server.var_command(session, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn values_come_from_stdin_and_files_and_bytes_as_they_are() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("value");
    let at = format!("@{}", file.display());
    out(&fed(&server, &session, &["define", "s", "string", "-"], "two\nlines\n".as_bytes()));
    assert_eq!(session.value("s").await, Kind::StringValue("two\nlines".into()), "without the last line break");
    std::fs::write(&file, [0, 255, 10]).unwrap();
    out(&server.var(&session, &["define", "y", "bytes", &at]));
    assert_eq!(session.value("y").await, Kind::BytesValue(vec![0, 255, 10].into()));
    assert_eq!(code(&server.var(&session, &["set", "s", &at])), Some(1), "no text");
    std::fs::write(&file, "{\"b\": [1,\n 2]}\n").unwrap();
    out(&server.var(&session, &["define", "m", "map", &at]));
    assert!(out(&server.var(&session, &["get", "m"])).contains(r#"{"b":[1,2]}"#));
    out(&fed(&server, &session, &["define", "i", "integer", "-"], b" 7\n"));
    assert_eq!(session.value("i").await, Kind::Int64Value(7));
    for verbatim in ["-", "@nowhere"] {
        out(&server.var(&session, &["set", "s", verbatim, "--verbatim"]));
        assert_eq!(session.value("s").await, Kind::StringValue(verbatim.into()));
    }
    assert!(told(&server.var(&session, &["set", "s", "@nowhere"])).contains("nowhere"));
}

#[tokio::test]
async fn the_type_that_a_value_is_written_in_can_be_said() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.write([register("f", VariableType::Float, float_of(0.5))]).await;
    out(&server.var(&session, &["set", "f", "3", "--type", "integer"]));
    assert_eq!(session.value("f").await, Kind::DoubleValue(3.0), "a float takes a whole number");
    assert!(told(&server.var(&session, &["set", "f", "3", "--type", "string"])).contains("TYPE_MISMATCH"));
    assert_eq!(code(&server.var(&session, &["set", "f", "3", "--type", "number"])), Some(2));
}
