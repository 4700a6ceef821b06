//! A server on what another has left, on a machine whose clock was set meanwhile: what is remembered is measured by the time
//! that was lived.

use std::time::{Duration, SystemTime};

use snakepit_core::config::{Upkeep, Windows};
use snakepit_proto::v1::{
    CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, WriteVariablesRequest,
    session_service_client::SessionServiceClient, variable_service_client::VariableServiceClient,
};
use snakepit_server::{
    journal::sqlite::{Disk, OpenError},
    server::Server,
};

use crate::support::setup::*;

const DAYS: Duration = Duration::from_secs(30 * 86_400);

fn right() -> SystemTime {
    SystemTime::now()
}

fn set_forward() -> SystemTime {
    SystemTime::now() + DAYS
}

fn set_back() -> SystemTime {
    SystemTime::now() - DAYS
}

/// A server on the directory, on a machine whose clock says this.
async fn at(wall_clock: fn() -> SystemTime, directory: &tempfile::TempDir, upkeep: Upkeep) -> TestServer {
    let disk = loop {
        match Disk::open_with(directory.path(), &Windows::default(), upkeep.clone()) {
            // The server before lets go of it when its last task has ended.
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => break opened.unwrap(),
        }
    };
    TestServer::of(Server::builder().journal(disk).wall_clock(wall_clock)).await
}

async fn stop(server: TestServer) {
    server.tell_to_stop();
    server.stopped().await;
}

/// The session there, on a server that has it from before.
async fn again(server: &TestServer, session: &TestSession) -> TestSession {
    let channel = server.connect().await;
    TestSession {
        sessions: SessionServiceClient::new(channel.clone()),
        variables: VariableServiceClient::new(channel.clone()),
        channel,
        ..session.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_repeated_after_a_restart_is_applied_once_wherever_the_clock_was_set() {
    // By its event, and by a row of its own.
    for fold_events in [1_000, 1] {
        let upkeep = || Upkeep { fold_events, ..Upkeep::default() };
        let directory = tempfile::tempdir().unwrap();
        let server = at(right, &directory, upkeep()).await;
        let mut session = server.session().await;
        session.integers(["n"]).await;
        let once = |session: &TestSession| WriteVariablesRequest {
            client_id: "c".into(),
            idempotency_key: "k".into(),
            ..session.write_of([increment("n", 1)])
        };
        let first = session.send(once(&session)).await.unwrap();
        stop(server).await;
        for (others, wall_clock) in [set_forward, set_back, right, set_forward].into_iter().enumerate() {
            let server = at(wall_clock, &directory, upkeep()).await;
            session = again(&server, &session).await;
            session.write([increment("n", 1)]).await;
            assert_eq!(session.send(once(&session)).await.unwrap(), first, "after {others} other starts");
            stop(server).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_is_repeated_after_the_clock_was_set_forward_brings_no_ended_life_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = at(right, &directory, Upkeep::default()).await;
    let session = server.session().await;
    let end = DeleteSessionRequest { session_id: session.id.clone(), ..Default::default() };
    session.sessions.clone().delete_session(end).await.unwrap();
    stop(server).await;
    for wall_clock in [set_forward, set_back] {
        let server = at(wall_clock, &directory, Upkeep::default()).await;
        // What is swept has been.
        server.session().await;
        let retry = CreateSessionRequest {
            session_id: session.id.clone(),
            incarnation: session.incarnation.clone().into(),
            ..Default::default()
        };
        let refused = refused(again(&server, &session).await.sessions.create_session(retry).await);
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "incarnation"));
        stop(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ttl_goes_on_from_the_start_wherever_the_clock_was_set() {
    let directory = tempfile::tempdir().unwrap();
    let server = at(set_forward, &directory, Upkeep::default()).await;
    let session = server.session_living(3_600).await;
    session.integers(["n"]).await;
    stop(server).await;
    for wall_clock in [set_back, set_forward, right] {
        let server = at(wall_clock, &directory, Upkeep::default()).await;
        let session = again(&server, &session).await;
        session.get("n").await.unwrap();
        let get = GetSessionRequest { session_id: session.id.clone() };
        let found = session.sessions.clone().get_session(get).await.unwrap().into_inner().session.unwrap();
        let ends: SystemTime = found.expires_at.unwrap().try_into().unwrap();
        let left = ends.duration_since(wall_clock() - Duration::from_secs(3_600)).unwrap();
        assert!((3_600..=2 * 3_600 + 60).contains(&left.as_secs()), "{left:?}");
        stop(server).await;
    }
}
