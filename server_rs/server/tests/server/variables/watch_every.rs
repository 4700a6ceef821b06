//! Watches of every change: ordered, unique, reliable, atomic, resumable, bookmarkable.

use snakepit_core::config::Windows;
use snakepit_proto::v1::{
    Change, ChangeKind, Snapshot, VariableType, WatchMode, WatchVariablesRequest, WatchVariablesResponse, value::Kind,
    watch_variables_response::Event,
};
use snakepit_server::server::Server;
use tonic::Streaming;

use crate::support::setup::*;

type Watch = Streaming<WatchVariablesResponse>;

async fn every(session: &TestSession, known_revision: u64, pattern: &str) -> Watch {
    let request =
        WatchVariablesRequest { known_revision, pattern: pattern.into(), ..session.watch_of(WatchMode::Every) };
    session.watch(request).await.unwrap()
}

async fn snapshot(watch: &mut Watch) -> (u64, Snapshot) {
    let message = watch.message().await.unwrap().unwrap();
    let Some(Event::Snapshot(snapshot)) = message.event else { panic!("{message:?}") };
    (message.revision, snapshot)
}

/// The next changes, past signs of life, which may not run ahead of them.
async fn changes(watch: &mut Watch) -> (u64, Vec<Change>) {
    loop {
        let message = watch.message().await.unwrap().unwrap();
        match message.event {
            Some(Event::Changes(changes)) => return (message.revision, changes.changes),
            Some(Event::Heartbeat(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn told(changes: &[Change]) -> Vec<(ChangeKind, &str, u64, Option<i64>)> {
    let told = |change: &Change| {
        let variable = change.variable.as_ref();
        (change.kind(), variable.map(|it| (it.name.clone(), it.version, it.value.clone())))
    };
    let number = |value: Option<snakepit_proto::v1::Value>| match value.and_then(|value| value.kind) {
        Some(Kind::Int64Value(number)) => Some(number),
        _ => None,
    };
    let names = changes.iter().filter_map(|change| change.variable.as_ref()).map(|it| &*it.name);
    let facts = changes.iter().map(told).map(|(kind, it)| {
        let (_, version, value) = it.unwrap();
        (kind, version, number(value))
    });
    names.zip(facts).map(|(name, (kind, version, value))| (kind, name, version, value)).collect()
}

#[tokio::test]
async fn a_watch_begins_with_the_state_and_goes_on_with_each_change() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["b", "a"]).await;
    let mut watch = every(&session, 0, "").await;
    let (revision, state) = snapshot(&mut watch).await;
    assert_eq!(revision, 2);
    assert_eq!(state.variables.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["a", "b"]);
    session.write([set("a", int(1)), delete("b"), register("c", VariableType::Integer, int(3))]).await;
    let (revision, batch) = changes(&mut watch).await;
    assert_eq!(revision, 3);
    let expected = [
        (ChangeKind::Set, "a", 2, Some(1)),
        (ChangeKind::Deleted, "b", 2, None),
        (ChangeKind::Registered, "c", 1, Some(3)),
    ];
    assert_eq!(told(&batch), expected, "one revision is one message, in the order of its operations");
    let spec = batch[0].variable.as_ref().unwrap().spec.as_ref().unwrap();
    assert_eq!(spec.r#type(), VariableType::Integer);
}

#[tokio::test]
async fn under_load_every_change_arrives_once_and_in_order() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let mut watches = [every(&session, 0, "").await, every(&session, 0, "n*").await, every(&session, 2, "").await];
    let write = |session: TestSession| async move {
        for _ in 0..200 {
            session.write([increment("n", 1)]).await;
        }
    };
    let writers: Vec<_> = (0..3).map(|_| tokio::spawn(write(session.clone()))).collect();
    for (index, watch) in watches.iter_mut().enumerate() {
        if index < 2 {
            assert_eq!(snapshot(watch).await.0, 2);
        }
        for number in 1..=600 {
            let (revision, changes) = changes(watch).await;
            let number_now = i64::try_from(number).unwrap();
            assert_eq!(told(&changes), [(ChangeKind::Set, "n", number + 1, Some(number_now))]);
            assert_eq!(revision, number + 2);
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_watch_resumes_where_another_ended_without_gap_or_repeat() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n", "other"]).await;
    let mut watch = every(&session, 0, "n").await;
    let (mut revision, _) = snapshot(&mut watch).await;
    let mut seen = Vec::new();
    for round in 0..5 {
        for number in 0..4 {
            session.write([set("n", int(round * 4 + number + 1)), increment("other", 1)]).await;
        }
        for _ in 0..3 {
            let (at, change) = changes(&mut watch).await;
            revision = at;
            seen.extend(told(&change).into_iter().filter_map(|(_, _, _, value)| value));
        }
        drop(watch);
        watch = every(&session, revision, "n").await;
    }
    while seen.len() < 20 {
        let (_, change) = changes(&mut watch).await;
        seen.extend(told(&change).into_iter().filter_map(|(_, _, _, value)| value));
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_resumed_watch_with_nothing_to_tell_says_so_at_once() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    session.write([increment("n", 1)]).await;
    let mut watch = every(&session, 2, "other").await;
    let message = watch.message().await.unwrap().unwrap();
    assert_eq!((message.revision, message.event), (3, Some(Event::Heartbeat(Default::default()))));
}

#[tokio::test]
async fn a_watch_that_falls_below_the_log_is_compacted_and_slows_nobody() {
    let windows = Windows { log_events: 10, log_bytes: u64::MAX, ..Windows::default() };
    let server = TestServer::of(Server::builder().windows(windows)).await;
    let session = server.session().await;
    let big = |byte: u8| of(Kind::BytesValue(vec![byte; 1_000_000].into()));
    session.write([register("b", VariableType::Bytes, big(0))]).await;
    let slow = TestSession { variables: reconnected(&server).await, ..session.clone() };
    let mut watch = every(&slow, 0, "").await;
    snapshot(&mut watch).await;
    for byte in 1..100 {
        session.write([set("b", big(byte))]).await;
    }
    let mut revision = 2;
    let ended = loop {
        match watch.message().await {
            Ok(Some(message)) => {
                assert!(message.revision == revision + 1, "no gap before the end");
                revision = message.revision;
            }
            Ok(None) => panic!("ended without a reason"),
            Err(status) => break refused::<()>(Err(status)),
        }
    };
    assert_eq!((&*ended.reason, ended.fact("oldest")), ("COMPACTED", "92"));
    assert!(revision < 91);
}

async fn reconnected(
    server: &TestServer,
) -> snakepit_proto::v1::variable_service_client::VariableServiceClient<tonic::transport::Channel> {
    let client = snakepit_proto::v1::variable_service_client::VariableServiceClient::new(server.connect().await);
    client.max_decoding_message_size(usize::MAX)
}

#[tokio::test]
async fn a_snapshot_beyond_a_message_comes_in_parts_of_one_revision() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        session.write([register(name, VariableType::Bytes, of(Kind::BytesValue(vec![1; 1_500_000].into())))]).await;
    }
    let mut watch = every(&session, 0, "").await;
    let (mut parts, mut collected) = (0, Vec::new());
    loop {
        let message = watch.message().await.unwrap().unwrap();
        assert_eq!(message.revision, 6);
        let Some(Event::Snapshot(part)) = message.event else { panic!("no snapshot") };
        collected.extend(part.variables.into_iter().map(|it| it.name));
        parts += 1;
        session.write([increment_of_a_counter()]).await;
        if !message.partial {
            break;
        }
    }
    assert_eq!((parts, collected), (3, texts(&names)));
    assert_eq!(changes(&mut watch).await.0, 7);
}

fn increment_of_a_counter() -> snakepit_proto::v1::Operation {
    register(&unique("counter"), VariableType::Integer, int(0))
}

#[tokio::test]
async fn a_revision_from_the_future_and_names_of_the_other_mode_are_refused() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let base = || session.watch_of(WatchMode::Every);
    for (field, request) in [
        ("known_revision", WatchVariablesRequest { known_revision: 9, ..base() }),
        ("new_names", WatchVariablesRequest { new_names: texts(&["n"]), ..base() }),
        ("names", WatchVariablesRequest { names: texts(&["not a name"]), ..base() }),
    ] {
        assert_eq!(refused(session.watch(request).await).fact("field"), field);
    }
}
