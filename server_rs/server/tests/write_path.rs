//! Durable, then visible, then answered: the write path in front of homes that are slow and that fail.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use snakepit_core::{
    access::Principal,
    config::{Limits, Windows},
    error::Error,
    session::{Action, Create, Idempotency, Incarnation, Operation, SessionId, State, Write, Written},
    value::Value,
    variable::{Author, Constraints, Name, Spec, Type},
};
use snakepit_proto::Refusal;
use snakepit_server::{
    journal::{
        CommitError,
        testing::{Gate, gated},
    },
    store::Store,
};
use tokio::task::{JoinHandle, yield_now};

const ID: &str = "s";

fn id(name: &str) -> SessionId {
    SessionId::try_from(name).unwrap()
}

fn operation(action: Action, expected_version: Option<u64>) -> Operation {
    Operation { name: Name::try_from("n").unwrap(), expected_version, action }
}

fn write(operation: Operation) -> Write {
    Write { incarnation: None, operations: vec![operation], reason: "".into(), idempotency: None, encoded_len: 64 }
}

fn register() -> Operation {
    let spec = Spec::new(Type::Integer, Constraints::None);
    operation(Action::Register { spec: Arc::new(spec), value: Value::Int(0), replace: false }, None)
}

fn increment() -> Operation {
    operation(Action::Increment(Value::Int(1)), None)
}

fn set(value: i64, expected_version: Option<u64>) -> Operation {
    operation(Action::Set(Value::Int(value)), expected_version)
}

async fn send(store: &Store, session: &str, write: Write) -> Result<Written, Refusal> {
    let author = Author { name: "test".into(), verified: false };
    store.write(&id(session), write, author, &Principal::anonymous()).await
}

/// Starts a write and lets it get as far as it can without the home.
async fn start(store: &Store, session: &'static str, write: Write) -> JoinHandle<Result<Written, Refusal>> {
    let store = store.clone();
    let task = tokio::spawn(async move { send(&store, session, write).await });
    for _ in 0..8 {
        yield_now().await;
    }
    task
}

async fn state(store: &Store, session: &str) -> Arc<State> {
    store.session(&id(session), None).await.unwrap().state
}

async fn number(store: &Store, session: &str) -> i64 {
    let value = &state(store, session).await.variable("n").unwrap().value.clone();
    if let Value::Int(number) = value { *number } else { panic!("{value:?}") }
}

/// A store whose sessions each hold the integer `n` = 0, at revision 2.
async fn prepared(sessions: &[&str]) -> (Store, Gate) {
    let (home, mut gate) = gated();
    let store = Store::new(home, Limits::default(), Windows::default());
    for name in sessions {
        let create = Create { incarnation: Incarnation([7; 16]), ttl: None, metadata: BTreeMap::default() };
        let principal = Principal::anonymous();
        let (created, ()) = tokio::join!(store.create(id(name), create, &principal), async {
            gate.recv().await.unwrap().settle(Ok(()));
        });
        assert!(created.unwrap().1);
        let (registered, ()) = tokio::join!(send(&store, name, write(register())), async {
            gate.recv().await.unwrap().settle(Ok(()));
        });
        assert_eq!(registered.unwrap().position.revision, 2);
    }
    (store, gate)
}

fn full() -> CommitError {
    CommitError::NotApplied { cause: "disk full".into() }
}

fn unknown() -> CommitError {
    CommitError::Unknown { cause: "fsync failed".into() }
}

#[tokio::test]
async fn nobody_sees_what_is_not_durable_and_who_was_answered_finds_it() {
    let (store, mut gate) = prepared(&[ID]).await;
    let writer = start(&store, ID, write(increment())).await;
    let group = gate.recv().await.unwrap();
    assert_eq!(group.appends.len(), 1);
    assert!(!writer.is_finished());
    assert_eq!(number(&store, ID).await, 0);
    group.settle(Ok(()));
    assert_eq!(writer.await.unwrap().unwrap().position.revision, 3);
    assert_eq!(number(&store, ID).await, 1);
}

