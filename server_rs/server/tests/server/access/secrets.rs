//! A secret stays one.

use snakepit_proto::v1::{
    ListVariableVersionsRequest, OperationOutcome, RollbackOperation, VariableSpec, VariableType,
    WriteVariablesRequest, operation::Action,
};
use tonic::Code;

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    setup::*,
};

fn secret() -> VariableSpec {
    VariableSpec { secret: true, ..spec(VariableType::String) }
}

fn roll_back(name: &str, version: u64) -> snakepit_proto::v1::Operation {
    operation(name, Action::Rollback(RollbackOperation { version }))
}

/// A session with a secret; whoever is an admin, and a writer who may not read secrets.
async fn setting() -> (Guarded, Holder, Holder) {
    let server = Guarded::start(&[("all", ALL, "*"), ("writer", "read write", "*")]).await;
    let (all, writer) = (server.holder("all").await, server.holder("writer").await);
    all.open("s").await.unwrap();
    all.write("s", [register_as("key", secret(), text("sk-1"))]).await.unwrap();
    (server, all, writer)
}

#[tokio::test]
async fn a_name_that_was_a_secrets_is_made_plain_by_an_admin_alone() {
    let (_server, all, writer) = setting().await;
    let plain = || register("key", VariableType::String, text("x"));
    assert_eq!(refused(writer.write("s", [plain()]).await).code, Code::AlreadyExists);
    writer.write("s", [delete("key")]).await.unwrap();
    let refused = refused(writer.write("s", [plain()]).await);
    assert_eq!((&*refused.reason, refused.fact("role")), ("PERMISSION_DENIED", "admin"));
    writer.write("s", [register_as("key", secret(), text("y"))]).await.unwrap();
    writer.write("s", [delete("key")]).await.unwrap();
    all.write("s", [plain()]).await.unwrap();
}

#[tokio::test]
async fn what_was_a_secret_is_not_brought_back_as_plain() {
    for replaced in [true, false] {
        let (_server, all, writer) = setting().await;
        let plain = if replaced {
            replace("key", spec(VariableType::String), text("x"))
        } else {
            register("key", VariableType::String, text("x"))
        };
        if !replaced {
            all.write("s", [delete("key")]).await.unwrap();
        }
        all.write("s", [plain]).await.unwrap();
        for holder in [&writer, &all] {
            let refused = refused(holder.write("s", [roll_back("key", 1)]).await);
            assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "version"));
        }
        let request = ListVariableVersionsRequest { session_id: "s".into(), name: "key".into(), ..Default::default() };
        let versions = all.variables().list_variable_versions(request).await.unwrap().into_inner().versions;
        let oldest = versions.last().unwrap();
        assert!(oldest.redacted && oldest.value.is_none());
    }
}

/// What the server computed for one and the same write, however often it is sent.
async fn repeated(writer: &Holder) -> OperationOutcome {
    let request = WriteVariablesRequest {
        session_id: "s".into(),
        operations: vec![increment("n", 1)],
        client_id: "c".into(),
        idempotency_key: "k".into(),
        ..Default::default()
    };
    writer.variables().write_variables(request).await.unwrap().into_inner().outcomes.remove(0)
}

#[tokio::test]
async fn a_repeated_write_does_not_tell_what_it_computed_of_a_secret() {
    let (_server, all, writer) = setting().await;
    let number = VariableSpec { secret: true, ..spec(VariableType::Integer) };
    all.write("s", [register_as("n", number, int(41))]).await.unwrap();
    let outcome = || async {
        let outcome = repeated(&writer).await;
        assert!(outcome.secret);
        (outcome.version, outcome.value)
    };
    assert_eq!(outcome().await, (2, None));
    all.write("s", [replace("n", spec(VariableType::Integer), int(0))]).await.unwrap();
    assert_eq!(outcome().await, (2, None));
}

#[tokio::test]
async fn what_was_computed_of_a_plain_variable_stays_plain_when_that_is_gone() {
    let (_server, all, writer) = setting().await;
    all.write("s", [register("n", VariableType::Integer, int(41))]).await.unwrap();
    let outcome = || async {
        let outcome = repeated(&writer).await;
        (outcome.value, outcome.secret)
    };
    assert_eq!(outcome().await, (Some(int(42)), false));
    all.write("s", [delete("n")]).await.unwrap();
    assert_eq!(outcome().await, (Some(int(42)), false));
    all.write("s", [register_as("n", secret(), text("x"))]).await.unwrap();
    assert_eq!(outcome().await, (None, true));
}
