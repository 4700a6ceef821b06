//! A server that keeps its sessions on disk, killed and started again.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, Durability, GetServerInfoRequest, GetSessionRequest,
    ListVariableVersionsRequest, WatchMode, WatchVariablesRequest, server_service_client::ServerServiceClient,
    value::Kind, watch_variables_response::Event,
};
use tempfile::TempDir;

use crate::{
    command_line::{Served, snakepit},
    support::setup::*,
};

/// Kills the server as a crash would, and starts one on the same directory and port.
fn crash(mut server: Served, directory: &TempDir) -> Served {
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let address = server.address.clone();
    drop(server);
    serving(&address, directory)
}

pub fn serving(on: &str, directory: &TempDir) -> Served {
    Served::listening(on, &["--data-dir", directory.path().to_str().unwrap()])
}

/// The same session, from a connection to the server as it is now.
pub async fn again(server: &Served, session: &TestSession) -> TestSession {
    let channel = server.connect().await;
    TestSession {
        sessions: snakepit_proto::v1::session_service_client::SessionServiceClient::new(channel.clone()),
        variables: snakepit_proto::v1::variable_service_client::VariableServiceClient::new(channel.clone()),
        channel,
        ..session.clone()
    }
}

pub fn refused_to_serve(directory: &Path) -> Output {
    let flags = ["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--data-dir"];
    let output = snakepit().args(flags).arg(directory).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "it must not say that it listens");
    output
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let session = server.session().await;
    session.integers(["n", "gone"]).await;
    session.write([set("n", int(7))]).await;
    session.write([delete("gone")]).await;
    let keyed = snakepit_proto::v1::WriteVariablesRequest {
        client_id: "c".into(),
        idempotency_key: "1".into(),
        ..session.write_of([increment("n", 1)])
    };
    let written = session.send(keyed.clone()).await.unwrap();

    let server = crash(server, &directory);
    let session = again(&server, &session).await;
    assert_eq!(session.value("n").await, Kind::Int64Value(8));
    assert_eq!(session.send(keyed).await.unwrap(), written, "a repeat is answered as the original was");
    assert_eq!(session.value("n").await, Kind::Int64Value(8));
    let sync = session.sync(written.revision - 2, &["n", "gone"], &[]).await.unwrap();
    assert_eq!((sync.revision, sync.full, &sync.absent[..]), (written.revision, false, &["gone".to_owned()][..]));
    let versions = ListVariableVersionsRequest {
        session_id: session.id.clone(),
        name: "gone".into(),
        ..ListVariableVersionsRequest::default()
    };
    let versions = session.variables.clone().list_variable_versions(versions).await.unwrap().into_inner().versions;
    assert_eq!(versions.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(session.write([set("n", int(1))]).await.revision, written.revision + 1);
}

