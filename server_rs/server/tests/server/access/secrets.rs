//! A secret stays one, and no write tells about it.

use snakepit_core::config::Windows;
use snakepit_proto::v1::{
    ListVariableVersionsRequest, OperationOutcome, RollbackOperation, VariableSpec, VariableType,
    WriteVariablesRequest, operation::Action,
};
use snakepit_server::server::Server;
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
    let is_admins = |answer| {
        let refused = refused::<snakepit_proto::v1::WriteVariablesResponse>(answer);
        assert_eq!((&*refused.reason, refused.fact("role")), ("PERMISSION_DENIED", "admin"));
    };
    is_admins(writer.write("s", [delete("key")]).await);
    all.write("s", [delete("key")]).await.unwrap();
    is_admins(writer.write("s", [plain()]).await);
    writer.write("s", [register_as("key", secret(), text("y"))]).await.unwrap();
    all.write("s", [delete("key")]).await.unwrap();
    all.write("s", [plain()]).await.unwrap();
}

#[tokio::test]
async fn a_secret_is_not_made_plain_by_having_its_deletion_forgotten() {
    let builder = Server::builder().windows(Windows { deleted_names: 3, ..Windows::default() });
    let server = Guarded::of(builder, &[("all", ALL, "*"), ("writer", "read write", "*")]).await;
    let (all, writer) = (server.holder("all").await, server.holder("writer").await);
    all.open("s").await.unwrap();
    all.write("s", [register_as("key", secret(), text("sk-1"))]).await.unwrap();
    drop(writer.write("s", [delete("key")]).await);
    for number in 0..5 {
        let name = format!("n{number}");
        writer.write("s", [register(&name, VariableType::Integer, int(0))]).await.unwrap();
        writer.write("s", [delete(&name)]).await.unwrap();
    }
    refused(writer.write("s", [register("key", VariableType::String, text("x"))]).await);
    let key = all.get("s", "key").await.unwrap();
    assert!(key.spec.unwrap().secret);
    assert_eq!(key.value, Some(text("sk-1")));
}

#[tokio::test]
async fn no_refusal_of_a_write_tells_a_bit_of_a_secret() {
    let (_server, all, writer) = setting().await;
    let number = VariableSpec { secret: true, ..spec(VariableType::Integer) };
    all.write("s", [register_as("n", number, int(41))]).await.unwrap();
    // Which of the two fails would tell whether the sum overflows: a bit with each guess.
    for guess in [i64::MAX, i64::MAX - 41, 1, i64::MIN] {
        let refused = refused(writer.write("s", [increment("n", guess), delete("nobody")]).await);
        let told = (&*refused.reason, refused.fact("role"), refused.fact("operation"));
        assert_eq!(told, ("PERMISSION_DENIED", "read_secret", "0"));
    }
    let refused = refused(writer.write("s", [roll_back("n", 1)]).await);
    assert_eq!((&*refused.reason, refused.fact("role")), ("PERMISSION_DENIED", "read_secret"));
    assert_eq!(all.write("s", [increment("n", 1)]).await.unwrap().outcomes[0].value, Some(int(42)));
}

#[tokio::test]
async fn a_write_of_what_a_secret_is_confirms_it_to_those_alone_who_may_read_it() {
    let (_server, all, writer) = setting().await;
    let told = |answer: snakepit_proto::v1::WriteVariablesResponse| (answer.outcomes[0].changed, answer.revision);
    assert_eq!(told(all.write("s", [set("key", text("sk-1"))]).await.unwrap()), (false, 2));
    assert_eq!(told(writer.write("s", [set("key", text("sk-1"))]).await.unwrap()), (true, 3));
    assert_eq!(told(writer.write("s", [set("key", text("sk-2"))]).await.unwrap()), (true, 4));
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
async fn repeated(holder: &Holder) -> Result<OperationOutcome, tonic::Status> {
    let request = WriteVariablesRequest {
        session_id: "s".into(),
        operations: vec![increment("n", 1)],
        client_id: "c".into(),
        idempotency_key: "k".into(),
        ..Default::default()
    };
    Ok(holder.variables().write_variables(request).await?.into_inner().outcomes.remove(0))
}

#[tokio::test]
async fn a_repeated_write_does_not_tell_what_it_computed_of_a_secret() {
    let (_server, all, writer) = setting().await;
    let number = VariableSpec { secret: true, ..spec(VariableType::Integer) };
    all.write("s", [register_as("n", number, int(41))]).await.unwrap();
    assert_eq!(repeated(&all).await.unwrap().value, Some(int(42)));
    // Not even that it is a repeat: with a guess of what was written, that would confirm the guess.
    for _ in 0..2 {
        let refused = refused(repeated(&writer).await);
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "idempotency_key"));
        all.write("s", [replace("n", spec(VariableType::Integer), int(0))]).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_computed_of_a_plain_variable_stays_plain_when_that_is_gone() {
    let (_server, all, writer) = setting().await;
    all.write("s", [register("n", VariableType::Integer, int(41))]).await.unwrap();
    let outcome = || async {
        let outcome = repeated(&writer).await.unwrap();
        (outcome.value, outcome.secret)
    };
    assert_eq!(outcome().await, (Some(int(42)), false));
    all.write("s", [delete("n")]).await.unwrap();
    assert_eq!(outcome().await, (Some(int(42)), false));
    all.write("s", [register_as("n", secret(), text("x"))]).await.unwrap();
    assert_eq!(outcome().await, (None, true));
}
