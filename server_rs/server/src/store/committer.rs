//! The bounded queue in front of a journal, and the task that empties it: written once for all homes. It takes what has
//! queued, has the home commit it as one group, and settles it. Its invariants, each proven in `tests/write_path.rs` with
//! homes that are slow and that fail:
//!
//! 1. *Durable, then visible, then answered.* A group is published only after its home has committed it, and each of
//!    its writers is answered only after that.
//! 2. *One swap per session and group.* Readers see the state before the group or after it.
//! 3. *A failed group takes everything queued behind it along.* The sessions concerned go back to what is published;
//!    a write that was decided on top of the failed one is recognised by its epoch and never reaches the home.
//! 4. *Order.* Events of one session reach the home in the order in which they were decided.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use snakepit_core::{
    error::Error,
    session::{Body, Event, Slot, State},
};
use tokio::sync::{mpsc, oneshot};

use snakepit_fault::injected;

use crate::{
    journal::{Append, CommitError, Durability, Events, Health, Home, Touch},
    metrics::{Fate, HomeMetrics, JournalMetrics, Tally, WriteMetrics},
    store::Handle,
};

/// How many decided events may wait for the home.
const QUEUE: usize = 1_024;
/// How much one group holds at the most.
const GROUP_EVENTS: usize = 512;
const GROUP_BYTES: u64 = 1024 * 1024;
/// How long what was answered stays invisible, where that fault is injected.
const LATE: Duration = Duration::from_millis(5);

/// A decided event in the queue.
pub(crate) struct Entry {
    pub(crate) handle: Arc<Handle>,
    /// The epoch of the session's pending state that the event was decided on.
    pub(crate) epoch: u64,
    /// How many events the session has seen with this one, over all its lives.
    pub(crate) serial: u64,
    pub(crate) event: Arc<Event>,
    /// What the event changes, to be counted.
    pub(crate) tally: Tally,
    /// When it was decided.
    pub(crate) decided: Instant,
    /// The session after the event.
    pub(crate) slot: Slot,
    /// Told once the event is published, or has failed. The writer may have gone.
    pub(crate) settled: oneshot::Sender<Result<(), Failure>>,
}

/// Why a decided event did not become visible.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    NotApplied(Arc<str>),
    Unknown(Arc<str>),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotApplied(cause) => Self::ServerReadOnly { cause },
            Failure::Unknown(cause) => Self::OutcomeUnknown { cause },
        }
    }
}

/// The bounded queue in front of a home. When the last clone is gone, what has queued is still committed.
#[derive(Clone)]
pub(crate) struct Journal {
    queue: mpsc::Sender<Entry>,
    asides: mpsc::Sender<Aside>,
    durability: Durability,
    health: Health,
    events: Option<Arc<dyn Events>>,
    metrics: Metrics,
}

/// What is counted of a journal and of what goes through it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) writes: WriteMetrics,
    pub(crate) journal: JournalMetrics,
    pub(crate) home: HomeMetrics,
}

/// What the home is told between two groups.
enum Aside {
    Touch(Vec<Touch>),
    Rest(Vec<Arc<State>>),
}

impl Journal {
    /// Starts the committer of `home`. Needs a tokio runtime.
    pub(crate) fn start<H: Home>(home: H) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        let (asides, told) = mpsc::channel(2);
        let (durability, health, events) = (home.durability(), home.health(), home.events());
        let metrics = Metrics { home: home.metrics(), ..Metrics::default() };
        let committer =
            Committer { home, entries, told, health: health.clone(), metrics: metrics.clone(), broken: None };
        tokio::spawn(committer.run());
        Self { queue, asides, durability, health, events, metrics }
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether the home can be written to at present.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// What is counted of it.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many events wait, or have a place to.
    pub(crate) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Whether nothing will ever be committed any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Has it saved when sessions were last used; says whether it will be.
    pub(crate) fn touch(&self, touches: Vec<Touch>) -> bool {
        touches.is_empty() || self.asides.try_send(Aside::Touch(touches)).is_ok()
    }

    /// Has it hold these states instead of those of the same revision; says whether it will.
    pub(crate) fn rest(&self, states: Vec<Arc<State>>) -> bool {
        states.is_empty() || self.asides.try_send(Aside::Rest(states)).is_ok()
    }

    /// Where events can be asked for that sessions do not hold.
    pub(crate) fn events(&self) -> Option<&Arc<dyn Events>> {
        self.events.as_ref()
    }

    /// Waits for a place in the queue, so that sending never waits.
    pub(crate) async fn reserve(&self) -> Result<mpsc::Permit<'_, Entry>, Error> {
        self.queue.reserve().await.map_err(|_| Error::ServerReadOnly { cause: "the journal has ended".into() })
    }
}

struct Committer<H> {
    home: H,
    entries: mpsc::Receiver<Entry>,
    told: mpsc::Receiver<Aside>,
    health: Health,
    metrics: Metrics,
    /// Why nothing can be committed any more.
    broken: Option<Arc<str>>,
}

