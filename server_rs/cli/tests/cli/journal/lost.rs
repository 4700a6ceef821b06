//! What happens to a data directory behind a server's back: files that are gone, cut off, or changed, and the directory
//! itself. What is lost is said before anything is served, and nothing that is left is touched.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use snakepit_proto::v1::{
    GetServerInfoRequest, GetServerInfoResponse, VariableType, WatchMode, WatchVariablesRequest,
    server_service_client::ServerServiceClient, value::Kind, watch_variables_response::Event,
};

use crate::{
    command_line::{Served, snakepit},
    journal::{
        data::{data, done, import_into, refused_with},
        disk::{again, refused_to_serve},
    },
    support::setup::*,
};

const JOURNAL: &str = "journal.db";
const LOG: &str = "journal.db-wal";
/// A frame of the log: its header and a page.
const FRAME: usize = 24 + 4_096;

fn on(directory: &Path) -> Served {
    Served::start(&["--data-dir", directory.to_str().unwrap()])
}

/// A session with a number that was set so many times, on a server that was then killed.
async fn killed(directory: &Path, writes: i64) -> TestSession {
    let server = on(directory);
    let session = server.session().await;
    session.integers(["n"]).await;
    for value in 1..=writes {
        session.write([set("n", int(value))]).await;
    }
    drop(server);
    session
}

/// What the journal consists of.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = directory.read_dir().unwrap().map(|file| file.unwrap().path());
    let kept = paths.filter(|path| !path.ends_with("lock") && !path.ends_with("journal.db-shm"));
    kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

type Harm = fn(&Path);

/// What both a check and a start say of a directory, which they leave as it is.
fn said_of(directory: &Path, what: &str) -> String {
    let before = files(directory);
    let checked = refused_with(&data(directory, &["check"]));
    assert!(files(directory) == before, "{what}: a check has written");
    let served = String::from_utf8(refused_to_serve(directory).stderr).unwrap();
    assert!(files(directory) == before, "{what}: a start that is refused has written");
    let backup = directory.with_extension("backup");
    refused_with(&data(directory, &["backup", backup.to_str().unwrap()]));
    assert!(!backup.join(JOURNAL).exists(), "{what}: a backup of what is not whole");
    checked + &served
}

#[tokio::test]
async fn a_server_does_not_start_empty_on_a_journal_that_is_not_whole() {
    let place = tempfile::tempdir().unwrap();
    let harms: [(&str, &str, Harm); 6] = [
        ("no bytes", "0 bytes", |at| fs::write(at.join(JOURNAL), "").unwrap()),
        ("no journal", "is missing, and its", |at| fs::remove_file(at.join(JOURNAL)).unwrap()),
        ("no log", "is missing: ", |at| fs::remove_file(at.join(LOG)).unwrap()),
        ("an empty log", "0 bytes left", |at| fs::write(at.join(LOG), "").unwrap()),
        ("a header", "cut off", |at| cut(&at.join(LOG), 32)),
        ("half a log", "cut off", |at| cut(&at.join(LOG), fs::metadata(at.join(LOG)).unwrap().len() / 2)),
    ];
    for (what, sign, harm) in harms {
        let directory = place.path().join(what);
        killed(&directory, 5).await;
        harm(&directory);
        let said = said_of(&directory, what);
        assert_eq!(said.matches(sign).count(), 2, "{what}: {said}");
        assert!(said.contains(directory.to_str().unwrap()), "{what}: {said}");
    }
}

fn cut(file: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

#[tokio::test]
async fn a_bit_that_turns_in_the_log_is_told_and_what_is_before_it_can_be_saved() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("whole");
    let session = killed(&directory, 30).await;
    let (whole, log) = (files(&directory), fs::read(directory.join(LOG)).unwrap());
    let frames = (log.len() - 32) / FRAME;
    // In each third of the log, and in its last group.
    for frame in [frames / 3, frames / 2, frames - 1] {
        let directory = place.path().join(frame.to_string());
        fs::create_dir(&directory).unwrap();
        for (path, content) in &whole {
            fs::write(directory.join(path.file_name().unwrap()), content).unwrap();
        }
        let mut turned = log.clone();
        turned[32 + frame * FRAME + 24 + 2_000] ^= 1;
        fs::write(directory.join(LOG), turned).unwrap();
        let said = said_of(&directory, "turned");
        assert_eq!(said.matches("acknowledged writes are lost").count(), 2, "{said}");

        let saved = data(&directory, &["export"]);
        assert_eq!(saved.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&saved.stderr).contains("acknowledged writes are lost"));
        let elsewhere = place.path().join(format!("saved {frame}"));
        import_into(&elsewhere, &String::from_utf8(saved.stdout).unwrap());
        let server = on(&elsewhere);
        let Kind::Int64Value(value) = again(&server, &session).await.value("n").await else { panic!("no number") };
        assert!((0..30).contains(&value), "{value} of 30 before frame {frame}");
    }
}

