//! Limits: each is refused with its own name.

use snakepit_server::{
    config::Limits,
    proto::{CreateSessionRequest, GetVariablesRequest, VariableType, WatchMode, value::Kind},
    server::Server,
};

use crate::setup::*;

async fn limited(limits: Limits) -> (TestServer, TestSession) {
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    (server, session)
}

fn is(refused: &Refused, limit: &str, max: u64) {
    let facts = (&*refused.reason, refused.fact("limit"), refused.fact("max"));
    assert_eq!(facts, ("LIMIT_EXCEEDED", limit, &*max.to_string()));
}

fn bytes(count: usize) -> snakepit_server::proto::Value {
    of(Kind::BytesValue(vec![7; count].into()))
}

#[tokio::test]
async fn one_value_is_limited() {
    let (_server, session) = limited(Limits { value_bytes: 1_000, ..Limits::default() }).await;
    session.write([register("b", VariableType::Bytes, bytes(900))]).await;
    is(&session.refused([set("b", bytes(1_001))]).await, "value_bytes", 1_000);
}

#[tokio::test]
async fn all_values_of_a_session_are_limited() {
    let (_server, session) = limited(Limits { session_value_bytes: 1_000, ..Limits::default() }).await;
    session.write([register("a", VariableType::Bytes, bytes(600))]).await;
    is(&session.refused([register("b", VariableType::Bytes, bytes(600))]).await, "session_value_bytes", 1_000);
    session.write([set("a", bytes(10)), register("b", VariableType::Bytes, bytes(600))]).await;
}

#[tokio::test]
async fn a_batch_is_limited_in_operations_and_bytes() {
    let (_server, session) = limited(Limits { batch_operations: 2, batch_bytes: 1_000, ..Limits::default() }).await;
    session.integers(["a", "b"]).await;
    let three = ["a", "b", "c"].map(|name| set(name, int(1)));
    is(&session.refused(three).await, "batch_operations", 2);
    let big = ["d", "e"].map(|name| register(name, VariableType::Bytes, bytes(600)));
    is(&session.refused(big.clone()).await, "batch_bytes", 1_000);
    for alone in big {
        session.write([alone]).await;
    }
}

#[tokio::test]
async fn sessions_are_limited_and_an_ended_one_makes_room() {
    let (_server, mut session) = limited(Limits { sessions: 1, ..Limits::default() }).await;
    let create =
        || CreateSessionRequest { session_id: unique("s"), incarnation: incarnation().into(), ..Default::default() };
    is(&refused(session.sessions.create_session(create()).await), "sessions", 1);
    let delete = snakepit_server::proto::DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    session.sessions.delete_session(delete).await.unwrap();
    session.sessions.create_session(create()).await.unwrap();
}

#[tokio::test]
async fn watchers_of_a_session_are_limited_and_a_closed_one_makes_room() {
    let (_server, session) = limited(Limits { watchers_per_session: 1, ..Limits::default() }).await;
    let mut open = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    open.message().await.unwrap();
    is(&refused(session.watch(session.watch_of(WatchMode::Every)).await), "watchers_per_session", 1);
    drop(open);
    // The server learns of the end as soon as it has read the reset.
    while session.watch(session.watch_of(WatchMode::Every)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_are_limited_to_what_a_message_may_hold() {
    let (_server, session) = limited(Limits { message_bytes: 1_000, ..Limits::default() }).await;
    let names = ["a", "b", "c"];
    for name in names {
        session.write([register(name, VariableType::Bytes, bytes(400))]).await;
    }
    let get = GetVariablesRequest { session_id: session.id.clone(), names: texts(&names), ..Default::default() };
    is(&refused(session.variables.clone().get_variables(get).await), "message_bytes", 1_000);
    is(&refused(session.sync(0, &names, &[]).await), "message_bytes", 1_000);
    session.sync(0, &names[..2], &[]).await.unwrap();
}
