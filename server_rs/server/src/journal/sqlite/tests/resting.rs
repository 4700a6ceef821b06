//! What a session does not hold in memory is asked of the journal.

use std::{sync::Arc, time::Duration};

use snakepit_core::{
    access::Principal,
    config::Limits,
    error::Error,
    session::{Action, Behind, Create, Idempotency, Incarnation, Operation, SessionId, State, Write, Written},
    value::Value,
    variable::{Author, Constraints, Name, Spec, Type},
};
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::store::Store;

struct Scene {
    store: Store,
    id: SessionId,
}

impl Scene {
    /// A session with an integer, on a journal in this directory.
    async fn begin(directory: &std::path::Path) -> Self {
        Self::on(Disk::open(directory, &Windows::default()).unwrap(), Windows::default()).await
    }

    async fn on(home: impl Home, windows: Windows) -> Self {
        let store = Store::new(home, Limits::default(), windows);
        let id = SessionId::try_from("s").unwrap();
        let create =
            Create { incarnation: Incarnation([7; 16]), ttl: None, metadata: std::collections::BTreeMap::default() };
        store.create(id.clone(), create, &Principal::anonymous()).await.unwrap();
        let scene = Self { store, id };
        let spec = Arc::new(Spec::new(Type::Integer, Constraints::None));
        scene.act("0", Action::Register { spec, value: Value::Int(0), replace: false }).await;
        scene
    }

    /// One operation on it under this idempotency key.
    async fn act(&self, key: &str, action: Action) -> Written {
        let operation = Operation { name: Name::try_from("n").unwrap(), expected_version: None, action };
        let idempotency = Idempotency { client: "c".into(), key: key.into(), fingerprint: [0; 32] };
        let write = Write {
            incarnation: None,
            operations: vec![operation],
            reason: "".into(),
            idempotency: Some(idempotency),
            encoded_len: 64,
        };
        let author = Author { name: "test".into(), verified: false };
        self.store.write(&self.id, write, author, &Principal::anonymous()).await.unwrap()
    }

    async fn state(&self) -> Arc<State> {
        self.store.session(&self.id, None).await.unwrap().state
    }

    /// The revisions that a watch is given after this one, as far as they are not held.
    async fn read_after(&self, mut revision: u64) -> Vec<u64> {
        let mut watcher = self.store.watch(&self.id).await.unwrap();
        let (state, mut read) = (watcher.current().unwrap(), Vec::new());
        while state.log_since(revision).is_err() {
            let events = watcher.events_after(&state, revision).await.unwrap();
            read.extend(events.iter().map(|event| event.position.revision));
            revision = *read.last().unwrap();
        }
        read
    }
}

#[tokio::test]
async fn a_session_holds_its_newest_events_and_the_journal_has_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::begin(directory.path()).await;
    let most = Windows::HELD_EVENTS;
    for n in 0..2 * most {
        scene.act(&format!("w{n}"), Action::Increment(Value::Int(1))).await;
    }
    let state = scene.state().await;
    assert_eq!(state.log_since(state.revision - most as u64).unwrap().count(), most);
    assert_eq!(state.log_since(state.revision - most as u64 - 1).map(drop), Err(Behind::Unheld));
    let read = scene.read_after(0).await;
    assert!(read.len() >= most && read.iter().copied().eq(1..=read.len() as u64), "{read:?}");
}

#[tokio::test]
async fn a_session_that_nobody_writes_lets_its_events_go_and_answers_as_before() {
    // Tokio would let time pass while the journal's thread works; a blocking task keeps it from that.
    let (thaw, thawed) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || thawed.recv());
    tokio::time::pause();
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::begin(directory.path()).await;
    let first = scene.act("once", Action::Increment(Value::Int(1))).await;
    scene.store.sweep().await;
    assert!(scene.state().await.log_since(0).is_ok(), "it was used just now");

    // A jump would be a suspension, which does not count.
    for _ in 0..44 {
        tokio::time::advance(Duration::from_millis(250)).await;
        scene.store.sweep().await;
    }
    let rested = scene.state().await;
    assert_eq!(rested.log_since(0).map(drop), Err(Behind::Unheld));
    assert_eq!(rested.log_since(3).unwrap().count(), 0);
    assert_eq!(scene.read_after(0).await, [1, 2, 3]);
    assert_eq!(scene.act("once", Action::Increment(Value::Int(1))).await, first, "a repeat is still known");
    assert_eq!(scene.act("twice", Action::Increment(Value::Int(1))).await.position.revision, 4);
    assert_eq!(scene.read_after(1).await, [2, 3, 4]);
    assert_eq!(scene.state().await.log_since(3).unwrap().count(), 1, "the newest is held");
    drop(thaw);
}

#[tokio::test]
async fn events_that_cannot_be_read_are_told_as_no_longer_kept() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::begin(directory.path()).await;
    for n in 0..Windows::HELD_EVENTS {
        scene.act(&format!("w{n}"), Action::Increment(Value::Int(1))).await;
    }
    let spoil = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    spoil.execute("UPDATE events SET crc = crc + 1 WHERE revision = 2", []).unwrap();
    let mut watcher = scene.store.watch(&scene.id).await.unwrap();
    let state = watcher.current().unwrap();
    let lost = watcher.events_after(&state, 1).await.unwrap_err();
    assert_eq!(lost.error, Error::Compacted { oldest: 3 });
    assert_eq!(lost.position, Some(state.position()));
}

/// A disk whose groups are published only when the test lets them.
struct Withheld {
    disk: Disk,
    committed: Arc<Notify>,
    publish: Arc<Semaphore>,
}

impl Home for Withheld {
    fn durability(&self) -> Durability {
        self.disk.durability()
    }

    fn events(&self) -> Option<Arc<dyn Events>> {
        self.disk.events()
    }

    async fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        self.disk.commit(group).await?;
        self.committed.notify_one();
        self.publish.acquire().await.unwrap().forget();
        Ok(())
    }
}

#[tokio::test]
async fn what_is_committed_and_not_yet_published_is_given_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (committed, publish) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(3)));
    let disk = Disk::open(directory.path(), &Windows::default()).unwrap();
    let home = Withheld { disk, committed: Arc::clone(&committed), publish: Arc::clone(&publish) };
    let scene = Scene::on(home, Windows { held_events: 1, ..Windows::default() }).await;
    scene.act("w", Action::Increment(Value::Int(1))).await;
    for _ in 0..3 {
        // Leaves no notice of the groups before.
        let _old = tokio::time::timeout(Duration::ZERO, committed.notified()).await;
    }
    let unpublished = scene.act("x", Action::Increment(Value::Int(1)));
    let watch = async {
        committed.notified().await;
        let mut watcher = scene.store.watch(&scene.id).await.unwrap();
        let state = watcher.current().unwrap();
        let events = watcher.events_after(&state, 1).await.unwrap();
        publish.add_permits(1);
        (state.revision, events.iter().map(|event| event.position.revision).collect::<Vec<_>>())
    };
    let (written, seen) = tokio::join!(unpublished, watch);
    assert_eq!((written.position.revision, seen), (4, (3, vec![2, 3])));
}
