//! Expiry, under a clock that only the test moves.

use std::time::Duration;

use snakepit_proto::v1::{
    CreateSessionRequest, GetSessionRequest, ListSessionsRequest, WatchMode, WriteVariablesRequest,
};
use snakepit_server::server::Server;

use crate::support::{
    clock::{Frozen, live, pass},
    setup::*,
};

/// A server that never sweeps: what is refused is refused on access.
async fn unswept() -> TestServer {
    TestServer::of(Server::builder().sweep_interval(Duration::from_secs(1_000_000))).await
}

#[tokio::test]
async fn an_expired_session_is_refused_before_any_sweep() {
    let _clock = Frozen::clock();
    let server = unswept().await;
    let mut session = server.session_living(10).await;
    session.integers(["n"]).await;
    live(9).await;
    session.get("n").await.unwrap();
    live(1).await;
    assert_eq!(refused(session.get("n").await).reason, "SESSION_EXPIRED");
    assert_eq!(session.refused([set("n", int(1))]).await.reason, "SESSION_EXPIRED");
    assert_eq!(refused(session.sync(2, &["n"], &[]).await).reason, "SESSION_EXPIRED");
    assert_eq!(refused(session.watch(session.watch_of(WatchMode::Latest)).await).reason, "SESSION_EXPIRED");
    let get = GetSessionRequest { session_id: session.id.clone() };
    let refused = refused(session.sessions.get_session(get).await);
    assert_eq!((&*refused.reason, refused.fact("revision")), ("SESSION_EXPIRED", "3"), "expiry is its last event");
    let listed = session.sessions.list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.sessions, []);
}

#[tokio::test]
async fn writes_and_syncs_slide_the_ttl_and_reads_do_not() {
    let _clock = Frozen::clock();
    let server = unswept().await;
    let session = server.session_living(10).await;
    session.integers(["n"]).await;
    live(8).await;
    session.write([set("n", int(0))]).await;
    live(8).await;
    session.sync(2, &["n"], &[]).await.unwrap();
    live(8).await;
    session.get("n").await.unwrap();
    live(2).await;
    assert_eq!(refused(session.get("n").await).reason, "SESSION_EXPIRED");
}

#[tokio::test]
async fn an_open_watch_keeps_a_session_alive_and_the_ttl_counts_from_its_end() {
    let _clock = Frozen::clock();
    let server = unswept().await;
    let session = server.session_living(10).await;
    session.integers(["n"]).await;
    let mut watch = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    watch.message().await.unwrap();
    for _ in 0..3 {
        live(9).await;
        watch.message().await.unwrap();
    }
    session.get("n").await.unwrap();
    drop(watch);
    // The end moves with the clock until the server has learned that the watch is gone.
    let mut end = expires_at(&session).await;
    loop {
        tokio::time::advance(Duration::from_millis(10)).await;
        let next = expires_at(&session).await;
        if next == end {
            break;
        }
        end = next;
    }
    live(9).await;
    session.get("n").await.unwrap();
    live(1).await;
    assert_eq!(refused(session.get("n").await).reason, "SESSION_EXPIRED");
}

async fn expires_at(session: &TestSession) -> prost_types::Timestamp {
    let get = GetSessionRequest { session_id: session.id.clone() };
    session.sessions.clone().get_session(get).await.unwrap().into_inner().session.unwrap().expires_at.unwrap()
}

#[tokio::test]
async fn the_sweep_ends_what_nobody_asks_for() {
    let _clock = Frozen::clock();
    let server = TestServer::of(Server::builder().sweep_interval(Duration::from_secs(5))).await;
    let limited = server.session_living(10).await;
    let forever = server.session().await;
    live(15).await;
    let mut client = forever.sessions.clone();
    let listed = client.list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner().sessions;
    assert_eq!(listed.into_iter().map(|session| session.id).collect::<Vec<_>>(), [forever.id]);
    assert_eq!(refused(limited.get("n").await).reason, "SESSION_EXPIRED");
}

#[tokio::test]
async fn an_expired_id_is_forgotten_after_a_day_and_may_live_again() {
    let _clock = Frozen::clock();
    let server = unswept().await;
    let session = server.session_living(10).await;
    session.integers(["n"]).await;
    live(10).await;
    assert_eq!(refused(session.get("n").await).reason, "SESSION_EXPIRED");
    let request = CreateSessionRequest { session_id: session.id.clone(), ..Default::default() };
    let again = TestSession::create(session.channel.clone(), request).await;
    assert_eq!(refused(again.get("n").await).reason, "VARIABLE_NOT_FOUND");
    assert_eq!(session.refused([set("n", int(1))]).await.reason, "VARIABLE_NOT_FOUND");
    let other = server.session_living(10).await;
    live(10).await;
    assert_eq!(refused(other.get("n").await).reason, "SESSION_EXPIRED");
    live(24 * 60 * 60).await;
    assert_eq!(refused(other.get("n").await).reason, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_server_that_was_stopped_for_longer_than_a_ttl_has_expired_nothing_and_goes_on_to() {
    let _clock = Frozen::clock();
    let server = TestServer::of(Server::builder().sweep_interval(Duration::from_secs(1))).await;
    let (used, idle) = (server.session_living(2).await, server.session_living(2).await);
    used.integers(["n"]).await;
    let idle_from = idle.integers(["n"]).await;
    for _ in 0..5 {
        live(1).await;
        used.sync(2, &["n"], &[]).await.unwrap();
        pass(3_600).await;
        used.sync(2, &["n"], &[]).await.unwrap();
    }
    used.write([set("n", int(1))]).await;
    assert_eq!(refused(idle.get("n").await).reason, "SESSION_EXPIRED", "it was not used while the server ran");
    live(2).await;
    assert_eq!(refused(used.get("n").await).reason, "SESSION_EXPIRED");
    drop(idle_from);
}

#[tokio::test]
async fn a_retry_after_a_stop_longer_than_keys_are_remembered_is_applied_once() {
    let _clock = Frozen::clock();
    let server = unswept().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let once = || WriteVariablesRequest {
        client_id: "c".into(),
        idempotency_key: "k".into(),
        ..session.write_of([increment("n", 1)])
    };
    let first = session.send(once()).await.unwrap();
    pass(24 * 60 * 60).await;
    session.write([increment("n", 1)]).await;
    assert_eq!(session.send(once()).await.unwrap(), first);
    live(601).await;
    session.write([increment("n", 1)]).await;
    assert_ne!(session.send(once()).await.unwrap(), first, "ten minutes were lived");
}
