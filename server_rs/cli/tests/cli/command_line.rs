//! The command line, run as a process against a server that is one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use serde_json::{Value as Json, json};
use snakepit_proto::v1::{
    ChoiceConstraints, Constraints, Dtype, FloatConstraints, MapEntry, MapValue, NdArray, VariableSpec, VariableType,
    constraints::Kind as Limit, value::Kind,
};
use tonic::transport::Channel;

use crate::support::setup::*;

pub fn snakepit() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snakepit"));
    let own = ["ADDRESS", "SESSION", "LISTEN", "DATA_DIR", "EPHEMERAL", "INSECURE", "HEARTBEAT", "BREAKER_FAILURES"];
    let own = own.iter().chain(&["METRICS_LISTEN"]);
    let trust = ["TOKEN", "TOKEN_FILE", "AUTH_TOKEN_FILE", "TLS", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA"];
    for name in own.chain(&trust) {
        command.env_remove(format!("SNAKEPIT_{name}"));
    }
    command
}

/// A server process on a free port. Ends with the test.
pub struct Served {
    pub child: Child,
    stdin: Option<ChildStdin>,
    pub address: String,
    /// Where it tells metrics.
    pub metrics: Option<String>,
}

impl Served {
    pub fn start(flags: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", flags)
    }

    pub fn listening(on: &str, flags: &[&str]) -> Self {
        Self::of(snakepit(), on, flags)
    }

    pub fn of(mut command: Command, on: &str, flags: &[&str]) -> Self {
        command.args(["serve", "--listen", on, "--until-stdin-closes"]).args(flags);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().strip_prefix("listening on ").unwrap().to_owned();
        let metrics = flags.contains(&"--metrics-listen").then(|| lines.next().unwrap().unwrap());
        let metrics = metrics.map(|line| line.strip_prefix("metrics on ").unwrap().to_owned());
        let stdin = child.stdin.take();
        Self { child, stdin, address, metrics }
    }

