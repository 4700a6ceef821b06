//! `/livez`, `/readyz`, and what else may be asked of their port.

#![allow(clippy::float_cmp, reason = "what is compared is counted in whole numbers")]

use snakepit_proto::v1::WatchMode;
use snakepit_server::{
    journal::{CommitError, testing::gated},
    server::Server,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    command_line::*,
    support::{monitored::*, setup::*},
};

#[tokio::test]
async fn a_server_that_is_well_says_so_and_with_verbose_why() {
    let (_server, address) = monitored(Server::builder()).await;
    for (path, body) in [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]committer ok\nlivez check passed\n"),
        ("/readyz?verbose", "[+]committer ok\n[+]journal ok\n[+]serving ok\nreadyz check passed\n"),
        ("/readyz?verbose&exclude=journal", "[+]committer ok\n[+]serving ok\nreadyz check passed\n"),
    ] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, &*answer.body), (200, body), "{path}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn it_is_not_ready_while_its_journal_fails_and_is_again_when_it_works() {
    let (home, mut gate) = gated();
    let (server, address) = monitored(Server::builder().journal(home)).await;
    let creating = tokio::spawn(TestSession::create(server.connect().await, Default::default()));
    gate.recv().await.unwrap().settle(Ok(()));
    let session = creating.await.unwrap();
    let write = async |gate: &mut snakepit_server::journal::testing::Gate, outcome| {
        let writing = tokio::spawn({
            let session = session.clone();
            async move { session.send(session.write_of([register_int(&unique("v"))])).await }
        });
        gate.recv().await.unwrap().settle(outcome);
        writing.await.unwrap()
    };
    let full = CommitError::NotApplied { cause: "the disk is full".into() };
    write(&mut gate, Err(full)).await.unwrap_err();
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("[-]journal failed: the disk is full\n"), "{}", answer.body);
    assert_eq!(get(address, "/readyz?exclude=journal").await.status, 200, "reads go on");
    assert_eq!(get(address, "/livez").await.status, 200, "a restart gives no space");

    write(&mut gate, Ok(())).await.unwrap();
    assert_eq!(get(address, "/readyz").await.status, 200);

    // And for ever, after a failed fsync: nothing reaches the home any more.
    write(&mut gate, Err(CommitError::Unknown { cause: "failed fsync".into() })).await.unwrap_err();
    session.send(session.write_of([register_int("late")])).await.unwrap_err();
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.ends_with("readyz check failed\n") && answer.body.contains("failed fsync"), "{}", answer.body);
}

fn register_int(name: &str) -> snakepit_proto::v1::Operation {
    register(name, snakepit_proto::v1::VariableType::Integer, int(0))
}

#[tokio::test]
async fn it_is_not_ready_while_it_stops_and_tells_metrics_to_the_last() {
    let (home, mut gate) = gated();
    let (server, address) = monitored(Server::builder().journal(home)).await;
    let creating = tokio::spawn(TestSession::create(server.connect().await, Default::default()));
    let group = gate.recv().await.unwrap();
    server.tell_to_stop();
    while get(address, "/readyz").await.status == 200 {}
    assert!(get(address, "/readyz").await.body.contains("[-]serving failed: the server is stopping\n"));
    assert_eq!(get(address, "/livez").await.status, 200);
    Samples::of(address).await;
    group.settle(Ok(()));
    drop(creating.await.unwrap());
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn nothing_else_is_answered_there() {
    let (_server, address) = monitored(Server::builder()).await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/nothing", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/readyz", 405),
        ("HEAD", "/metrics", 200),
        ("HEAD", "/livez", 200),
    ] {
        let answer = ask(address, method, path).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
}

/// Whatever is done to this port, the server goes on, and the port after it.
#[tokio::test]
async fn who_sends_garbage_or_nothing_harms_nobody() {
    let (server, address) = monitored(Server::builder()).await;
    let session = server.session().await;
    let mut long = b"GET /livez HTTP/1.1\r\nX: ".to_vec();
    long.resize(1 << 20, b'x');
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for garbage in [vec![0; 100_000], vec![0xff; 64], preface, long] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be cut off before it has said all.
        let _ = stream.write_all(&garbage).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
    }
    // More than are served at once: they are cut off in time, and those that wait have their turn.
    let mut silent = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&b"GET /livez HTT"[..number % 15]).await.unwrap();
        silent.push(stream);
    }
    session.integers(["n"]).await;
    session.watch(session.watch_of(WatchMode::Latest)).await.unwrap().message().await.unwrap();
    assert_eq!(get(address, "/livez").await.status, 200);
}

#[tokio::test]
async fn the_command_line_says_where_they_are_and_takes_any_port() {
    let server = Served::start(&["--ephemeral", "--metrics-listen", "127.0.0.1:0"]);
    let address = server.metrics.clone().unwrap();
    server.session().await;
    let samples = Samples::of(&*address).await;
    assert_eq!(samples.value("sessions"), 1.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(samples.value(&format!(r#"build_info{{version="{version}",api_version="1"}}"#)), 1.0);
    assert_eq!(get(&*address, "/readyz").await.status, 200);
    assert_eq!(Served::start(&["--ephemeral"]).metrics, None, "nowhere unless it was asked for");
}

#[tokio::test]
async fn other_machines_are_told_metrics_by_insecure_servers_alone() {
    let serve = ["serve", "--ephemeral", "--until-stdin-closes", "--listen", "127.0.0.1:0", "--metrics-listen"];
    let refused = snakepit().args(serve).arg("0.0.0.0:0").output().unwrap();
    assert_eq!(code(&refused), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("0.0.0.0:0") && said.contains("--insecure"), "{said}");
    let open = Served::start(&["--ephemeral", "--insecure", "--metrics-listen", "0.0.0.0:0"]);
    let port = open.metrics.as_ref().unwrap().rsplit(':').next().unwrap();
    assert_eq!(get(format!("127.0.0.1:{port}"), "/livez").await.status, 200);
    let taken = format!("127.0.0.1:{port}");
    let twice = snakepit().args(serve).arg(&taken).output().unwrap();
    assert_eq!(code(&twice), Some(1));
    assert!(String::from_utf8(twice.stderr).unwrap().contains("--metrics-listen"));
}
