//! The audit log: a line for each change and each refusal, and never a value.

use std::path::PathBuf;

use serde_json::Value as Json;
use snakepit_proto::v1::{CallToolRequest, DeleteSessionRequest, VariableSpec, VariableType, WatchMode};
use snakepit_server::{access::TokenFile, audit::AuditLog, server::Server};

use crate::support::{
    guarded::{ALL, Holder, tables},
    setup::*,
    worker::{TestWorker, tool},
};

/// A server that keeps an audit log, and the file.
async fn audited(directory: &tempfile::TempDir) -> (TestServer, TokenFile, AuditLog, PathBuf) {
    let (tokens, log) = (directory.path().join("tokens"), directory.path().join("audit"));
    std::fs::write(&tokens, tables(&[("all", ALL, "*"), ("reader", "read", "s")])).unwrap();
    let (tokens, audit) = (TokenFile::open(tokens).unwrap(), AuditLog::open(&log).unwrap());
    let server = TestServer::of(Server::builder().tokens(tokens.clone()).audit(audit.clone())).await;
    (server, tokens, audit, log)
}

fn lines(log: &PathBuf) -> Vec<Json> {
    std::fs::read_to_string(log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Some fields of a line, as text.
fn told(line: &Json) -> String {
    let fields = ["principal", "rpc", "session", "names", "outcome", "revision"];
    fields.map(|field| line[field].to_string().replace('"', "")).join(" ")
}

#[tokio::test]
async fn it_has_a_line_for_each_change_and_each_refusal_and_none_for_reading() {
    let directory = tempfile::tempdir().unwrap();
    let (server, tokens, _, log) = audited(&directory).await;
    let holder = async |token: &str| Holder::new(server.connect().await, token);
    let (all, reader, nobody) = (holder("spt_all").await, holder("spt_reader").await, holder("spt_nobody").await);
    all.open("s").await.unwrap();
    let canary = "sk-canary";
    let secret = VariableSpec { secret: true, ..spec(VariableType::String) };
    all.write("s", [register_as("key", secret, text(canary)), register("n", VariableType::Integer, int(0))])
        .await
        .unwrap();
    assert_eq!(all.get("s", "key").await.unwrap().value, Some(text(canary)));
    assert!(all.get("s", "missing").await.is_err());
    assert!(all.write("s", [set("n", text(canary))]).await.is_err());
    assert!(reader.write("s", [set("n", int(1))]).await.is_err());
    assert!(reader.get("other", "n").await.is_err());
    assert!(nobody.get("s", "n").await.is_err());
    let mut watch = reader.watch("s", WatchMode::Every).await.unwrap();
    std::fs::write(directory.path().join("tokens"), tables(&[("all", ALL, "*")])).unwrap();
    tokens.reload().unwrap();
    while watch.message().await.is_ok() {}
    let delete = DeleteSessionRequest { session_id: "s".into(), ..Default::default() };
    all.sessions().delete_session(delete).await.unwrap();

    let written = lines(&log);
    assert_eq!(
        written.iter().map(told).collect::<Vec<_>>(),
        [
            "all SessionService/CreateSession s [] ok null",
            "all VariableService/WriteVariables s [key,n] ok 2",
            "all VariableService/WriteVariables s [n] TYPE_MISMATCH null",
            "reader VariableService/WriteVariables null [] PERMISSION_DENIED null",
            "reader VariableService/GetVariables other [] PERMISSION_DENIED null",
            "null VariableService/GetVariables null [] UNAUTHENTICATED null",
            "reader VariableService/WatchVariables s [] UNAUTHENTICATED null",
            "all SessionService/DeleteSession s [] ok 3",
        ]
    );
    let peers = written.iter().all(|line| line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let verified = written.iter().all(|line| line["verified"] == !line["principal"].is_null());
    let timed = written.iter().all(|line| line["time"].as_str().unwrap().ends_with('Z'));
    assert!(peers && verified && timed, "{written:?}");
    assert!(!std::fs::read_to_string(&log).unwrap().contains(canary));
}

#[tokio::test]
async fn it_goes_on_in_a_new_file_when_the_old_one_was_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _, audit, log) = audited(&directory).await;
    let all = Holder::new(server.connect().await, "spt_all");
    all.open("s1").await.unwrap();
    let old = directory.path().join("old");
    std::fs::rename(&log, &old).unwrap();
    all.open("s2").await.unwrap();
    audit.reopen();
    all.open("s3").await.unwrap();
    let sessions = |log: &PathBuf| lines(log).iter().map(|line| line["session"].to_string()).collect::<Vec<_>>();
    assert_eq!((sessions(&old), sessions(&log)), (vec!["\"s1\"".into(), "\"s2\"".into()], vec!["\"s3\"".into()]));
}

#[tokio::test]
async fn it_has_a_line_for_who_did_not_wait_for_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    let server = TestServer::of(Server::builder().audit(AuditLog::open(&log).unwrap())).await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("wait")]).await;
    let request = CallToolRequest { session_id: session.id.clone(), tool: "wait".into(), ..Default::default() };
    let mut tools = session.tools();
    let call = tokio::spawn(async move { tools.call_tool(request).await });
    worker.dispatch().await;
    call.abort();
    let ended = || lines(&log).iter().map(told).find(|line| line.contains("CallTool"));
    while ended().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ended().unwrap(), format!("anonymous ToolService/CallTool {} [wait] CANCELLED null", session.id));
}