#[tokio::test]
async fn a_refusal_computed_from_pending_state_waits_for_it_and_carries_its_revision() {
    let (store, mut gate) = prepared(&[ID]).await;
    let first = start(&store, ID, write(set(5, Some(1)))).await;
    let second = start(&store, ID, write(set(6, Some(1)))).await;
    assert!(!second.is_finished());
    gate.recv().await.unwrap().settle(Ok(()));
    assert!(first.await.unwrap().is_ok());
    let refusal = second.await.unwrap().unwrap_err();
    assert_eq!(refusal.error, Error::VersionConflict { variable: "n".into(), expected: 1, actual: 2 });
    assert_eq!(refusal.position.unwrap().revision, 3);
}

#[tokio::test]
async fn a_refusal_computed_from_state_that_failed_is_decided_again() {
    let (store, mut gate) = prepared(&[ID]).await;
    let first = start(&store, ID, write(set(5, Some(1)))).await;
    let second = start(&store, ID, write(set(6, Some(1)))).await;
    gate.recv().await.unwrap().settle(Err(full()));
    assert_eq!(first.await.unwrap().unwrap_err().error, Error::ServerReadOnly { cause: "disk full".into() });
    gate.recv().await.unwrap().settle(Ok(()));
    assert_eq!(second.await.unwrap().unwrap().outcomes[0].version, 2);
    assert_eq!(number(&store, ID).await, 6);
}

#[tokio::test]
async fn a_no_op_computed_from_pending_state_waits_for_it() {
    let (store, mut gate) = prepared(&[ID]).await;
    let _first = start(&store, ID, write(set(5, None))).await;
    let second = start(&store, ID, write(set(5, None))).await;
    assert!(!second.is_finished());
    gate.recv().await.unwrap().settle(Ok(()));
    let written = second.await.unwrap().unwrap();
    assert_eq!((written.position.revision, written.outcomes[0].changed), (3, false));
}

#[tokio::test]
async fn a_failed_group_takes_everything_queued_behind_it_along() {
    let (store, mut gate) = prepared(&[ID, "other"]).await;
    let failed = start(&store, ID, write(increment())).await;
    let group = gate.recv().await.unwrap();
    let on_top = start(&store, ID, write(increment())).await;
    let elsewhere = start(&store, "other", write(increment())).await;
    group.settle(Err(full()));
    for task in [failed, on_top, elsewhere] {
        assert!(matches!(task.await.unwrap().unwrap_err().error, Error::ServerReadOnly { .. }));
    }
    assert_eq!((number(&store, ID).await, number(&store, "other").await), (0, 0));
    let again = start(&store, ID, write(increment())).await;
    gate.recv().await.unwrap().settle(Ok(()));
    assert_eq!(again.await.unwrap().unwrap().position.revision, 3);
}

#[tokio::test]
async fn an_unknown_outcome_is_said_once_and_nothing_is_written_after_it() {
    let (store, mut gate) = prepared(&[ID]).await;
    let lost = start(&store, ID, write(increment())).await;
    let group = gate.recv().await.unwrap();
    let behind = start(&store, ID, write(increment())).await;
    group.settle(Err(unknown()));
    assert_eq!(lost.await.unwrap().unwrap_err().error, Error::OutcomeUnknown { cause: "fsync failed".into() });
    let read_only = Error::ServerReadOnly { cause: "fsync failed".into() };
    assert_eq!(behind.await.unwrap().unwrap_err().error, read_only);
    assert_eq!(send(&store, ID, write(increment())).await.unwrap_err().error, read_only);
    assert_eq!(number(&store, ID).await, 0, "reads go on");
    assert!(send(&store, ID, write(set(0, None))).await.is_ok(), "a write that changes nothing needs no journal");
}

