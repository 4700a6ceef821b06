//! Limits: each is refused with its own name.

use snakepit_core::config::Limits;
use snakepit_proto::v1::{
    CreateSessionRequest, GetServerInfoRequest, GetVariablesRequest, VariableSpec, VariableType, WatchMode,
    server_service_client::ServerServiceClient, value::Kind,
};
use snakepit_server::server::Server;

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    setup::*,
};

async fn limited(limits: Limits) -> (TestServer, TestSession) {
    let server = TestServer::of(Server::builder().limits(limits)).await;
    let session = server.session().await;
    (server, session)
}

fn is(refused: &Refused, limit: &str, max: u64) {
    let facts = (&*refused.reason, refused.fact("limit"), refused.fact("max"));
    assert_eq!(facts, ("LIMIT_EXCEEDED", limit, &*max.to_string()));
}

fn bytes(count: usize) -> snakepit_proto::v1::Value {
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
async fn what_is_said_of_variables_and_of_their_session_counts_as_their_values_do() {
    let limits = Limits { session_value_bytes: 1_000, ..Limits::default() };
    let (server, session) = limited(limits).await;
    let described = |bytes| VariableSpec { description: "d".repeat(bytes), ..spec(VariableType::Integer) };
    let labels = |bytes: usize| std::collections::BTreeMap::from([("team".to_owned(), "l".repeat(bytes))]);
    let labelled = |bytes| VariableSpec { metadata: labels(bytes), ..spec(VariableType::Integer) };
    session.write([register_as("a", described(600), int(1))]).await;
    is(&session.refused([register_as("b", described(600), int(1))]).await, "session_value_bytes", 1_000);
    is(&session.refused([register_as("b", labelled(600), int(1))]).await, "session_value_bytes", 1_000);
    is(&session.refused([replace("a", described(1_001), int(1))]).await, "session_value_bytes", 1_000);
    session.write([set("a", int(2)), register_as("b", labelled(200), int(1))]).await;
    session.write([replace("a", described(0), int(1)), register_as("c", described(600), int(1))]).await;
    session.write([delete("c"), register_as("d", described(600), int(1))]).await;

    let create = |bytes| CreateSessionRequest {
        session_id: unique("labelled"),
        incarnation: incarnation().into(),
        metadata: labels(bytes),
        ..Default::default()
    };
    let channel = session.channel.clone();
    is(&refused(session.sessions.clone().create_session(create(1_001)).await), "session_value_bytes", 1_000);
    let session = TestSession::create(channel, create(600)).await;
    is(&session.refused([register_as("a", described(600), int(1))]).await, "session_value_bytes", 1_000);
    drop(server);
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
    let delete = snakepit_proto::v1::DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
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

/// Asks many times at once: how many were answered, and how the last of the others was refused.
async fn ask(holder: &Holder, times: usize) -> (usize, Option<Refused>) {
    let asked = (0..times).map(|_| {
        let mut client = ServerServiceClient::new(holder.carried.clone());
        async move { client.get_server_info(GetServerInfoRequest {}).await }
    });
    let answers = futures_util::future::join_all(asked).await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    (answered, answers.into_iter().rfind(Result::is_err).map(refused))
}

#[tokio::test]
async fn who_asks_too_often_is_held_back_and_others_are_not() {
    let limits = Limits { requests_per_second: 2, ..Limits::default() };
    let server = Guarded::limited(limits, &[("fast", ALL, "*"), ("slow", ALL, "*")]).await;
    let (fast, slow) = (server.holder("fast").await, server.holder("slow").await);
    let (answered, refused) = ask(&fast, 1_000).await;
    assert!((2..1_000).contains(&answered), "{answered}");
    is(&refused.unwrap(), "requests_per_second", 2);
    assert_eq!(ask(&slow, 2).await, (2, None));
    // It passes.
    while ask(&fast, 1).await.0 == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_has_no_token_is_held_back_by_address() {
    let limits = Limits { requests_per_second: 2, ..Limits::default() };
    let server = Guarded::limited(limits, &[("known", ALL, "*")]).await;
    let (stranger, another) = (server.holder("a").await, server.holder("b").await);
    let mut reasons = Vec::new();
    for holder in [&stranger, &another].repeat(500) {
        reasons.extend(ask(holder, 1).await.1.map(|refused| refused.reason));
    }
    assert!(reasons.contains(&"UNAUTHENTICATED".into()) && reasons.contains(&"LIMIT_EXCEEDED".into()));
    assert_eq!(ask(&server.holder("known").await, 2).await, (2, None));
}
