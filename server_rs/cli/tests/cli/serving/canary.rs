//! A secret that is set, used, listed, watched, refused, exported and logged at every level is told to those alone who may
//! read it. So is no token.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use snakepit_proto::v1::{
    Constraints, ListVariableVersionsRequest, ListVariablesRequest, OperationOutcome, StringConstraints,
    SyncVariablesRequest, VariableSpec, VariableType, WatchMode, WatchVariablesRequest, constraints::Kind as Limit,
};
use tonic::transport::Channel;

use crate::{
    command_line::snakepit,
    support::{
        guarded::{ALL, Holder, tables},
        setup::*,
    },
};

const CANARY: &str = "sk-canary-7f3a";
/// The beginning of every token here.
const TOKEN: &str = "spt_";

/// A server that logs everything into a file, in words or as JSON. Ends with the test.
struct Logging(Child);

impl Logging {
    /// Also says where it listens, and where it tells metrics.
    fn start(directory: &Path, format: &str) -> (Self, String, String) {
        let file = |name: &str| directory.join(name);
        let mut command = snakepit();
        command.env("SNAKEPIT_LOG", "trace").env("SNAKEPIT_LOG_FORMAT", format).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--until-stdin-closes",
        ]);
        command.arg("--data-dir").arg(file("data")).arg("--auth-token-file").arg(file("tokens"));
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        command.arg("--audit-log").arg(file("audit")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(file("log")).unwrap()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut after = |said| lines.next().unwrap().unwrap().strip_prefix(said).unwrap().to_owned();
        let (address, metrics) = (after("listening on "), after("metrics on "));
        (Self(child), address, metrics)
    }

    fn stop(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// All that a client without `read_secret` is told about the variable.
async fn told(reader: &Holder, all: &Holder) -> String {
    let mut told = Vec::new();
    let mut say = |it: &dyn std::fmt::Debug| told.push(format!("{it:?}"));
    say(&reader.get("s", "key").await.unwrap());
    let listing = ListVariablesRequest { session_id: "s".into(), ..Default::default() };
    say(&reader.variables().list_variables(listing.clone()).await.unwrap());
    say(&all.variables().list_variables(listing).await.unwrap());
    let history = ListVariableVersionsRequest { session_id: "s".into(), name: "key".into(), ..Default::default() };
    say(&reader.variables().list_variable_versions(history.clone()).await.unwrap());
    say(&all.variables().list_variable_versions(history).await.unwrap());
    let sync = SyncVariablesRequest { session_id: "s".into(), new_names: vec!["key".into()], ..Default::default() };
    say(&reader.variables().sync_variables(sync).await.unwrap());
    for (mode, known_revision) in [(WatchMode::Latest, 0), (WatchMode::Every, 0), (WatchMode::Every, 1)] {
        let request =
            WatchVariablesRequest { session_id: "s".into(), mode: mode.into(), known_revision, ..Default::default() };
        let mut watch = reader.variables().watch_variables(request).await.unwrap().into_inner();
        say(&watch.message().await.unwrap());
        all.write("s", [set("key", text(&format!("{CANARY}-{}", unique("v"))))]).await.unwrap();
        say(&watch.message().await.unwrap());
    }
    // The reader may write, and is told what that came to.
    let appended: OperationOutcome = reader.write("s", [set("key", text("x"))]).await.unwrap().outcomes.remove(0);
    say(&appended);
    let rollback = snakepit_proto::v1::RollbackOperation { version: 1 };
    let rolled = operation("key", snakepit_proto::v1::operation::Action::Rollback(rollback));
    say(&reader.write("s", [rolled]).await.unwrap_err());
    // And what is refused.
    say(&all.write("s", [set("key", text(&format!("{CANARY}{}", "x".repeat(100))))]).await.unwrap_err());
    say(&all.write("s", [increment("key", 1)]).await.unwrap_err());
    let plain = register("key", VariableType::String, text(&format!("{CANARY}!")));
    say(&all.write("s", [plain]).await.unwrap_err());
    told.concat()
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_told_to_those_alone_who_may_read_it_and_a_token_to_nobody() {
    for format in ["human", "json"] {
        nobody_else_is_told(format).await;
    }
}

/// Of a server whose log is of that format.
async fn nobody_else_is_told(format: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    fs::write(file("tokens"), tables(&[("all", ALL, "*"), ("reader", "read write", "*")])).unwrap();
    let (server, address, metrics) = Logging::start(directory.path(), format);
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let (all, reader) = (Holder::new(channel.clone(), "spt_all"), Holder::new(channel.clone(), "spt_reader"));
    all.open("s").await.unwrap();
    let short = Limit::String(StringConstraints { max_length: Some(64), ..Default::default() });
    let secret = VariableSpec {
        secret: true,
        constraints: Some(Constraints { kind: Some(short) }),
        ..spec(VariableType::String)
    };
    all.write("s", [register_as("key", secret, text(CANARY))]).await.unwrap();
    assert_eq!(all.get("s", "key").await.unwrap().value, Some(text(CANARY)), "who may, reads it");

    let wrong = Holder::new(channel, "spt_wrong").get("s", "key").await;
    let mut seen = vec![("refusal", format!("{wrong:?}")), ("answers", told(&reader, &all).await)];
    fs::write(file("token"), "spt_reader").unwrap();
    for arguments in [&["list", "--json"][..], &["list"], &["get", "key"], &["get", "key", "--json"], &["get", "no"]] {
        let mut command = snakepit();
        command.args(["var", "--session", "s", "--address", &address, "--token-file"]).arg(file("token"));
        seen.push(("command line", printed(command.args(arguments))));
    }
    let told = crate::support::monitored::get(&*metrics, "/metrics").await.body;
    assert!(told.contains("snakepit_refusals_total{reason=\"CONSTRAINT_VIOLATED\"}"), "what was refused is counted");
    seen.push(("metrics", told));
    drop((all, reader));
    server.stop();
    let data = |arguments: &[&str]| printed(snakepit().arg("data").arg("--data-dir").arg(file("data")).args(arguments));
    assert!(data(&["export", "--with-secrets"]).contains(CANARY), "the owner of the files can have it");
    seen.extend([("export", data(&["export"])), ("check", data(&["check"]))]);
    for name in ["log", "audit"] {
        seen.push((name, fs::read_to_string(file(name)).unwrap()));
        assert!(!seen.last().unwrap().1.is_empty());
    }
    let log = fs::read_to_string(file("log")).unwrap();
    assert!(["WriteVariables", "WatchVariables", "TYPE_MISMATCH"].iter().all(|known| log.contains(known)), "{format}");
    for (place, text) in &seen {
        assert!(!text.contains(CANARY), "a secret is in the {place} ({format})");
        assert!(!text.contains(TOKEN), "a token is in the {place} ({format})");
    }
}