#[tokio::test]
async fn a_watch_resumes_after_a_crash_with_each_change_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let session = server.session().await;
    session.integers(["n"]).await;
    for value in 1..=20 {
        session.write([set("n", int(value))]).await;
    }
    let server = crash(server, &directory);
    let session = again(&server, &session).await;
    session.write([set("n", int(21))]).await;
    let resumed = WatchVariablesRequest { known_revision: 10, ..session.watch_of(WatchMode::Every) };
    let mut watch = session.watch(resumed).await.unwrap();
    let mut revisions = Vec::new();
    while revisions.last() != Some(&23) {
        let message = watch.message().await.unwrap().unwrap();
        if let Some(Event::Changes(changes)) = message.event {
            assert_eq!(changes.changes.len(), 1);
            revisions.push(message.revision);
        }
    }
    assert_eq!(revisions, (11..=23).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watch_is_given_what_only_the_journal_holds_and_then_what_happens() {
    const CHANGES: i64 = 700;
    let directory = tempfile::tempdir().unwrap();
    let mut command = snakepit();
    command.env("SNAKEPIT_FOLD_EVENTS", "100");
    let server = Served::of(command, "127.0.0.1:0", &["--data-dir", directory.path().to_str().unwrap()]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let writes = (1..=CHANGES).map(|value| {
        let session = session.clone();
        async move { session.write([set("n", int(value))]).await }
    });
    futures_util::future::join_all(writes).await;

    // Before and after a crash: most of the log is folded, and more than a session holds.
    let follow = async |session: &TestSession, newest: u64| {
        let resumed = WatchVariablesRequest { known_revision: 1, ..session.watch_of(WatchMode::Every) };
        let mut watch = session.watch(resumed).await.unwrap();
        for expected in 2..=newest {
            loop {
                let message = watch.message().await.unwrap().unwrap();
                if let Some(Event::Changes(changes)) = message.event {
                    assert_eq!((message.revision, changes.changes.len()), (expected, 1));
                    break;
                }
            }
        }
        watch
    };
    let newest = u64::try_from(CHANGES).unwrap() + 2;
    drop(follow(&session, newest).await);
    let server = crash(server, &directory);
    let session = again(&server, &session).await;
    let mut watch = follow(&session, newest).await;
    assert_eq!(session.write([set("n", int(-1))]).await.revision, newest + 1);
    while watch.message().await.unwrap().unwrap().revision <= newest {}
}

#[tokio::test]
async fn a_server_whose_log_has_no_space_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut full = std::process::Command::new("sh");
    full.args(["-c", "exec \"$0\" \"$@\" 2> /dev/full", env!("CARGO_BIN_EXE_snakepit")]);
    full.env("SNAKEPIT_LOG", "trace");
    let mut server = Served::of(full, "127.0.0.1:0", &["--data-dir", directory.path().to_str().unwrap()]);
    let session = server.session().await;
    session.integers(["n"]).await;
    assert_eq!(session.value("n").await, Kind::Int64Value(0));
    assert!(server.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_deleted_stays_deleted_and_its_life_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let (mut session, other) = (server.session().await, server.session().await);
    let of_session = DeleteSessionRequest { session_id: session.id.clone(), ..DeleteSessionRequest::default() };
    session.sessions.delete_session(of_session).await.unwrap();

    let server = crash(server, &directory);
    let mut session = again(&server, &session).await;
    let find = |id: &str| GetSessionRequest { session_id: id.into() };
    let missing = refused(session.sessions.get_session(find(&session.id)).await);
    assert_eq!(missing.reason, "SESSION_NOT_FOUND");
    let late = CreateSessionRequest {
        session_id: session.id.clone(),
        incarnation: session.incarnation.clone().into(),
        ..CreateSessionRequest::default()
    };
    assert_eq!(refused(session.sessions.create_session(late).await).fact("field"), "incarnation");
    let kept = session.sessions.get_session(find(&other.id)).await.unwrap().into_inner().session.unwrap();
    assert_eq!(kept.incarnation, other.incarnation);
}

#[tokio::test]
async fn a_server_keeps_its_sessions_in_dot_snakepit_for_nobody_else_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = snakepit();
    command.current_dir(directory.path());
    let server = Served::of(command, "127.0.0.1:0", &[]);
    let info = ServerServiceClient::new(server.connect().await).get_server_info(GetServerInfoRequest {}).await.unwrap();
    assert_eq!(info.into_inner().durability(), Durability::Disk);
    server.session().await.integers(["n"]).await;
    let home = directory.path().join(".snakepit");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    let files: Vec<_> = home.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn a_second_server_on_the_directory_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let said = String::from_utf8(refused_to_serve(directory.path()).stderr).unwrap();
    assert!(said.contains(directory.path().to_str().unwrap()), "{said}");
    assert!(said.contains(&server.child.id().to_string()), "{said}");
    drop(server);
    serving("127.0.0.1:0", &directory);
}

#[tokio::test]
async fn a_journal_of_a_later_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(serving("127.0.0.1:0", &directory));
    let journal = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    journal.execute("UPDATE meta SET value = 99 WHERE key = 'format'", []).unwrap();
    drop(journal);
    let said = String::from_utf8(refused_to_serve(directory.path()).stderr).unwrap();
    assert!(said.contains("format 99"), "{said}");
}
