//! A journal of each format that a release has written: this one reads them all.

use std::{fs, path::PathBuf};

use serde_json::Value as Json;
use snakepit_proto::v1::{
    CreateSessionRequest, WatchMode, WatchVariablesRequest, WriteVariablesRequest, value::Kind,
    watch_variables_response::Event,
};

use crate::{
    command_line::snakepit,
    journal::{
        data::{data, done, rich},
        disk::{again, serving},
    },
    support::setup::*,
};

const ID: &str = "golden";

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A write whose repeat has to be recognised.
fn keyed(session: &TestSession) -> WriteVariablesRequest {
    let write = session.write_of([increment("n", 5)]);
    WriteVariablesRequest { client_id: "client".into(), idempotency_key: "key".into(), ..write }
}

/// How journal-1 was made: rows of a fold, and events after it. Run it with `--ignored` for a new format only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the golden journal of the present format"]
async fn the_golden_journal_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    rich(&server).await;
    let request = CreateSessionRequest { session_id: ID.into(), ..CreateSessionRequest::default() };
    let session = TestSession::create(server.connect().await, request).await;
    session.integers(["n"]).await;
    session.send(keyed(&session)).await.unwrap();
    assert_eq!(server.stop().0, Some(0));
    done(&data(directory.path(), &["compact"]));
    let server = serving("127.0.0.1:0", &directory);
    again(&server, &session).await.write([set("n", int(7))]).await;
    assert_eq!(server.stop().0, Some(0));
    fs::create_dir_all(golden("")).unwrap();
    fs::copy(directory.path().join("journal.db"), golden("journal-1.db")).unwrap();
    fs::write(golden("journal-1.ndjson"), done(&data(directory.path(), &["export", "--with-secrets"]))).unwrap();
}

#[tokio::test]
async fn a_journal_of_format_1_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(golden("journal-1.db"), directory.path().join("journal.db")).unwrap();
    let expected = fs::read_to_string(golden("journal-1.ndjson")).unwrap();
    let exported = snakepit().args(["data", "export", "--with-secrets", "--data-dir"]).arg(directory.path()).output();
    assert_eq!(done(&exported.unwrap()), expected);

    let life = |line: &str| -> Option<String> {
        let line: Json = serde_json::from_str(line).unwrap();
        (line["session"] == ID).then(|| line["incarnation"].as_str().unwrap().to_owned())
    };
    let life = expected.lines().filter(|line| line.contains("incarnation")).find_map(life).unwrap();
    let incarnation =
        (0..32).step_by(2).map(|at| u8::from_str_radix(&life[at..at + 2], 16).unwrap()).collect::<Vec<_>>();
    let server = serving("127.0.0.1:0", &directory);
    let here = server.session().await;
    let session = TestSession { id: ID.into(), incarnation, ..here };
    assert_eq!(session.value("n").await, Kind::Int64Value(7));
    assert_eq!(session.send(keyed(&session)).await.unwrap().revision, 3, "a repeat");
    let resumed = WatchVariablesRequest { known_revision: 2, ..session.watch_of(WatchMode::Every) };
    let mut watch = session.watch(resumed).await.unwrap();
    for (revision, value) in [(3, 5), (4, 7)] {
        let message = watch.message().await.unwrap().unwrap();
        let Some(Event::Changes(changes)) = message.event else { panic!("{message:?}") };
        let variable = changes.changes[0].variable.clone().unwrap();
        assert_eq!((message.revision, variable.value), (revision, Some(int(value))));
    }
}
