//! Committed writes by idempotency key, so that a repeat is answered as the original was.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::{
    config::Windows,
    session::{Event, Idempotency, Outcome, Written},
    value::Value,
    variable::Timestamp,
};

type Key = (Arc<str>, Arc<str>);

/// A committed write.
#[derive(Clone, Debug)]
pub(super) struct Original {
    key: Key,
    pub(super) fingerprint: [u8; 32],
    pub(super) written: Written,
    time: Timestamp,
}

impl Original {
    /// The bytes of the values it holds on to.
    fn bytes(&self) -> u64 {
        self.written.outcomes.iter().filter_map(|outcome| outcome.value.as_ref()).map(Value::encoded_len).sum()
    }

    fn without_values(&self) -> Self {
        let bare = |outcome: &Outcome| Outcome { value: None, ..outcome.clone() };
        let outcomes = self.written.outcomes.iter().map(bare).collect();
        Self { written: Written { outcomes, ..self.written }, ..self.clone() }
    }
}

/// The newest committed writes that had a key, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    writes: Vector<Arc<Original>>,
    /// By key, how many writes came before; less `dropped` that is an index into `writes`.
    by_key: OrdMap<Key, usize>,
    dropped: usize,
    /// The bytes of computed values among the writes; they are bounded like the event log, and then the oldest `bare`
    /// writes are remembered without their values: what matters is that they are not applied twice.
    bytes: u64,
    bare: usize,
}

impl Remembered {
    pub(super) fn find(&self, idempotency: &Idempotency) -> Option<&Original> {
        let key = (Arc::clone(&idempotency.client), Arc::clone(&idempotency.key));
        let index = self.by_key.get(&key)?.checked_sub(self.dropped)?;
        self.writes.get(index).map(|original| &**original)
    }

    pub(super) fn push(&mut self, event: &Event, windows: &Windows) {
        if let Some(idempotency) = &event.idempotency {
            let key = (Arc::clone(&idempotency.client), Arc::clone(&idempotency.key));
            self.by_key.insert(key.clone(), self.dropped + self.writes.len());
            let written = Written { position: event.position, outcomes: Arc::clone(&event.outcomes) };
            let original = Original { key, fingerprint: idempotency.fingerprint, written, time: event.time };
            self.bytes += original.bytes();
            self.writes.push_back(Arc::new(original));
        }
        self.trim(event.time, windows);
    }

    fn trim(&mut self, now: Timestamp, windows: &Windows) {
        while let Some(oldest) = self.writes.front()
            && (self.writes.len() > windows.idempotency_writes || now.since(oldest.time) > windows.idempotency_age)
        {
            // Under a greater window than the one it was decided under, a key can occur again; the newer one counts.
            if self.by_key.get(&oldest.key) == Some(&self.dropped) {
                self.by_key.remove(&oldest.key.clone());
            }
            self.bytes -= oldest.bytes();
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