impl<H: Home> Committer<H> {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let (group, stale) = self.drain(first);
            self.fail(stale, &Failure::NotApplied("an earlier write of the session failed".into()));
            if let Some(cause) = &self.broken {
                self.fail(group, &Failure::NotApplied(Arc::clone(cause)));
                continue;
            }
            if group.is_empty() {
                continue;
            }
            let appends: Vec<Append> = group
                .iter()
                .map(|entry| Append {
                    session: entry.handle.id().clone(),
                    event: Arc::clone(&entry.event),
                    after: entry.slot.clone(),
                })
                .collect();
            let begun = Instant::now();
            let outcome = self.home.commit(&appends).await;
            match outcome {
                Ok(()) => {
                    self.health.recovered();
                    self.count(&group, begun);
                    let states = newest_states(&group);
                    if injected!(AnswerBeforePublish) && !group.iter().any(begins) {
                        answer(group);
                        tokio::time::sleep(LATE).await;
                        publish(states);
                    } else {
                        publish(states);
                        answer(group);
                    }
                }
                Err(CommitError::NotApplied { cause }) => {
                    tracing::error!(%cause, "a group was not committed");
                    self.health.failed(&cause);
                    self.metrics.journal.not_applied();
                    let failure = Failure::NotApplied(cause.into());
                    self.fail(group, &failure);
                    let behind = self.behind();
                    self.fail(behind, &failure);
                }
                Err(CommitError::Unknown { cause }) => {
                    tracing::error!(%cause, "the outcome of a group is unknown; the server is read-only until restarted");
                    self.health.failed(&cause);
                    self.metrics.journal.unknown();
                    let cause: Arc<str> = cause.into();
                    self.fail(group, &Failure::Unknown(Arc::clone(&cause)));
                    let behind = self.behind();
                    self.fail(behind, &Failure::NotApplied(Arc::clone(&cause)));
                    self.broken = Some(cause);
                }
            }
        }
    }

    /// The next event, once there is one.
    async fn next(&mut self) -> Option<Entry> {
        loop {
            tokio::select! {
                biased;
                first = self.entries.recv() => return first,
                Some(aside) = self.told.recv() => match aside {
                    Aside::Touch(touches) => self.home.touch(touches),
                    Aside::Rest(states) => self.home.rest(states),
                },
            }
        }
    }

    /// What waits, up to a group's size; and apart from it, what was decided on a state that is no more. Only this
    /// task resets sessions, so an epoch checked here holds until the group is settled.
    fn drain(&mut self, first: Entry) -> (Vec<Entry>, Vec<Entry>) {
        let (mut group, mut stale) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(entry) = next {
            if entry.handle.epoch() == entry.epoch {
                bytes += entry.event.encoded_len();
                group.push(entry);
            } else {
                stale.push(entry);
            }
            let full = group.len() >= GROUP_EVENTS || bytes >= GROUP_BYTES;
            next = if full { None } else { self.entries.try_recv().ok() };
        }
        (group, stale)
    }

    /// Everything queued now; what comes later is decided on reset sessions, or stale.
    fn behind(&mut self) -> Vec<Entry> {
        (0..self.entries.len()).map_while(|_| self.entries.try_recv().ok()).collect()
    }

    /// Counts a group that is durable.
    fn count(&self, group: &[Entry], begun: Instant) {
        let bytes = group.iter().map(|entry| entry.event.encoded_len()).sum();
        self.metrics.journal.committed(group.len(), bytes, begun.elapsed());
        for entry in group {
            self.metrics.journal.waited(begun.saturating_duration_since(entry.decided));
            self.metrics.writes.committed(&entry.event.body, entry.tally);
        }
    }

    /// Takes the sessions back to what is published, then answers everyone.
    fn fail(&self, entries: Vec<Entry>, failure: &Failure) {
        let fate = match failure {
            Failure::NotApplied(_) => Fate::NotApplied,
            Failure::Unknown(_) => Fate::Unknown,
        };
        for entry in &entries {
            entry.handle.reset(entry.epoch);
        }
        for entry in entries {
            if let Body::Written(_) = entry.event.body {
                self.metrics.writes.ended(fate);
            }
            let _gone = entry.settled.send(Err(failure.clone()));
        }
    }
}

/// The last state of each session of a group, with how many events the session has then seen.
fn newest_states(group: &[Entry]) -> Vec<(Arc<Handle>, Slot, u64)> {
    let mut seen = HashSet::new();
    let newest = group.iter().rev().filter(|entry| seen.insert(Arc::as_ptr(&entry.handle)));
    newest.map(|entry| (Arc::clone(&entry.handle), entry.slot.clone(), entry.serial)).collect()
}

fn publish(states: Vec<(Arc<Handle>, Slot, u64)>) {
    for (handle, slot, serial) in states {
        handle.publish(slot, serial);
    }
}

fn answer(group: Vec<Entry>) {
    for entry in group {
        // A writer that has gone does not want to know.
        let _gone = entry.settled.send(Ok(()));
    }
}

/// Whether a session begins with it. One that is not there yet would be missed at once.
fn begins(entry: &Entry) -> bool {
    matches!(entry.event.body, Body::Created { .. })
}