/// A log that is read while it is written, and while it begins anew, is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_server_that_writes_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = snakepit();
    command.env("SNAKEPIT_CHECKPOINT_PAGES", "3");
    let server = Served::of(command, "127.0.0.1:0", &["--data-dir", directory.path().to_str().unwrap()]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let writing = (0..4).map(|_| {
        let session = session.clone();
        tokio::spawn(async move {
            loop {
                session.write([increment("n", 1)]).await;
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    for _ in 0..30 {
        let checked = data(directory.path(), &["check"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    for writer in writing {
        writer.abort();
        assert!(writer.await.unwrap_err().is_cancelled(), "it wrote all the time");
    }
}

#[tokio::test]
async fn a_backup_that_was_killed_is_served_by_nobody_and_made_again() {
    let place = tempfile::tempdir().unwrap();
    let (directory, backup) = (place.path().join("data"), place.path().join("backup"));
    let server = on(&directory);
    let session = server.session().await;
    session.write([register("text", VariableType::String, text(&"x".repeat(1 << 20)))]).await;
    // The system ends what writes a file of more than that.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_snakepit")]);
    let ended = limited.args(["data", "backup"]).arg(&backup).arg("--data-dir").arg(&directory).status().unwrap();
    assert!(ended.signal().is_some(), "{ended}");
    assert!(!backup.join(JOURNAL).exists());

    let checked = refused_with(&data(&backup, &["check"]));
    assert!(checked.contains("not finished"), "{checked}");
    let started = String::from_utf8(refused_to_serve(&backup).stderr).unwrap();
    assert!(started.contains("not finished"), "{started}");
    done(&data(&directory, &["backup", backup.to_str().unwrap()]));
    let before = files(&backup);
    assert!(done(&data(&backup, &["check"])).contains("1 sessions, 1 variables"));
    assert!(files(&backup) == before && before.len() == 1, "a backup is one file: {:?}", before.keys());
    let restored = on(&backup);
    assert!(matches!(again(&restored, &session).await.value("text").await, Kind::StringValue(_)));
}

async fn info(server: &Served) -> GetServerInfoResponse {
    let mut asking = ServerServiceClient::new(server.connect().await);
    asking.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner()
}

/// Waits until the server says by itself that it takes no writes, and returns why.
async fn read_only(server: &Served) -> String {
    loop {
        let info = info(server).await;
        if !info.read_only_cause.is_empty() {
            return info.read_only_cause;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_whose_directory_was_removed_takes_no_writes_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let server = on(&directory);
    let session = server.session().await;
    session.integers(["n"]).await;
    fs::remove_dir_all(&directory).unwrap();
    let refusal = session.refused([set("n", int(1))]).await;
    assert_eq!(refusal.reason, "SERVER_READ_ONLY");
    assert!(refusal.fact("cause").contains("was removed"), "{}", refusal.fact("cause"));
    assert_eq!(session.value("n").await, Kind::Int64Value(0), "it can still be read");

    // Another one on the path has a journal of its own, and the first goes on telling that it takes no writes.
    let other = on(&directory);
    other.session().await.integers(["m"]).await;
    assert_eq!(session.refused([set("n", int(1))]).await.reason, "SERVER_READ_ONLY");
    let doctor = snakepit().args(["doctor", "--address", &server.address]).output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("was removed"), "{said}");
    drop(server);
    drop(other);
    assert!(done(&data(&directory, &["check"])).contains("1 sessions, 1 variables"));
}

#[tokio::test]
async fn it_is_noticed_without_a_write_whatever_is_removed() {
    for name in ["", JOURNAL, LOG, "journal.db-shm"] {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("data");
        let server = on(&directory);
        server.session().await.integers(["n"]).await;
        match name {
            "" => fs::remove_dir_all(&directory).unwrap(),
            name => fs::remove_file(directory.join(name)).unwrap(),
        }
        let cause = read_only(&server).await;
        assert!(cause.contains("was removed") && cause.contains(name), "{name}: {cause}");
        let (_, log) = server.stop();
        assert!(log.contains("was removed"), "{log}");
    }
}

#[tokio::test]
async fn a_server_whose_directory_was_moved_goes_on_reading_and_writes_again_once_it_is_back() {
    let place = tempfile::tempdir().unwrap();
    let (directory, moved) = (place.path().join("data"), place.path().join("moved"));
    let session = killed(&directory, 20).await;
    let server = on(&directory);
    let session = again(&server, &session).await;
    fs::rename(&directory, &moved).unwrap();
    let cause = read_only(&server).await;
    assert!(cause.contains("was moved"), "{cause}");
    // After a start only the journal has the events.
    let resumed = WatchVariablesRequest { known_revision: 2, ..session.watch_of(WatchMode::Every) };
    let mut watch = session.watch(resumed).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let message = watch.message().await.unwrap().unwrap();
        if let Some(Event::Changes(_)) = message.event {
            seen.push(message.revision);
        }
    }
    assert_eq!(seen, (3..=22).collect::<Vec<_>>());
    fs::rename(&moved, &directory).unwrap();
    assert_eq!(session.write([set("n", int(21))]).await.revision, 23);
    assert_eq!(info(&server).await.read_only_cause, "");
    drop(server);
    assert_eq!(again(&on(&directory), &session).await.value("n").await, Kind::Int64Value(21));
}
