//! `snakepit apply`: a session as a file in git says.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;
use snakepit_proto::v1::value::Kind;
use tempfile::TempDir;

use crate::{
    command_line::{Served, code, objects, out, snakepit},
    support::setup::*,
};

const FILE: &str = r#"
session = "declared"
ttl = 3600
metadata = {team = "answers"}

[variables.temperature]
type = "float"
value = 1
min = 0.0
max = 2
description = "how lively"

[variables.prompt]
type = "string"
value_file = "prompt.txt"
max_length = 100

[variables.mode]
type = "choice"
value = "fast"
choices = ["fast", "slow", 1]

[variables.big]
type = "integer"
value = 9007199254740993

[variables.key]
type = "string"
value_env = "TEST_KEY"
secret = true

[variables.odd]
type = "float"
value = nan
allow_nan = true

[variables.table]
type = "map"
value = {z = 1, a = [1.5, {b = "x"}]}

[variables.nothing]
type = "string"
nullable = true
"#;

struct Team {
    directory: TempDir,
    address: String,
}

impl Team {
    fn of(server: &Served) -> Self {
        let team = Self { directory: tempfile::tempdir().unwrap(), address: server.address.clone() };
        std::fs::write(team.directory.path().join("prompt.txt"), "Answer in\none word.\n").unwrap();
        team.write(FILE);
        team
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("session.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn apply(&self, flags: &[&str]) -> Output {
        apply(&self.address, &self.file()).env("TEST_KEY", "sk-hush").args(flags).output().unwrap()
    }

    fn told(&self, flags: &[&str]) -> String {
        let output = self.apply(flags);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

fn apply(address: &str, file: &Path) -> Command {
    let mut command = snakepit();
    command.arg("apply").arg(file).args(["--address", address]);
    command
}

async fn session(server: &Served) -> TestSession {
    let named = snakepit_proto::v1::CreateSessionRequest { session_id: "other".into(), ..Default::default() };
    TestSession { id: "declared".into(), ..TestSession::create(server.connect().await, named).await }
}

#[tokio::test]
async fn a_file_is_applied_once_and_then_changes_nothing() {
    let server = Served::start(&["--ephemeral"]);
    let team = Team::of(&server);
    let diff = team.apply(&["--diff"]);
    let shown = String::from_utf8(diff.stdout).unwrap();
    assert_eq!(diff.status.code(), Some(4), "something would change");
    assert!(shown.starts_with("+ session declared\n") && shown.contains("+ temperature: float = 1.0"), "{shown}");
    assert!(shown.contains("+ key: string = (secret)") && !shown.contains("hush"), "{shown}");
    let listed = snakepit().args(["session", "list", "--json", "--address", &server.address]).output().unwrap();
    assert_eq!(out(&listed), "", "a diff changes nothing");

    let applied = out(&team.apply(&["--reason", "as in git"]));
    assert!(applied.ends_with("session declared: 8 variables changed, at revision 2\n"), "one atomic write: {applied}");
    let session = session(&server).await;
    assert_eq!(session.value("temperature").await, Kind::DoubleValue(1.0));
    assert_eq!(session.value("prompt").await, Kind::StringValue("Answer in\none word.".into()));
    assert_eq!(session.value("big").await, Kind::Int64Value((1 << 53) + 1));
    assert_eq!(session.value("key").await, Kind::StringValue("sk-hush".into()));
    assert_eq!(session.value("nothing").await, Kind::NullValue(0));
    assert!(matches!(session.value("odd").await, Kind::DoubleValue(it) if it.is_nan()));
    let Kind::MapValue(table) = session.value("table").await else { panic!("no map") };
    assert_eq!(table.entries.iter().map(|it| &*it.key).collect::<Vec<_>>(), ["z", "a"], "in the file's order");
    let temperature = session.get("temperature").await.unwrap();
    assert_eq!(
        (temperature.reason.as_str(), temperature.spec.unwrap().description.as_str()),
        ("as in git", "how lively")
    );

    assert_eq!(out(&team.apply(&["--diff"])), "");
    assert_eq!(out(&team.apply(&["--set-values", "--prune"])), "session declared is as the file says\n");
    assert_eq!(session.get("temperature").await.unwrap().version, 1);
}

#[tokio::test]
async fn live_values_stay_unless_told_otherwise_and_so_do_undeclared_variables() {
    let server = Served::start(&["--ephemeral"]);
    let team = Team::of(&server);
    out(&team.apply(&[]));
    let session = session(&server).await;
    session
        .write([set("temperature", float(0.5)), register("extra", snakepit_proto::v1::VariableType::Integer, int(1))])
        .await;
    let kept = out(&team.apply(&["--diff"]));
    assert!(kept.contains("temperature: keeps 0.5") && kept.contains("extra: not in the file"), "{kept}");
    out(&team.apply(&[]));
    assert_eq!(session.value("temperature").await, Kind::DoubleValue(0.5));

    team.write(
        &FILE.replace("max = 2\n", "max = 1.5\n").replace("type = \"choice\"", "type = \"choice\"\nread_only = true"),
    );
    let told = String::from_utf8(team.apply(&["--diff"]).stdout).unwrap();
    assert!(told.contains("~ temperature: max: 2.0 -> 1.5"), "{told}");
    out(&team.apply(&[]));
    assert_eq!(session.value("temperature").await, Kind::DoubleValue(0.5), "declared anew, with its value");
    assert!(session.get("mode").await.unwrap().spec.unwrap().read_only);

    team.write(&FILE.replace("max = 2\n", "max = 0.4\n").replace("value = 1\n", "value = 0.3\n"));
    let refused = team.told(&[]);
    assert!(refused.contains("CONSTRAINT_VIOLATED"), "the value that stays does not fit: {refused}");
    let objects_told =
        objects(&String::from_utf8(team.apply(&["--set-values", "--prune", "--diff", "--json"]).stdout).unwrap());
    let action = |name: &str| objects_told.iter().find(|it| it["name"] == name).unwrap()["action"].clone();
    assert_eq!(
        (action("temperature"), action("extra"), action("big")),
        (json!("redeclare"), json!("delete"), json!("same"))
    );
    assert!(session.get("extra").await.is_ok());
    out(&team.apply(&["--set-values", "--prune"]));
    assert_eq!(session.value("temperature").await, Kind::DoubleValue(0.3));
    assert!(session.get("extra").await.is_err());
    assert_eq!(out(&team.apply(&["--set-values", "--prune", "--diff"])), "");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_with_its_place_and_changes_nothing() {
    let server = Served::start(&["--ephemeral"]);
    let team = Team::of(&server);
    for (wrong, told) in [
        ("session = \n", &["line 1", "column"][..]),
        ("session = \"s\"\n[variables.a]\ntype = \"float\"\nvalue = 1.0\nmaks = 2\n", &["line 5", "maks", "max"]),
        (
            "session = \"s\"\n[variables.a]\ntype = \"float\"\nvalue = 1.0\npattern = \"a\"\n",
            &["line 2", "pattern", "min"],
        ),
        ("session = \"s\"\n\n[variables.\"a.b\"]\ntype = \"flaot\"\nvalue = 1.0\n", &["line 3", "flaot", "float"]),
        ("session = \"s\"\n[variables.a]\ntype = \"float\"\n", &["line 2", "value"]),
        ("session = \"s\"\n[variables.a]\ntype = \"string\"\nvalue_file = \"nowhere\"\n", &["line 2", "nowhere"]),
        ("session = \"s\"\n[variables.a]\ntype = \"string\"\nvalue_env = \"NOT_SET_AT_ALL\"\n", &["NOT_SET_AT_ALL"]),
        ("session = \"s\"\n[variables.a]\ntype = \"string\"\nvalue = 2026-01-31\n", &["line 2", "quotes"]),
        ("[variables.a]\ntype = \"float\"\nvalue = 1.0\n", &["--session"]),
        ("session = \"s\"\nvariables = [1]\n", &["line 2", "map"]),
        ("session = \"s\"\n[variables.a]\ntype = \"float\"\nvalue = \"x\"\n", &["TYPE_MISMATCH"]),
    ] {
        team.write(wrong);
        let said = team.told(&[]);
        assert!(told.iter().all(|it| said.contains(it)), "{wrong}\n{said}");
    }
    let listed = snakepit().args(["session", "list", "--json", "--address", &server.address]).output().unwrap();
    assert_eq!(out(&listed), "", "a session that was made for what is refused is ended");
    assert_eq!(code(&apply(&server.address, Path::new("nowhere.toml")).output().unwrap()), Some(1));
}

#[tokio::test]
async fn the_example_can_be_applied() {
    let server = Served::start(&["--ephemeral"]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/session.toml");
    let mut first = apply(&server.address, &example);
    let first = out(&first.env("SNAKEPIT_SESSION", "of-another-shell").output().unwrap());
    assert!(first.contains("session support:"), "the file's session comes before the environment's: {first}");
    assert_eq!(out(&apply(&server.address, &example).arg("--diff").output().unwrap()), "");
}
