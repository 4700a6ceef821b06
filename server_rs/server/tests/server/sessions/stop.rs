//! A graceful stop: what has begun is finished, streams can be resumed, nothing new begins.

use std::time::Duration;

use snakepit_proto::v1::{WatchMode, watch_variables_response::Event};
use snakepit_server::{journal::testing::gated, server::Server};
use tonic::Code;

use crate::support::setup::*;

#[tokio::test]
async fn a_stop_ends_watches_so_that_they_can_be_resumed() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    for mode in [WatchMode::Latest, WatchMode::Every] {
        session.watch(session.watch_of(mode)).await.unwrap().message().await.unwrap();
    }
    let mut latest = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    let mut every = session.watch(session.watch_of(WatchMode::Every)).await.unwrap();
    latest.message().await.unwrap();
    every.message().await.unwrap();
    server.tell_to_stop();
    for watch in [&mut latest, &mut every] {
        let status = watch.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    drop(session);
    server.stopped().await;
}

#[tokio::test]
async fn a_stop_finishes_the_writes_that_have_begun() {
    let (home, mut gate) = gated();
    let server = TestServer::of(Server::builder().journal(home)).await;
    let channel = server.connect().await;
    let creating = tokio::spawn(TestSession::create(channel, Default::default()));
    gate.recv().await.unwrap().settle(Ok(()));
    let session = creating.await.unwrap();
    let writing = tokio::spawn({
        let session = session.clone();
        async move { session.integers(["n"]).await }
    });
    let group = gate.recv().await.unwrap();
    server.tell_to_stop();
    group.settle(Ok(()));
    assert_eq!(writing.await.unwrap().revision, 2);
    drop(session);
    server.stopped().await;
}

#[tokio::test]
async fn a_stopped_server_takes_no_new_connections() {
    let server = TestServer::start().await;
    let address = server.address;
    server.tell_to_stop();
    server.stopped().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_quiet_watch_shows_signs_of_life() {
    let server = TestServer::of(Server::builder().heartbeat(Duration::from_millis(20))).await;
    let session = server.session().await;
    session.integers(["n", "other"]).await;
    for mode in [WatchMode::Latest, WatchMode::Every] {
        let request = snakepit_proto::v1::WatchVariablesRequest { names: texts(&["n"]), ..session.watch_of(mode) };
        let mut watch = session.watch(request).await.unwrap();
        let first = watch.message().await.unwrap().unwrap();
        // A change outside the filter moves the revision of a heartbeat, and nothing else.
        let written = session.write([increment("other", 1)]).await.revision;
        loop {
            let told = watch.message().await.unwrap().unwrap();
            assert_eq!(told.event, Some(Event::Heartbeat(Default::default())));
            assert!((first.revision..=written).contains(&told.revision));
            if told.revision == written {
                break;
            }
        }
    }
}
