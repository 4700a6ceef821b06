//! `snakepit data` on directories that servers have, had, and that were damaged.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value as Json;
use snakepit_proto::v1::{
    ChoiceConstraints, Constraints, Dtype, FloatConstraints, GetSessionRequest, ListVariableVersionsRequest,
    ListVariablesRequest, NdArray, StringConstraints, TensorConstraints, VariableSpec, VariableType, VariableVersion,
    constraints::Kind as Limit, value::Kind,
};

use crate::{
    command_line::{Served, snakepit},
    journal::disk::{again, serving},
    support::setup::*,
};

pub fn data(directory: &Path, arguments: &[&str]) -> Output {
    snakepit().arg("data").args(arguments).arg("--data-dir").arg(directory).output().unwrap()
}

pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn refused_with(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn import(directory: &Path, export: &str, flags: &[&str]) -> Output {
    let mut command = snakepit();
    command.args(["data", "import", "--data-dir"]).arg(directory).args(flags);
    piped(&mut command, export)
}

/// Runs a command with a text on its stdin.
pub fn piped(command: &mut std::process::Command, text: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Puts an export into a directory.
pub fn import_into(directory: &Path, export: &str) {
    done(&import(directory, export, &[]));
}

/// A session with variables of many types, a past, a secret and a deleted name.
pub async fn rich(server: &Served) -> TestSession {
    let session = server.session().await;
    let limited = |ty, limit| VariableSpec { constraints: Some(Constraints { kind: Some(limit) }), ..spec(ty) };
    let float = FloatConstraints { min: Some(0.0), max: Some(2.0), ..Default::default() };
    let string = StringConstraints { pattern: Some("a*".into()), r#enum: texts(&["a", "aa"]), ..Default::default() };
    let tensor = TensorConstraints { shape: vec![-1, 2], dtype: Dtype::Int16.into() };
    let array = NdArray { dtype: Dtype::Int16.into(), shape: vec![1, 2], data: vec![1, 0, 2, 0].into() };
    let choices = ChoiceConstraints { choices: vec![int(1), float_value(1.0), text("1")] };
    let described = VariableSpec {
        description: "for people".into(),
        metadata: [("team".to_owned(), "a".to_owned())].into(),
        nullable: true,
        ..limited(VariableType::Float, Limit::Float(float))
    };
    session
        .write([
            register_as("float", described, float_value(0.5)),
            register_as("string", limited(VariableType::String, Limit::String(string)), text("a")),
            register_as("choice", limited(VariableType::Choice, Limit::Choice(choices)), int(1)),
            register_as("tensor", limited(VariableType::Tensor, Limit::Tensor(tensor)), of(Kind::NdarrayValue(array))),
            register_as("secret", VariableSpec { secret: true, ..spec(VariableType::String) }, text("hush")),
            register("gone", VariableType::Integer, int(1)),
        ])
        .await;
    session.write([set("float", float_value(1.5)), set("string", text("aa"))]).await;
    session.write([set("float", of(Kind::NullValue(0))), delete("gone")]).await;
    session
}

fn float_value(value: f64) -> snakepit_proto::v1::Value {
    of(Kind::DoubleValue(value))
}

/// All that can be read of a session's variables, and their histories.
async fn content(session: &TestSession) -> (Vec<snakepit_proto::v1::Variable>, Vec<Vec<VariableVersion>>) {
    let list = ListVariablesRequest { session_id: session.id.clone(), ..Default::default() };
    let listed = session.variables.clone().list_variables(list).await.unwrap().into_inner().variables;
    let mut histories = Vec::new();
    for name in ["float", "string", "choice", "tensor", "secret", "gone"] {
        let versions = ListVariableVersionsRequest {
            session_id: session.id.clone(),
            name: name.into(),
            ..ListVariableVersionsRequest::default()
        };
        let answer = session.variables.clone().list_variable_versions(versions).await.unwrap().into_inner();
        histories.push(answer.versions);
    }
    (listed, histories)
}

#[tokio::test]
async fn what_is_exported_and_imported_is_the_same_in_a_new_life() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &from);
    let session = rich(&server).await;
    let expected = content(&session).await;
    let exported = done(&data(from.path(), &["export", "--with-secrets"]));
    assert!(exported.lines().all(|line| serde_json::from_str::<Json>(line).unwrap().is_object()));
    drop(server);

    done(&import(to.path(), &exported, &[]));
    let server = serving("127.0.0.1:0", &to);
    let imported = TestSession { incarnation: Vec::new(), ..again(&server, &session).await };
    assert_eq!(content(&imported).await, expected);
    assert_eq!(imported.value("secret").await, Kind::StringValue("hush".into()));
    let stale = WithLife::of(&session).write(&imported).await;
    assert_eq!(stale.reason, "SESSION_EXPIRED", "who knew the old life may have seen more than was exported");
    assert_eq!(imported.write([set("string", text("a"))]).await.revision, 5);
    let behind = snakepit_proto::v1::WatchVariablesRequest {
        known_revision: 2,
        ..imported.watch_of(snakepit_proto::v1::WatchMode::Every)
    };
    assert_eq!(refused(imported.watch(behind).await).reason, "COMPACTED");
    drop(server);
    let again = refused_with(&import(to.path(), &exported, &[]));
    assert!(again.contains(&session.id), "{again}");
}

/// A client that names the life it knows.
pub struct WithLife(Vec<u8>);

impl WithLife {
    pub fn of(session: &TestSession) -> Self {
        Self(session.incarnation.clone())
    }

    pub async fn write(&self, session: &TestSession) -> Refused {
        let write = session.write_of([set("string", text("a"))]);
        let incarnation = self.0.clone().into();
        refused(session.send(snakepit_proto::v1::WriteVariablesRequest { incarnation, ..write }).await)
    }
}

#[tokio::test]
async fn a_secret_is_exported_only_if_asked_for() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &from);
    let session = rich(&server).await;
    let exported = done(&data(from.path(), &["export"]));
    assert!(!exported.contains("hush"));
    let refused = refused_with(&import(to.path(), &exported, &[]));
    assert!(refused.contains("secret") && refused.contains("--with-secrets"), "{refused}");
    done(&import(to.path(), &exported, &["--without-secrets", "--same-lives"]));
    drop(server);
    let server = serving("127.0.0.1:0", &to);
    let imported = again(&server, &session).await;
    assert!(imported.get("secret").await.is_err());
    assert_eq!(imported.sync(4, &["float"], &[]).await.unwrap().revision, 4, "the same life");
}

