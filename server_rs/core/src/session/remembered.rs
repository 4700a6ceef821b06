//! Committed writes by idempotency key, so that a repeat is answered as the original was.
//!
//! **Invariant.** A write is forgotten only after [`Windows::idempotency_age`] of *lived* time, or when that many newer ones
//! have come: not because the wall clock was set forward, nor because there was no server, or it was stopped, meanwhile.
//! What is forgotten follows from the events alone, each of which says the time that was lived until then, so every
//! replay of them, here or elsewhere, forgets the same.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::{
    config::Windows,
    session::{Event, Idempotency, Outcome},
    value::{Value, in_steps},
    variable::Timestamp,
};

type Key = (Arc<str>, Arc<str>);

/// Up to so many writes are looked through.
const FEW: usize = 8;

/// A committed write that had a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// What tells its repeats.
    pub idempotency: Idempotency,
    /// The session's revision after it.
    pub revision: u64,
    /// What it was answered.
    pub outcomes: Arc<[Outcome]>,
    /// When.
    pub time: Timestamp,
    /// The time that was lived until then.
    pub lived: Timestamp,
}

impl Original {
    /// The write that an event is of.
    pub fn of(event: &Event, idempotency: &Idempotency) -> Self {
        Self {
            idempotency: idempotency.clone(),
            revision: event.position.revision,
            outcomes: Arc::clone(&event.outcomes),
            time: event.time,
            lived: event.lived,
        }
    }

    /// The bytes of the values it holds on to, in steps: one may be a secret's.
    fn bytes(&self) -> u64 {
        in_steps(self.outcomes.iter().filter_map(|outcome| outcome.value.as_deref()).map(Value::encoded_len).sum())
    }

    fn without_values(&self) -> Self {
        let bare = |outcome: &Outcome| Outcome { value: None, ..outcome.clone() };
        Self { outcomes: self.outcomes.iter().map(bare).collect(), ..self.clone() }
    }

    fn key(&self) -> Key {
        (Arc::clone(&self.idempotency.client), Arc::clone(&self.idempotency.key))
    }
}

/// The newest committed writes that had a key, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    writes: Vector<Arc<Original>>,
    /// By key, how many writes came before; less `dropped` that is an index into `writes`. Empty while the writes are
    /// few: most sessions have but a few, and are many.
    by_key: OrdMap<Key, usize>,
    dropped: usize,
    /// The bytes of computed values among the writes; they are bounded like the event log, and then the oldest `bare`
    /// writes are remembered without their values: what matters is that they are not applied twice.
    bytes: u64,
    bare: usize,
}

impl Remembered {
    pub(super) fn find(&self, idempotency: &Idempotency) -> Option<&Original> {
        if self.by_key.is_empty() {
            let same = |it: &Idempotency| it.client == idempotency.client && it.key == idempotency.key;
            return self.writes.iter().rev().find(|original| same(&original.idempotency)).map(|original| &**original);
        }
        let key = (Arc::clone(&idempotency.client), Arc::clone(&idempotency.key));
        let index = self.by_key.get(&key)?.checked_sub(self.dropped)?;
        self.writes.get(index).map(|original| &**original)
    }

    pub(super) fn push(&mut self, event: &Event, lived: Timestamp, windows: &Windows) {
        if let Some(idempotency) = &event.idempotency {
            self.remember(Original::of(event, idempotency));
        }
        self.trim(lived, windows);
    }

    /// The same writes under these windows, when so much time was lived.
    pub(super) fn restore(writes: impl IntoIterator<Item = Original>, lived: Timestamp, windows: &Windows) -> Self {
        let mut remembered = Self::default();
        writes.into_iter().for_each(|original| remembered.remember(original));
        remembered.trim(lived, windows);
        remembered
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Original>> {
        self.writes.iter()
    }

    fn remember(&mut self, original: Original) {
        if self.by_key.is_empty() && self.writes.len() == FEW {
            let keys = self.writes.iter().enumerate().map(|(index, write)| (write.key(), self.dropped + index));
            self.by_key = keys.collect();
        }
        if self.writes.len() >= FEW || !self.by_key.is_empty() {
            self.by_key.insert(original.key(), self.dropped + self.writes.len());
        }
        self.bytes += original.bytes();
        self.writes.push_back(Arc::new(original));
    }

    fn trim(&mut self, lived: Timestamp, windows: &Windows) {
        while let Some(oldest) = self.writes.front()
            && (self.writes.len() > windows.idempotency_writes || lived.since(oldest.lived) > windows.idempotency_age)
        {
            // Under a greater window than the one it was decided under, a key can occur again; the newer one counts.
            let (key, bytes) = (oldest.key(), oldest.bytes());
            if self.by_key.get(&key) == Some(&self.dropped) {
                self.by_key.remove(&key);
            }
            self.bytes -= bytes;
            self.writes.pop_front();
            self.dropped += 1;
            self.bare = self.bare.saturating_sub(1);
        }
        while self.bytes > windows.log_bytes
            && let Some(original) = self.writes.get(self.bare)
        {
            let bare = Arc::new(original.without_values());
            self.bytes -= original.bytes();
            self.writes.set(self.bare, bare);
            self.bare += 1;
        }
    }
}