#[tokio::test]
async fn dropping_a_write_that_was_sent_drops_only_its_answer() {
    let (store, mut gate) = prepared(&[ID]).await;
    let writer = start(&store, ID, write(increment())).await;
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    gate.recv().await.unwrap().settle(Ok(()));
    let after = start(&store, ID, write(increment())).await;
    gate.recv().await.unwrap().settle(Ok(()));
    assert_eq!(after.await.unwrap().unwrap().position.revision, 4);
    assert_eq!(number(&store, ID).await, 2);
}

#[tokio::test]
async fn what_waits_is_committed_as_one_group_and_published_in_one_swap() {
    let (store, mut gate) = prepared(&[ID]).await;
    let mut watcher = store.watch(&id(ID)).await.unwrap();
    assert_eq!(watcher.current().unwrap().revision, 2);
    let first = start(&store, ID, write(increment())).await;
    let group = gate.recv().await.unwrap();
    let second = start(&store, ID, write(increment())).await;
    let third = start(&store, ID, write(increment())).await;
    group.settle(Ok(()));
    let group = gate.recv().await.unwrap();
    assert_eq!(group.appends.len(), 2);
    watcher.changed().await;
    assert_eq!(watcher.current().unwrap().revision, 3);
    group.settle(Ok(()));
    watcher.changed().await;
    assert_eq!(watcher.current().unwrap().revision, 5);
    for task in [first, second, third] {
        assert!(task.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_repeat_of_a_pending_write_waits_for_it_and_gets_its_answer() {
    let (store, mut gate) = prepared(&[ID]).await;
    let keyed = || Write {
        idempotency: Some(Idempotency { client: "c".into(), key: "1".into(), fingerprint: [1; 32] }),
        ..write(increment())
    };
    let first = start(&store, ID, keyed()).await;
    let repeat = start(&store, ID, keyed()).await;
    assert!(!repeat.is_finished());
    gate.recv().await.unwrap().settle(Ok(()));
    assert_eq!(first.await.unwrap().unwrap(), repeat.await.unwrap().unwrap());
    assert_eq!(number(&store, ID).await, 1);
}

/// Eight writers on two sessions, some writes failing: what was acknowledged is there, once; what was refused is not;
/// the acknowledged revisions are dense; and whoever is answered finds the answer published.
async fn history(outcomes: Vec<bool>, count: usize) {
    let sessions = [ID, "other"];
    let (store, mut gate) = prepared(&sessions).await;
    let home = tokio::spawn(async move {
        let mut outcomes = outcomes.into_iter().cycle();
        while let Some(group) = gate.recv().await {
            yield_now().await;
            group.settle(if outcomes.next().unwrap_or(true) { Ok(()) } else { Err(full()) });
        }
    });
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, session) = (store.clone(), sessions[writer % 2]);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for _ in 0..count {
                    match send(&store, session, write(increment())).await {
                        Ok(written) => {
                            let published = state(&store, session).await.revision;
                            assert!(published >= written.position.revision);
                            acknowledged.push(written.position.revision);
                        }
                        Err(refusal) => assert!(matches!(refusal.error, Error::ServerReadOnly { .. })),
                    }
                }
                (session, acknowledged)
            })
        })
        .collect();
    let mut acknowledged = [Vec::new(), Vec::new()];
    for writer in writers {
        let (session, revisions) = writer.await.unwrap();
        acknowledged[usize::from(session != ID)].extend(revisions);
    }
    for (session, mut revisions) in sessions.into_iter().zip(acknowledged) {
        revisions.sort_unstable();
        let last = state(&store, session).await.revision;
        assert_eq!(revisions, (3..=last).collect::<Vec<_>>());
        assert_eq!(number(&store, session).await, i64::try_from(revisions.len()).unwrap());
    }
    drop(store);
    home.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_writes_are_kept_once_and_refused_ones_never(
        outcomes in prop::collection::vec(prop::bool::weighted(0.7), 1..40),
        writes in 1_usize..20,
        threads in 1_usize..3,
    ) {
        let outcomes = if outcomes.contains(&true) { outcomes } else { vec![true] };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap();
        runtime.block_on(history(outcomes, writes));
    }
}
