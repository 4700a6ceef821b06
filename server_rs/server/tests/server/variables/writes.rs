//! Writes: atomic, idempotent, never lost.

use futures_util::future::join_all;
use snakepit_proto::v1::{
    AppendOperation, ListValue, VariableType, WriteVariablesRequest, WriteVariablesResponse, operation::Action,
    value::Kind,
};

use crate::support::setup::*;

fn keyed(write: WriteVariablesRequest, client: &str, key: &str) -> WriteVariablesRequest {
    WriteVariablesRequest { client_id: client.into(), idempotency_key: key.into(), ..write }
}

fn outcomes(written: &WriteVariablesResponse) -> Vec<(&str, bool, u64)> {
    written.outcomes.iter().map(|it| (&*it.name, it.changed, it.version)).collect()
}

#[tokio::test]
async fn a_batch_of_every_operation_is_one_revision() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["set", "increment", "delete"]).await;
    let list = |items| of(Kind::ListValue(ListValue { items }));
    session.write([register("append", VariableType::List, list(vec![]))]).await;
    let append = operation("append", Action::Append(AppendOperation { items: vec![int(1), text("x")] }));
    let batch = [
        register("register", VariableType::Integer, int(1)),
        set("set", int(5)),
        increment("increment", 3),
        append,
        delete("delete"),
    ];
    let written = session.write(batch).await;
    assert_eq!(written.revision, 4);
    assert_eq!(&written.incarnation[..], &session.incarnation[..]);
    let expected =
        [("register", true, 1), ("set", true, 2), ("increment", true, 2), ("append", true, 2), ("delete", true, 2)];
    assert_eq!(outcomes(&written), expected);
    let values: Vec<_> = written.outcomes.into_iter().map(|it| it.value).collect();
    assert_eq!(values, [None, None, Some(int(3)), Some(list(vec![int(1), text("x")])), None]);
}

#[tokio::test]
async fn a_batch_that_fails_in_part_changes_nothing_and_says_where() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "b"]).await;
    let refused = session.refused([set("a", int(1)), increment("b", i64::MAX), set("missing", int(1))]).await;
    assert_eq!((&*refused.reason, refused.fact("operation")), ("VARIABLE_NOT_FOUND", "2"));
    let twice = session.refused([set("a", int(1)), set("a", int(2))]).await;
    assert_eq!((&*twice.reason, twice.fact("operation")), ("INVALID_REQUEST", "1"));
    for name in ["a", "b"] {
        let variable = session.get(name).await.unwrap();
        assert_eq!((variable.version, variable.value), (1, Some(int(0))));
    }
}

#[tokio::test]
async fn an_equal_value_is_no_change() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let same = session.write([set("n", int(0)), register("n2", VariableType::Integer, int(0))]).await;
    assert_eq!((same.revision, outcomes(&same)), (3, vec![("n", false, 1), ("n2", true, 1)]));
    let nothing = session.write([set("n", int(0)), register("n2", VariableType::Integer, int(9))]).await;
    assert_eq!((nothing.revision, outcomes(&nothing)), (3, vec![("n", false, 1), ("n2", false, 1)]));
    assert_eq!(session.value("n2").await, int(0).kind.unwrap(), "registering again never resets a value");
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_original_was_and_changes_nothing() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let write = keyed(session.write_of([increment("n", 1)]), "client", "key");
    let original = session.send(write.clone()).await.unwrap();
    session.write([increment("n", 10)]).await;
    assert_eq!(session.send(write.clone()).await.unwrap(), original);
    assert_eq!(session.value("n").await, int(11).kind.unwrap());
    let other = keyed(session.write_of([increment("n", 2)]), "client", "key");
    assert_eq!(refused(session.send(other).await).fact("field"), "idempotency_key");
    let other_reason = WriteVariablesRequest { reason: "other".into(), ..write.clone() };
    assert_eq!(refused(session.send(other_reason).await).fact("field"), "idempotency_key");
    session.send(keyed(session.write_of([increment("n", 2)]), "other client", "key")).await.unwrap();
    assert_eq!(session.value("n").await, int(13).kind.unwrap());
}

#[tokio::test]
async fn fifty_increments_from_five_tasks_are_fifty() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let task = |session: TestSession| async move {
        for _ in 0..10 {
            session.write([increment("n", 1)]).await;
        }
    };
    join_all((0..5).map(|_| tokio::spawn(task(session.clone())))).await.into_iter().for_each(Result::unwrap);
    let variable = session.get("n").await.unwrap();
    assert_eq!((variable.value, variable.version, variable.revision), (Some(int(50)), 51, 52));
}

#[tokio::test]
async fn of_two_writers_that_expect_the_same_version_one_wins() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let one = session.send(session.write_of([expecting(1, set("n", int(1)))]));
    let other = session.send(session.write_of([expecting(1, set("n", int(2)))]));
    let (one, other) = tokio::join!(one, other);
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(outcomes(&won.unwrap()), [("n", true, 2)]);
    let lost = refused(lost);
    assert_eq!((&*lost.reason, lost.fact("expected"), lost.fact("actual")), ("VERSION_CONFLICT", "1", "2"));
}

#[tokio::test]
async fn a_name_declared_again_goes_on_counting_and_fools_no_expected_version() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    session.write([delete("n")]).await;
    let again = session.write([expecting(0, register("n", VariableType::Integer, int(5)))]).await;
    assert_eq!(outcomes(&again), [("n", true, 3)]);
    assert_eq!(session.refused([expecting(1, set("n", int(6)))]).await.fact("actual"), "3");
    let exists = session.refused([expecting(0, register("n", VariableType::Integer, int(5)))]).await;
    assert_eq!((&*exists.reason, exists.fact("actual")), ("VERSION_CONFLICT", "3"));
}
