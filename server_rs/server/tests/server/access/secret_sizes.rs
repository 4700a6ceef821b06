//! The size of a secret shows no more than its value. Everything that ends where bytes add up to a bound is brought to
//! that bound beside a short secret and beside a longer one, with plain text of all lengths: it has to end alike.

use std::future::Future;

use snakepit_core::config::{Limits, Windows};
use snakepit_proto::v1::{
    ListVariableVersionsRequest, SyncVariablesRequest, VariableSpec, VariableType, WatchMode, WatchVariablesRequest,
};
use snakepit_server::server::Server;

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    setup::*,
};

/// Both count for 512 bytes.
const SIZES: [usize; 2] = [1, 450];

fn texted(length: usize) -> snakepit_proto::v1::Value {
    text(&"x".repeat(length))
}

/// A session with a secret of each size, for each length of a plain text: what `probe` finds of them is the same.
async fn alike<F: Future<Output = String>>(server: &Guarded, probe: impl Fn(Holder, String, usize) -> F) {
    let (owner, writer) = (server.holder("owner").await, server.holder("writer").await);
    let secret = VariableSpec { secret: true, ..spec(VariableType::String) };
    let (mut seen, mut kinds) = ([Vec::new(), Vec::new()], Vec::new());
    for length in (0..2_000).step_by(100) {
        for (size, seen) in SIZES.into_iter().zip(&mut seen) {
            let id = unique("s");
            owner.open(&id).await.unwrap();
            owner.write(&id, [register("t", VariableType::String, text("t"))]).await.unwrap();
            owner.write(&id, [register_as("key", secret.clone(), texted(size))]).await.unwrap();
            let shown = probe(writer.clone(), id, length).await;
            kinds.push(shown.clone());
            seen.push(shown);
        }
    }
    assert_eq!(seen[0], seen[1]);
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() > 1, "the bound was not reached, or was always: {kinds:?}");
}

async fn started(limits: Limits, windows: Windows) -> Guarded {
    let tokens = [("owner", ALL, "*"), ("writer", "read write", "*")];
    Guarded::of(Server::builder().limits(limits).windows(windows), &tokens).await
}

fn word<T>(answer: &Result<T, tonic::Status>) -> String {
    if answer.is_ok() { "taken".into() } else { "refused".into() }
}

#[tokio::test]
async fn what_a_session_still_takes_does_not_show_how_long_its_secrets_are() {
    let server = started(Limits { session_value_bytes: 1_700, ..Limits::default() }, Windows::default()).await;
    alike(&server, |writer, id, length| async move { word(&writer.write(&id, [set("t", texted(length))]).await) })
        .await;
}

#[tokio::test]
async fn where_a_history_ends_does_not_show_how_long_a_secret_was() {
    let server = started(Limits::default(), Windows { history_bytes: 2_000, ..Windows::default() }).await;
    alike(&server, |writer, id, length| async move {
        writer.write(&id, [set("key", texted(length))]).await.unwrap();
        let request = ListVariableVersionsRequest { session_id: id, name: "key".into(), ..Default::default() };
        let versions = writer.variables().list_variable_versions(request).await.unwrap().into_inner().versions;
        format!("{} are kept", versions.len())
    })
    .await;
}

#[tokio::test]
async fn where_the_log_ends_does_not_show_how_long_a_secret_was() {
    let server = started(Limits::default(), Windows { log_bytes: 2_000, ..Windows::default() }).await;
    alike(&server, |writer, id, length| async move {
        writer.write(&id, [set("t", texted(length))]).await.unwrap();
        let mut oldest = String::new();
        for known_revision in [1, 2, 3] {
            let mode = WatchMode::Every.into();
            let request = WatchVariablesRequest { session_id: id.clone(), mode, known_revision, ..Default::default() };
            oldest += &word(&writer.variables().watch_variables(request).await);
        }
        oldest
    })
    .await;
}

#[tokio::test]
async fn what_a_sync_has_room_for_does_not_show_how_long_a_secret_is() {
    let server = started(Limits { message_bytes: 1_500, ..Limits::default() }, Windows::default()).await;
    alike(&server, |writer, id, length| async move {
        writer.write(&id, [set("t", texted(length.min(1_300)))]).await.unwrap();
        // The answer names those that do not exist.
        let absent = (0..length.saturating_sub(1_500) / 5).map(|n| format!("nobody{n}"));
        let new_names = ["key".to_owned(), "t".to_owned()].into_iter().chain(absent).collect();
        let request = SyncVariablesRequest { session_id: id, new_names, ..Default::default() };
        word(&writer.variables().sync_variables(request).await)
    })
    .await;
}

#[tokio::test]
async fn how_a_watch_is_divided_does_not_show_how_long_a_secret_is() {
    let server = started(Limits::default(), Windows::default()).await;
    let (owner, writer) = (server.holder("owner").await, server.holder("writer").await);
    let secret = VariableSpec { secret: true, ..spec(VariableType::String) };
    let mut parts = Vec::new();
    for size in [1, 3 << 20] {
        let id = unique("s");
        owner.open(&id).await.unwrap();
        owner.write(&id, [register_as("key", secret.clone(), texted(size))]).await.unwrap();
        owner.write(&id, [register("t", VariableType::String, texted(2 << 20))]).await.unwrap();
        for mode in [WatchMode::Latest, WatchMode::Every] {
            let request = WatchVariablesRequest { session_id: id.clone(), mode: mode.into(), ..Default::default() };
            let mut watch = writer.variables().watch_variables(request).await.unwrap().into_inner();
            parts.push(watch.message().await.unwrap().unwrap().partial);
        }
    }
    assert_eq!(parts, [false; 4]);
}
