//! What a token says of its holder, and what is no token.

use snakepit_proto::v1::{
    GetServerInfoRequest, ListSessionsRequest, SyncVariablesRequest, Value, VariableSpec, VariableType, WatchMode,
    WatchVariablesRequest, server_service_client::ServerServiceClient, watch_variables_response::Event,
};
use snakepit_server::access::Digest;
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    command_line::{Served, snakepit},
    support::{
        guarded::{ALL, Guarded, Holder, tables},
        setup::*,
    },
};

async fn ask(channel: &Channel, headers: &[&str]) -> Result<(), Status> {
    let mut request = Request::new(GetServerInfoRequest {});
    for header in headers {
        request.metadata_mut().append("authorization", MetadataValue::try_from(*header).unwrap());
    }
    ServerServiceClient::new(channel.clone()).get_server_info(request).await.map(drop)
}

#[tokio::test]
async fn what_is_no_token_of_the_server_is_unauthenticated() {
    let server = Guarded::start(&[("all", ALL, "*"), ("other", ALL, "*")]).await;
    let channel = server.server.connect().await;
    let hash = format!("Bearer {}", Digest::of(b"spt_all").hex());
    for headers in [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["spt_all"],
        &["Basic spt_all"],
        &["Bearer spt_al"],
        &["Bearer spt_all2"],
        &["Bearer  spt_all"],
        &["Bearer SPT_ALL"],
        &[&hash],
        &["Bearer spt_all", "Bearer spt_other"],
        &["Bearer spt_all", "Bearer nothing"],
    ] {
        let refused = refused(ask(&channel, headers).await);
        assert_eq!((refused.code, &*refused.reason), (Code::Unauthenticated, "UNAUTHENTICATED"), "{headers:?}");
    }
    for header in ["Bearer spt_all", "bearer spt_all", "BEARER spt_other"] {
        ask(&channel, &[header]).await.unwrap();
    }
}