#[tokio::test]
async fn a_backup_made_while_the_server_writes_is_a_journal_of_its_own() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &from);
    let session = rich(&server).await;
    let expected = content(&session).await;
    let copy = to.path().join("copy");
    done(&data(from.path(), &["backup", copy.to_str().unwrap()]));
    session.write([set("float", float_value(0.0))]).await;
    let refused = refused_with(&data(from.path(), &["backup", copy.to_str().unwrap()]));
    assert!(refused.contains("already"), "{refused}");
    drop(server);
    done(&data(from.path(), &["backup", to.path().join("stopped").to_str().unwrap()]));

    let server = Served::start(&["--data-dir", copy.to_str().unwrap()]);
    let copied = TestSession { incarnation: Vec::new(), ..again(&server, &session).await };
    assert_eq!(content(&copied).await, expected);
    let stale = WithLife::of(&session).write(&copied).await;
    assert_eq!(stale.reason, "SESSION_EXPIRED", "who knows the original may have seen more than was copied");
    assert_eq!(copied.write([set("string", text("a"))]).await.revision, 5);
    let life = life(&copied).await;
    assert_ne!(life, session.incarnation);
    drop(server);
    let server = Served::start(&["--data-dir", copy.to_str().unwrap()]);
    assert_eq!(self::life(&again(&server, &copied).await).await, life, "once it is served it is no copy any more");
}

/// The incarnation that a server has of a session.
async fn life(session: &TestSession) -> Vec<u8> {
    let find = GetSessionRequest { session_id: session.id.clone() };
    let found = session.sessions.clone().get_session(find).await.unwrap().into_inner();
    found.session.unwrap().incarnation.to_vec()
}

