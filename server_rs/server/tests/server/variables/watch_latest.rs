//! Watches of the latest state: conflated, never stale at the end.

use std::collections::BTreeMap;

use snakepit_proto::v1::{
    SyncVariablesResponse, Value, VariableType, WatchMode, WatchVariablesRequest, WatchVariablesResponse, value::Kind,
    watch_variables_response::Event,
};
use tonic::Streaming;

use crate::support::setup::*;

/// What a client knows that applies what a watch tells.
#[derive(Default)]
struct Mirror {
    revision: u64,
    values: BTreeMap<String, Value>,
    messages: usize,
}

impl Mirror {
    fn apply(&mut self, told: SyncVariablesResponse) {
        assert!(told.revision >= self.revision, "never back in time");
        if told.full {
            self.values.clear();
        }
        self.revision = told.revision;
        self.values.extend(told.changed.into_iter().map(|it| (it.name, it.value.unwrap_or_default())));
        for name in told.absent {
            self.values.remove(&name);
        }
        self.messages += 1;
    }

    async fn follow(&mut self, watch: &mut Streaming<WatchVariablesResponse>, revision: u64) {
        while self.revision < revision {
            let message = watch.message().await.unwrap().unwrap();
            if let Some(Event::Latest(told)) = message.event {
                assert_eq!(told.revision, message.revision);
                self.apply(told);
            }
        }
    }
}

#[tokio::test]
async fn a_watch_begins_in_full_and_goes_on_with_what_changed() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "b", "c"]).await;
    let request = WatchVariablesRequest { names: texts(&["a", "b", "d"]), ..session.watch_of(WatchMode::Latest) };
    let mut watch = session.watch(request).await.unwrap();
    let Some(Event::Latest(first)) = watch.message().await.unwrap().unwrap().event else { panic!("no state") };
    assert_eq!((first.full, first.absent.clone(), first.changed.len()), (true, texts(&["d"]), 2));
    session.write([set("a", int(1)), delete("b"), set("c", int(9))]).await;
    session.write([register("d", VariableType::Integer, int(4))]).await;
    let mut mirror = Mirror::default();
    mirror.apply(first);
    mirror.follow(&mut watch, 4).await;
    let expected = [("a".to_owned(), int(1)), ("d".to_owned(), int(4))];
    assert_eq!(mirror.values.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn names_and_a_pattern_are_watched_together() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "llm_x", "llm_y", "z"]).await;
    let request =
        WatchVariablesRequest { names: texts(&["a"]), pattern: "llm_*".into(), ..session.watch_of(WatchMode::Latest) };
    let mut mirror = Mirror::default();
    mirror.follow(&mut session.watch(request).await.unwrap(), 2).await;
    assert_eq!(mirror.values.into_keys().collect::<Vec<_>>(), ["a", "llm_x", "llm_y"]);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_conflated_and_sees_the_last_state() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let big = |byte: u8| of(Kind::BytesValue(vec![byte; 1_000_000].into()));
    session.write([register("b", VariableType::Bytes, big(0))]).await;
    let slow = server.connect().await;
    let mut client = snakepit_proto::v1::variable_service_client::VariableServiceClient::new(slow);
    let mut watch = client.watch_variables(session.watch_of(WatchMode::Latest)).await.unwrap().into_inner();
    for byte in 1..=100 {
        session.write([set("b", big(byte))]).await;
    }
    let mut mirror = Mirror::default();
    mirror.follow(&mut watch, 102).await;
    assert_eq!(mirror.values["b"], big(100));
    assert!(mirror.messages < 50, "{} messages for 100 changes", mirror.messages);
}

#[tokio::test]
async fn a_resumed_watch_tells_what_changed_meanwhile_and_new_names_in_full() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let known = session.integers(["a", "b", "c", "d"]).await.revision;
    session.write([set("b", int(1)), delete("c")]).await;
    let request = WatchVariablesRequest {
        names: texts(&["a", "b", "c"]),
        new_names: texts(&["d", "e"]),
        known_revision: known,
        ..session.watch_of(WatchMode::Latest)
    };
    let mut watch = session.watch(request).await.unwrap();
    let Some(Event::Latest(told)) = watch.message().await.unwrap().unwrap().event else { panic!("no state") };
    assert!(!told.full);
    let mut changed: Vec<_> = told.changed.iter().map(|it| &*it.name).collect();
    changed.sort_unstable();
    let mut absent = told.absent;
    absent.sort();
    assert_eq!((changed, absent), (vec!["b", "d"], texts(&["c", "e"])));
    session.write([set("d", int(5))]).await;
    let Some(Event::Latest(told)) = watch.message().await.unwrap().unwrap().event else { panic!("no state") };
    assert_eq!((told.changed.len(), &*told.changed[0].name), (1, "d"));
}

#[tokio::test]
async fn new_names_alone_are_not_a_watch_of_everything() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "b"]).await;
    for known_revision in [0, 2] {
        let request =
            WatchVariablesRequest { new_names: texts(&["a"]), known_revision, ..session.watch_of(WatchMode::Latest) };
        let mut watch = session.watch(request).await.unwrap();
        let Some(Event::Latest(told)) = watch.message().await.unwrap().unwrap().event else { panic!("no state") };
        assert_eq!(told.changed.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["a"]);
    }
}

#[tokio::test]
async fn a_state_beyond_a_message_comes_in_parts() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        session.write([register(name, VariableType::Bytes, of(Kind::BytesValue(vec![1; 1_500_000].into())))]).await;
    }
    let mut watch = session.watch(session.watch_of(WatchMode::Latest)).await.unwrap();
    let (mut collected, mut partial) = (Vec::new(), Vec::new());
    while partial.last() != Some(&false) {
        let message = watch.message().await.unwrap().unwrap();
        let Some(Event::Latest(part)) = message.event else { panic!("no state") };
        assert!(part.full);
        collected.extend(part.changed.into_iter().map(|it| it.name));
        partial.push(message.partial);
    }
    assert_eq!((collected, partial), (texts(&names), vec![true, true, false]));
}
