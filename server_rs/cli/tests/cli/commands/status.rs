//! `snakepit status` and `snakepit doctor`.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Output,
};

use serde_json::{Value as Json, json};
use snakepit_proto::{
    API_VERSION,
    v1::{
        GetServerInfoRequest, GetServerInfoResponse,
        server_service_server::{ServerService, ServerServiceServer},
    },
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    command_line::{Served, objects, out, snakepit},
    journal::disk::serving,
};

fn doctor(address: &str, directory: &Path, flags: &[&str]) -> Output {
    snakepit().args(["doctor", "--address", address, "--data-dir"]).arg(directory).args(flags).output().unwrap()
}

fn findings(output: &Output) -> Vec<Json> {
    objects(std::str::from_utf8(&output.stdout).unwrap())
}

fn verdict<'a>(findings: &'a [Json], check: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|it| it["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    (found["verdict"].as_str().unwrap(), found["what"].as_str().unwrap())
}

#[tokio::test]
async fn status_tells_what_a_server_is_and_accepts() {
    let server = Served::start(&["--ephemeral", "--limit-variables-per-session", "7"]);
    let _session = server.session().await;
    let mut command = snakepit();
    let status = command.args(["status", "--json", "--address", &server.address]).output().unwrap();
    let status = objects(&out(&status)).remove(0);
    assert_eq!(status["version"], json!(env!("CARGO_PKG_VERSION")));
    assert_eq!((&status["api_version"], &status["durability"]), (&json!(API_VERSION), &json!("ephemeral")));
    assert_eq!((&status["sessions"], &status["limits"]["variables_per_session"]), (&json!(1), &json!(7)));
    assert_eq!((&status["read_only_cause"], &status["more_sessions"]), (&json!(""), &json!(false)));
    assert!(status["latency"].as_f64().unwrap() > 0.0);
    let shown = out(&snakepit().args(["status", "--address", &server.address]).output().unwrap());
    for told in [&*server.address, "accepted", "limit variables_per_session", "this machine"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
}

#[tokio::test]
async fn a_healthy_server_passes_every_check_and_nothing_of_them_stays() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    let output = doctor(&server.address, directory.path(), &["--json"]);
    let found = findings(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    for check in ["address", "versions", "health", "access", "journal", "latency", "writing", "clock", "disk"] {
        assert_ne!(verdict(&found, check).0, "fail", "{found:?}");
    }
    assert_eq!(verdict(&found, "clock").0, "ok");
    let (taken, what) = verdict(&found, "data directory");
    assert!(taken == "ok" && what.starts_with("a server has"), "{what}");
    let listed = snakepit().args(["session", "list", "--json", "--address", &server.address]).output().unwrap();
    assert_eq!(out(&listed), "");
    let shown = String::from_utf8(doctor(&server.address, directory.path(), &["--no-write"]).stdout).unwrap();
    assert!(shown.lines().all(|line| line.starts_with("ok  ") || line.starts_with("warn")), "{shown}");
    assert!(!shown.contains("writing:"), "{shown}");

    let elsewhere = tempfile::tempdir().unwrap();
    let found = findings(&doctor(&server.address, elsewhere.path(), &["--json"]));
    assert_eq!(verdict(&found, "data directory").0, "warn");
    let address = server.address.clone();
    assert_eq!(server.stop().0, Some(0));
    let output = doctor(&address, directory.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    assert_eq!(verdict(&found, "address").0, "fail");
    assert!(verdict(&found, "data directory").1.starts_with("no server has"), "{found:?}");
}

#[test]
fn what_is_no_server_is_told_from_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let output = doctor("127.0.0.1", directory.path(), &["--json"]);
    assert_eq!((output.status.code(), verdict(&findings(&output), "address").0), (Some(1), "fail"));
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            let _length = stream.read(&mut asked);
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let output = doctor(&address, directory.path(), &["--json"]);
    let found = findings(&output);
    assert_eq!((verdict(&found, "address").0, verdict(&found, "server").0), ("ok", "fail"));
    assert_eq!(output.status.code(), Some(1));
    assert!(found.iter().all(|it| it["verdict"] == "ok" || it["next"] != ""), "each says what to do: {found:?}");
}

/// A server of a release that there is not yet: only its first answer matters.
struct Other(Result<GetServerInfoResponse, Box<Status>>);

#[tonic::async_trait]
impl ServerService for Other {
    async fn get_server_info(
        &self,
        _request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        self.0.clone().map(Response::new).map_err(|status| *status)
    }
}

/// Runs a command against a server that answers nothing but this.
async fn at_other(
    answer: Result<GetServerInfoResponse, Box<Status>>,
    command: impl FnOnce(&str) -> Output + Send + 'static,
) -> Output {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let served = tonic::transport::Server::builder().add_service(ServerServiceServer::new(Other(answer)));
    let served = tokio::spawn(served.serve_with_incoming(incoming));
    let output = tokio::task::spawn_blocking(move || command(&address)).await.unwrap();
    served.abort();
    output
}

async fn other(answer: Result<GetServerInfoResponse, Box<Status>>) -> Vec<Json> {
    let directory = tempfile::tempdir().unwrap();
    let run = move |address: &str| doctor(address, directory.path(), &["--json", "--no-write"]);
    findings(&at_other(answer, run).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_fit_is_said_so_in_a_sentence() {
    let here = GetServerInfoResponse {
        version: env!("CARGO_PKG_VERSION").into(),
        api_version: API_VERSION,
        ..GetServerInfoResponse::default()
    };
    let found = other(Ok(GetServerInfoResponse { version: "9.9.9".into(), ..here.clone() })).await;
    let (told, what) = verdict(&found, "versions");
    assert!(told == "warn" && what.contains("9.9.9") && what.contains(env!("CARGO_PKG_VERSION")), "{what}");
    let found = other(Ok(GetServerInfoResponse { api_version: 99, ..here.clone() })).await;
    assert_eq!(verdict(&found, "versions").0, "fail");
    let full = GetServerInfoResponse { read_only_cause: "the disk is full".into(), insecure: true, ..here };
    let found = other(Ok(full)).await;
    assert!(verdict(&found, "journal").1.contains("the disk is full"));
    assert_eq!((verdict(&found, "journal").0, verdict(&found, "access").0), ("fail", "warn"));
    let facts = [("server".to_owned(), "99".to_owned()), ("client".to_owned(), API_VERSION.to_string())];
    let details = ErrorDetails::with_error_info("VERSION_UNSUPPORTED", "snakepit_bridge.v1", facts);
    let found = other(Err(Box::new(Status::with_error_details(Code::FailedPrecondition, "no", details)))).await;
    let (told, what) = verdict(&found, "versions");
    assert!(told == "fail" && what.contains("protocol 99"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_server_does_not_know_is_said_so_in_a_sentence() {
    let list =
        |address: &str| snakepit().args(["tool", "list", "--session", "s", "--address", address]).output().unwrap();
    let output = at_other(Ok(GetServerInfoResponse::default()), list).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in ["older than this client", env!("CARGO_PKG_VERSION"), "upgrade"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

/// On disks of their own that are small. Some systems let only root have one.
#[cfg(target_os = "linux")]
#[test]
fn doctor_tells_of_a_disk_that_is_nearly_full() {
    const MOUNT: &str = r#"mount -t tmpfs -o "size=$1" tmpfs "$2""#;
    const LOOK: &str = r#""$3" serve --listen 127.0.0.1:0 --data-dir "$2" --until-stdin-closes < /dev/null > /dev/null 2>&1 &&
        "$3" doctor --json --address 127.0.0.1:1 --data-dir "$2""#;
    let directory = tempfile::tempdir().unwrap();
    let on_a_disk = |size: &str, script: &str| {
        let mut shell = std::process::Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size]).arg(directory.path());
        shell.arg(env!("CARGO_BIN_EXE_snakepit")).output()
    };
    if !on_a_disk("40m", MOUNT).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this system gives nobody a disk of one's own");
        return;
    }
    for (size, verdict) in [("40m", "fail"), ("400m", "warn"), ("4g", "ok")] {
        let found = findings(&on_a_disk(size, &format!("{MOUNT} && {LOOK}")).unwrap());
        assert_eq!(self::verdict(&found, "disk").0, verdict, "{found:?}");
    }
}