#[tokio::test]
async fn check_reads_everything_and_compact_changes_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let session = rich(&server).await;
    let expected = content(&session).await;
    let checked = done(&data(directory.path(), &["check"]));
    assert!(checked.contains("1 sessions, 5 variables"), "{checked}");
    let refused = refused_with(&data(directory.path(), &["compact"]));
    assert!(refused.contains("in use"), "{refused}");
    drop(server);
    done(&data(directory.path(), &["compact"]));
    assert_eq!(done(&data(directory.path(), &["check"])), checked);
    let server = serving("127.0.0.1:0", &directory);
    assert_eq!(content(&again(&server, &session).await).await, expected);
}

#[test]
fn what_is_no_journal_is_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let missing = refused_with(&data(directory.path(), &["check"]));
    assert!(missing.contains(directory.path().to_str().unwrap()), "{missing}");
    fs::write(directory.path().join("journal.db"), "not a database, but long enough to be taken for one").unwrap();
    refused_with(&data(directory.path(), &["check"]));
    refused_with(&import(directory.path(), "{\"kind\": \"other\"}\n", &[]));
}

/// Turns one byte somewhere in the middle of each text that looks like this.
fn turn(journal: &Path, text: &[u8]) -> usize {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(journal).unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    let places: Vec<_> = content.windows(text.len()).enumerate().filter(|(_, it)| *it == text).map(|it| it.0).collect();
    for place in &places {
        file.seek(SeekFrom::Start((place + text.len() / 2) as u64)).unwrap();
        file.write_all(&[content[place + text.len() / 2] ^ 1]).unwrap();
    }
    places.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_which_a_bit_has_turned_is_reported_and_the_rest_is_saved() {
    let (directory, rescued) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &directory);
    let (session, other) = (server.session().await, server.session().await);
    session.write([register("n", VariableType::String, text("whole"))]).await;
    session.write([set("n", text("a value that will be damaged"))]).await;
    other.write([register("n", VariableType::String, text("untouched"))]).await;
    assert_eq!(server.stop().0, Some(0));
    done(&data(directory.path(), &["compact"]));
    assert!(turn(&directory.path().join("journal.db"), b"a value that will be damaged") > 0);

    let told = refused_with(&data(directory.path(), &["check"]));
    assert!(told.contains(&session.id) && told.contains("checksum"), "{told}");
    let flags = ["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--data-dir"];
    let refused = refused_with(&snakepit().args(flags).arg(directory.path()).output().unwrap());
    assert!(refused.contains("data check"), "a damaged journal is not served");

    let exported = data(directory.path(), &["export"]);
    assert!(refused_with(&exported).contains(&session.id));
    done(&import(rescued.path(), &String::from_utf8(exported.stdout).unwrap(), &[]));
    let server = serving("127.0.0.1:0", &rescued);
    assert_eq!(again(&server, &other).await.value("n").await, Kind::StringValue("untouched".into()));
    assert_eq!(again(&server, &session).await.value("n").await, Kind::StringValue("whole".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_garbage_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    for _ in 0..6 {
        let session = server.session().await;
        session.write([register("n", VariableType::String, text(&"x".repeat(1_000)))]).await;
    }
    assert_eq!(server.stop().0, Some(0));
    let journal = directory.path().join("journal.db");
    let pages = fs::metadata(&journal).unwrap().len() / 4_096;
    let whole = fs::read(&journal).unwrap();
    let mut silent = Vec::new();
    for page in 1..pages {
        let mut damaged = whole.clone();
        let at = usize::try_from(page * 4_096).unwrap();
        if damaged[at..at + 4_096].iter().all(|byte| *byte == 0) {
            continue;
        }
        damaged[at..at + 4_096].fill(0xa5);
        fs::write(&journal, &damaged).unwrap();
        if data(directory.path(), &["check"]).status.success() {
            silent.push(page);
        }
    }
    assert_eq!(silent, [0; 0], "of {pages} pages");
    fs::write(&journal, &whole).unwrap();
    done(&data(directory.path(), &["check"]));
}