    pub async fn connect(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn session(&self) -> TestSession {
        TestSession::create(self.connect().await, Default::default()).await
    }

    /// Runs `snakepit var` on a session.
    pub fn var(&self, session: &TestSession, arguments: &[&str]) -> Output {
        self.var_command(session, arguments).output().unwrap()
    }

    pub fn var_command(&self, session: &TestSession, arguments: &[&str]) -> Command {
        let mut command = snakepit();
        command.env("SNAKEPIT_ADDRESS", &self.address).env("SNAKEPIT_SESSION", &session.id);
        command.arg("var").args(arguments);
        command
    }

    /// Closes stdin and waits for the end.
    pub fn stop(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Not gracefully: that waits for clients, which a blocked test runtime keeps from letting go.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn out(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn code(output: &Output) -> Option<i32> {
    assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "what was wrong goes to stderr");
    output.status.code()
}

pub fn objects(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_variable_is_set_by_its_declared_type_and_read_back() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let choices = ChoiceConstraints { choices: vec![text("1"), int(2), of(Kind::BoolValue(true))] };
    let choice = VariableSpec {
        constraints: Some(Constraints { kind: Some(Limit::Choice(choices)) }),
        ..spec(VariableType::Choice)
    };
    let nullable = VariableSpec { nullable: true, ..spec(VariableType::String) };
    session
        .write([
            register("f", VariableType::Float, float(0.0)),
            register("i", VariableType::Integer, int(0)),
            register("s", VariableType::String, text("")),
            register("b", VariableType::Boolean, of(Kind::BoolValue(false))),
            register_as("c", choice, int(2)),
            register_as("n", nullable, text("x")),
            register("m", VariableType::Map, of(Kind::MapValue(MapValue::default()))),
        ])
        .await;
    for (name, typed, expected) in [
        ("f", "-0.5", float(-0.5)),
        ("f", "1", float(1.0)),
        ("i", "9007199254740993", int((1 << 53) + 1)),
        ("i", "-9223372036854775808", int(i64::MIN)),
        ("s", "true", text("true")),
        ("s", "--flag like", text("--flag like")),
        ("s", "null", text("null")),
        ("b", "true", of(Kind::BoolValue(true))),
        ("c", "1", text("1")),
        ("c", "true", of(Kind::BoolValue(true))),
        ("n", "null", text("null")),
    ] {
        out(&server.var(&session, &["set", name, typed]));
        assert_eq!(Some(session.value(name).await), expected.kind, "{name} {typed}");
        assert_eq!(
            out(&server.var(&session, &["get", name])).trim_end(),
            if name == "f" && typed == "1" { "1.0" } else { typed }
        );
    }
    out(&server.var(&session, &["set", "n", "--null"]));
    assert_eq!(session.value("n").await, Kind::NullValue(0));
    out(&server.var(&session, &["set", "m", r#"{"z": 1, "a": [1.0, {"$float": "NaN"}]}"#]));
    let entries = |map: Kind| if let Kind::MapValue(map) = map { map.entries } else { vec![] };
    let keys: Vec<_> = entries(session.value("m").await).into_iter().map(|MapEntry { key, .. }| key).collect();
    assert_eq!(keys, ["z", "a"]);
}

#[tokio::test]
async fn json_is_exact() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let any_float = FloatConstraints { allow_nan: true, allow_infinity: true, ..Default::default() };
    let any_float = VariableSpec {
        constraints: Some(Constraints { kind: Some(Limit::Float(any_float)) }),
        ..spec(VariableType::Float)
    };
    let array = NdArray { dtype: Dtype::Int16.into(), shape: vec![2], data: vec![1, 0, 2, 0].into() };
    let secret = VariableSpec { secret: true, ..spec(VariableType::String) };
    session
        .write([
            register("big", VariableType::Integer, int(i64::MAX)),
            register_as("nan", any_float.clone(), float(f64::NAN)),
            register_as("inf", any_float, float(f64::NEG_INFINITY)),
            register("whole", VariableType::Float, float(1.0)),
            register("bytes", VariableType::Bytes, of(Kind::BytesValue(vec![0, 255].into()))),
            register("array", VariableType::Tensor, of(Kind::NdarrayValue(array))),
            register_as("secret", secret, text("sk")),
        ])
        .await;
    let listed = out(&server.var(&session, &["list", "--json"]));
    assert!(!listed.contains("sk"), "a list shows no secret");
    let value = |name: &str| objects(&listed).into_iter().find(|it| it["name"] == name).unwrap()["value"].to_string();
    assert_eq!(value("big"), "9223372036854775807");
    assert_eq!(value("nan"), r#"{"$float":"NaN"}"#);
    assert_eq!(value("inf"), r#"{"$float":"-Infinity"}"#);
    assert_eq!(value("whole"), "1.0");
    assert_eq!(value("bytes"), r#"{"$bytes":"AP8="}"#);
    let array = json!({"$ndarray": {"dtype": "int16", "shape": [2], "data": "AQACAA=="}});
    assert_eq!(value("array"), array.to_string());
    assert_eq!(value("secret"), "null");
    out(&server.var(&session, &["set", "array", &array.to_string()]));
    assert_eq!(session.get("array").await.unwrap().version, 1, "what is printed can be set");
    let names: Vec<_> = out(&server.var(&session, &["list", "n*"])).lines().skip(1).map(str::to_owned).collect();
    assert_eq!(names.len(), 1);
}

#[tokio::test]
async fn an_expected_version_and_a_reason_go_along() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let set = ["set", "n", "5", "--expected-version", "1", "--reason", "because", "--json"];
    let written = objects(&out(&server.var(&session, &set))).remove(0);
    assert_eq!(written, json!({"name": "n", "changed": true, "version": 2, "revision": 3}));
    assert_eq!(session.get("n").await.unwrap().reason, "because");
    assert_eq!(code(&server.var(&session, &set)), Some(1));
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_the_exit_code() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let missing = server.var(&session, &["get", "missing"]);
    assert_eq!(code(&missing), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("\n  next: "), "it says what to do");
    assert_eq!(code(&server.var(&session, &["set", "n", "one"])), Some(1));
    assert_eq!(code(&server.var(&session, &["set", "n"])), Some(2));
    assert_eq!(code(&server.var(&session, &["list", "--session", "nowhere"])), Some(1));
    assert_eq!(code(&snakepit().args(["var", "list", "--address", &server.address]).output().unwrap()), Some(1));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(code(&server.var(&session, &["list", "--address", &nobody])), Some(3));
}

/// Starts a watch with these flags: the process, and its output line by line.
fn watching(server: &Served, session: &TestSession, flags: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = server.var_command(session, &["watch"]);
    let mut child = command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout: ChildStdout = child.stdout.take().unwrap();
    (child, BufReader::new(stdout).lines().map(Result::unwrap))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_each_change_and_ends_cleanly_when_interrupted() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n", "other"]).await;
    let (mut child, mut lines) = watching(&server, &session, &["n*", "--json"]);
    let mut next = || -> Json { serde_json::from_str(&lines.next().unwrap()).unwrap() };
    let first = next();
    assert_eq!((&first["kind"], &first["name"], &first["value"]), (&json!("initial"), &json!("n"), &json!(0)));
    session.write([set("n", int(1)), set("other", int(1))]).await;
    session.write([delete("n")]).await;
    let (second, third) = (next(), next());
    assert_eq!((&second["kind"], &second["value"], &second["revision"]), (&json!("set"), &json!(1), &json!(3)));
    assert_eq!((&third["kind"], &third["version"]), (&json!("deleted"), &json!(3)));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_a_stopping_server_ends_as_unreachable() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let (mut child, mut lines) = watching(&server, &session, &[]);
    assert!(lines.next().unwrap().contains("initial"));
    drop(session);
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[tokio::test]
async fn an_address_open_to_strangers_takes_insecure() {
    let refused = snakepit().args(["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(code(&refused), Some(1));
    let server = Served::listening("0.0.0.0:0", &["--ephemeral", "--insecure"]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
    let mut client = snakepit_proto::v1::server_service_client::ServerServiceClient::new(channel);
    assert!(client.get_server_info(snakepit_proto::v1::GetServerInfoRequest {}).await.unwrap().into_inner().insecure);
}

#[tokio::test]
async fn a_taken_port_is_an_error_of_its_own() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_eq!(code(&snakepit().args(["serve", "--listen", &address]).output().unwrap()), Some(1));
}

#[tokio::test]
async fn limits_are_flags_and_environment_variables() {
    let server = Served::start(&["--ephemeral", "--limit-variables-per-session", "1"]);
    let session = server.session().await;
    session.integers(["a"]).await;
    assert_eq!(session.refused([register("b", VariableType::Integer, int(1))]).await.fact("max"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_server_stops_gracefully() {
    let mut server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    drop(session);
    let terminated = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(terminated.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(server.stdin.as_mut().is_some_and(|stdin| stdin.flush().is_ok()), "its stdin was still open");
}