#[tokio::test]
async fn health_is_told_to_everyone() {
    let server = Guarded::start(&[("all", ALL, "*")]).await;
    let mut health = HealthClient::new(server.server.connect().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn changes_are_by_the_token_whatever_the_client_says() {
    let server = Guarded::start(&[("alice", "read write", "*")]).await;
    let alice = server.holder("alice").await;
    alice.open("s").await.unwrap();
    alice.write("s", [register("n", VariableType::Integer, int(0))]).await.unwrap();
    let by = alice.get("s", "n").await.unwrap().updated_by.unwrap();
    assert_eq!((&*by.name, by.verified), ("alice", true));
}

#[tokio::test]
async fn a_reader_opens_a_session_and_makes_none() {
    let server = Guarded::start(&[("all", ALL, "*"), ("reader", "read", "*")]).await;
    let (all, reader) = (server.holder("all").await, server.holder("reader").await);
    let refused = refused(reader.open("s").await);
    assert_eq!((&*refused.reason, refused.fact("role")), ("PERMISSION_DENIED", "write"));
    assert!(all.open("s").await.unwrap());
    assert!(!reader.open("s").await.unwrap());
}

#[tokio::test]
async fn sessions_are_listed_to_those_who_may_see_them_on_every_page() {
    let server = Guarded::start(&[("all", ALL, "*"), ("b", "read", "b? d*")]).await;
    let (all, b) = (server.holder("all").await, server.holder("b").await);
    for id in ["a", "b1", "b10", "b2", "c", "d", "e"] {
        all.open(id).await.unwrap();
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSessionsRequest { page_size: 1, page_token, ..Default::default() };
        let page = b.sessions().list_sessions(request).await.unwrap().into_inner();
        seen.extend(page.sessions.into_iter().map(|session| session.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["b1", "b2", "d"]);
}

/// What Get, Sync and both kinds of watch tell of the value of a variable.
async fn told(holder: &Holder, name: &str) -> Vec<Option<Value>> {
    let request = SyncVariablesRequest { session_id: "s".into(), new_names: vec![name.into()], ..Default::default() };
    let synced = holder.variables().sync_variables(request).await.unwrap().into_inner().changed.remove(0).value;
    let mut values = vec![holder.get("s", name).await.unwrap().value, synced];
    for mode in [WatchMode::Latest, WatchMode::Every] {
        let request = WatchVariablesRequest { session_id: "s".into(), mode: mode.into(), ..Default::default() };
        let mut watch = holder.variables().watch_variables(request).await.unwrap().into_inner();
        values.push(match watch.message().await.unwrap().unwrap().event.unwrap() {
            Event::Latest(mut latest) => latest.changed.remove(0).value,
            Event::Snapshot(mut snapshot) => snapshot.variables.remove(0).value,
            other => panic!("{other:?} tells no value"),
        });
    }
    values
}

#[tokio::test]
async fn the_values_of_secrets_are_for_those_who_may_read_secrets() {
    let server = Guarded::start(&[("all", ALL, "*"), ("reader", "read write admin", "*")]).await;
    let (all, reader) = (server.holder("all").await, server.holder("reader").await);
    all.open("s").await.unwrap();
    let secret = VariableSpec { secret: true, ..spec(VariableType::String) };
    all.write("s", [register_as("key", secret, text("sk-1"))]).await.unwrap();
    assert_eq!(told(&reader, "key").await, vec![None; 4]);
    assert_eq!(told(&all, "key").await, vec![Some(text("sk-1")); 4]);
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_made_on_the_command_line_and_taken_by_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let path = file.to_str().unwrap();
    let new = |name: &str, roles: &str| {
        let arguments = ["token", "new", "--name", name, "--roles", roles, "--sessions", "s*", "--add-to", path];
        snakepit().args(arguments).output().unwrap()
    };
    let made = new("alice", "read,write");
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(token.starts_with("spt_") && !token.contains(char::is_whitespace));
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&token), "the file does not have the token");
    assert_eq!(new("alice", "read").status.code(), Some(1), "a name is given once");
    assert_eq!(new("bob", "read,wirte").status.code(), Some(2));
    assert!(snakepit().args(["token", "check", path]).output().unwrap().status.success());

    let server = Served::start(&["--ephemeral", "--auth-token-file", path]);
    let alice = Holder::new(server.connect().await, &token);
    alice.open("s").await.unwrap();
    let bob = String::from_utf8(new("bob", "read").stdout).unwrap().trim().to_owned();
    let bob = Holder::new(server.connect().await, &bob);
    let hangup = std::process::Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
    assert!(hangup.success());
    // The signal is delivered some time; the server lives, and takes both.
    while bob.open("s").await.is_err() {
        tokio::task::yield_now().await;
    }
    alice.write("s", [register("n", VariableType::Integer, int(0))]).await.unwrap();
    let list = |token: &str| {
        let arguments = ["var", "list", "--session", "s", "--address", &server.address];
        snakepit().args(arguments).env("SNAKEPIT_TOKEN", token).output().unwrap().status.code()
    };
    assert_eq!((list(&token), list("spt_nobody"), list("")), (Some(0), Some(1), Some(1)));
    drop((alice, bob));
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains(&token), "a token is in no log");
}

#[test]
fn a_server_does_not_start_with_tokens_it_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let start = || {
        let arguments =
            ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--auth-token-file", file.to_str().unwrap()];
        snakepit().args(arguments).output().unwrap()
    };
    assert_eq!(start().status.code(), Some(1));
    std::fs::write(&file, tables(&[("a", "read", "*")]) + "[[token]]\nname = 5\n").unwrap();
    let refused = start();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("line 8"), "{}", stderr(&refused));
    let checked = snakepit().args(["token", "check", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(stderr(&checked).contains("line 8"), "{}", stderr(&checked));
}

/// A pipe that nobody writes to, made in place of whatever is there.
fn pipe(path: &std::path::Path) {
    drop(std::fs::remove_file(path));
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn what_is_no_token_file_is_refused_at_the_start_and_by_check_without_waiting_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (fifo, huge) = (directory.path().join("fifo"), directory.path().join("huge"));
    pipe(&fifo);
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let socket = directory.path().join("socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, why) in [
        (&*fifo, "a pipe"),
        (directory.path(), "a directory"),
        (std::path::Path::new("/dev/zero"), "a device"),
        (&*socket, "a socket"),
        (&*huge, "1048576 bytes"),
    ] {
        let path = path.to_str().unwrap();
        let serve = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--auth-token-file", path];
        let new = ["token", "new", "--name", "n", "--roles", "read", "--sessions", "*", "--add-to", path];
        for arguments in [&serve[..], &["token", "check", path], &new] {
            let refused = snakepit().args(arguments).output().unwrap();
            assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
            let said = stderr(&refused);
            assert!(said.contains(why) && said.contains(path) && said.lines().count() == 1, "{arguments:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_file_that_becomes_a_pipe_changes_nothing_and_the_server_answers_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    std::fs::write(&file, tables(&[("all", ALL, "*")])).unwrap();
    let mut server = Served::start(&["--ephemeral", "--auth-token-file", file.to_str().unwrap()]);
    pipe(&file);
    let id = server.child.id().to_string();
    let kill = |signal: &str| {
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.unwrap().success());
    };
    kill("-HUP");
    // Until it has said so, on whichever of the two occasions came first.
    let mut log = std::io::BufReader::new(server.child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("a pipe") {
        said.clear();
        assert_ne!(std::io::BufRead::read_line(&mut log, &mut said).unwrap(), 0, "it ended");
    }
    Holder::new(server.connect().await, "spt_all").open("s").await.unwrap();
    kill("-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
