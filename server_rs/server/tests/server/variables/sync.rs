//! Sync: what changed since a revision, in one answer.

use snakepit_proto::v1::{SyncVariablesResponse, Value, VariableType};

use crate::support::setup::*;

fn changed(answer: &SyncVariablesResponse) -> Vec<(&str, Option<&Value>)> {
    let mut changed: Vec<_> = answer.changed.iter().map(|it| (&*it.name, it.value.as_ref())).collect();
    changed.sort_unstable_by_key(|(name, _)| *name);
    changed
}

#[tokio::test]
async fn from_nothing_known_a_sync_is_everything() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a", "b"]).await;
    let answer = session.sync(0, &["a", "missing"], &["b"]).await.unwrap();
    assert_eq!((answer.full, answer.revision, &answer.incarnation[..]), (true, 2, &session.incarnation[..]));
    assert_eq!(changed(&answer), [("a", Some(&int(0))), ("b", Some(&int(0)))]);
    assert_eq!(answer.absent, ["missing"]);
}

#[tokio::test]
async fn a_sync_tells_only_what_changed_and_new_names_in_full() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let known = session.integers(["a", "b", "c", "d"]).await.revision;
    session.write([set("b", int(1)), delete("c"), set("d", int(2))]).await;
    let answer = session.sync(known, &["a", "b", "c"], &["d", "e"]).await.unwrap();
    assert!(!answer.full);
    assert_eq!(changed(&answer), [("b", Some(&int(1))), ("d", Some(&int(2)))]);
    let mut absent = answer.absent;
    absent.sort();
    assert_eq!(absent, ["c", "e"]);
    let nothing = session.sync(answer.revision, &["a", "b"], &[]).await.unwrap();
    assert_eq!((nothing.revision, nothing.changed, nothing.absent), (answer.revision, vec![], vec![]));
}

#[tokio::test]
async fn a_name_deleted_and_declared_again_is_told_as_it_is() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let known = session.integers(["a"]).await.revision;
    session.write([delete("a")]).await;
    session.write([register("a", VariableType::Integer, int(7))]).await;
    let answer = session.sync(known, &["a"], &[]).await.unwrap();
    assert_eq!((changed(&answer), answer.absent.len()), (vec![("a", Some(&int(7)))], 0));
    assert_eq!(answer.changed[0].version, 3);
}

#[tokio::test]
async fn a_revision_from_the_future_is_refused() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["a"]).await;
    let refused = refused(session.sync(3, &["a"], &[]).await);
    assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "known_revision"));
    assert_eq!(refused.fact("revision"), "2");
}

#[tokio::test]
async fn an_illegal_name_is_refused_rather_than_absent() {
    let server = TestServer::start().await;
    let session = server.session().await;
    for (field, answer) in
        [("names", session.sync(0, &["a b"], &[]).await), ("new_names", session.sync(0, &[], &["a b"]).await)]
    {
        assert_eq!(refused(answer).fact("field"), field);
    }
}
