//! Makes the next state of an event.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{deletions::Deletions, log::Log, remembered::Remembered};
use crate::{
    config::Windows,
    session::{Body, Change, ChangeKind, End, Ended, Event, RecordKind, SessionId, Slot, State, VersionRecord},
    value::Value,
    variable::{Name, Spec, Variable},
};

/// What the id stands for after the event. Never refuses: an event that `decide` did not make of this slot is ignored
/// where it makes no sense. The old slot stays valid, and shares with the new one what did not change.
pub fn apply(id: &SessionId, slot: &Slot, event: &Arc<Event>, windows: &Windows) -> Slot {
    let how = match (&event.body, slot) {
        (Body::Created { ttl, metadata }, _) => {
            return Slot::Live(Arc::new(State::created(id, *ttl, metadata, event, windows)));
        }
        (Body::Written(changes), Slot::Live(state)) => {
            return Slot::Live(Arc::new(state.written(changes, event, windows)));
        }
        (Body::Written(_), Slot::Vacant | Slot::Ended(_)) => return slot.clone(),
        (Body::Deleted, _) => End::Deleted,
        (Body::Expired, _) => End::Expired,
    };
    let lived = event.lived.max(slot.last_lived().unwrap_or_default());
    Slot::Ended(Ended { position: event.position, at: event.time, lived, how })
}

impl State {
    fn created(
        id: &SessionId,
        ttl: Option<Duration>,
        metadata: &Arc<BTreeMap<String, String>>,
        event: &Arc<Event>,
        windows: &Windows,
    ) -> Self {
        let mut log = Log::default();
        log.push(event, windows);
        Self {
            id: id.clone(),
            incarnation: event.position.incarnation,
            revision: event.position.revision,
            created_at: event.time,
            ttl,
            metadata: Arc::clone(metadata),
            last_event: event.time,
            last_lived: event.lived,
            variables: imbl::OrdMap::new(),
            by_revision: imbl::OrdSet::new(),
            value_bytes: 0,
            described_bytes: 0,
            histories: imbl::OrdMap::new(),
            deletions: Deletions::default(),
            log,
            remembered: Remembered::default(),
        }
    }

    fn written(&self, changes: &[Change], event: &Arc<Event>, windows: &Windows) -> Self {
        let mut next = self.clone();
        next.revision = event.position.revision;
        next.last_event = event.time;
        // An older release writes none, and then it is the clock's.
        next.last_lived = self.last_lived.max(event.lived);
        next.log.push(event, windows);
        next.remembered.push(event, next.last_lived, windows);
        for change in changes {
            match &change.kind {
                ChangeKind::Registered { spec, value } => {
                    next.put(change, spec, value, RecordKind::Registered, event, windows);
                }
                ChangeKind::Set { value } => {
                    if let Some(spec) = next.variable(&change.name).map(|variable| Arc::clone(&variable.spec)) {
                        next.put(change, &spec, value, RecordKind::Set, event, windows);
                    }
                }
                ChangeKind::Deleted => next.delete(change, event, windows),
            }
        }
        next
    }

    fn put(
        &mut self,
        change: &Change,
        spec: &Arc<Spec>,
        value: &Value,
        kind: RecordKind,
        event: &Event,
        windows: &Windows,
    ) {
        self.remove(change);
        self.deletions.remove(&change.name);
        let variable = Arc::new(Variable {
            name: change.name.clone(),
            spec: Arc::clone(spec),
            value: value.clone(),
            version: change.version,
            registered: kind == RecordKind::Registered,
            revision: event.position.revision,
            updated_at: event.time,
            updated_by: event.author.clone(),
            reason: Arc::clone(&event.reason),
        });
        self.value_bytes += spec.counted(value);
        self.described_bytes += spec.described_len();
        self.by_revision.insert((variable.revision, variable.name.clone()));
        self.trim(&variable.name, Some(&variable), windows);
        self.variables.insert(variable.name.clone(), variable);
    }

    fn delete(&mut self, change: &Change, event: &Event, windows: &Windows) {
        let secret = self.variable(&change.name).is_some_and(|variable| variable.spec.secret);
        self.remove(change);
        let history = self.histories.entry(change.name.clone()).or_default();
        history.push(VersionRecord {
            version: change.version,
            revision: event.position.revision,
            kind: RecordKind::Deleted,
            value: None,
            secret,
            time: event.time,
            author: event.author.clone(),
            reason: Arc::clone(&event.reason),
        });
        history.trim(None, windows);
        let bytes = history.bytes();
        self.deletions.insert(&change.name, change.version, event.position.revision, bytes);
        self.shrink(windows);
    }

    /// Forgets deleted names beyond their window, and the past of deleted names beyond theirs, oldest deletion first.
    pub(super) fn shrink(&mut self, windows: &Windows) {
        while let Some(fallen) = self.deletions.forget(windows.deleted_names) {
            self.histories.remove(&fallen);
            self.deletions.shrunk = self.revision;
        }
        while let Some(name) = self.deletions.next_to_cut(windows.deleted_bytes) {
            let bytes = self.histories.get_mut(&name).map_or(0, |history| {
                history.cut();
                history.bytes()
            });
            self.deletions.cut(&name, bytes);
            self.deletions.shrunk = self.revision;
        }
    }

    /// Makes the variable a thing of the past, if it is there.
    fn remove(&mut self, change: &Change) {
        if let Some(before) = self.variables.remove(&change.name) {
            self.value_bytes -= before.spec.counted(&before.value);
            self.described_bytes -= before.spec.described_len();
            self.by_revision.remove(&(before.revision, before.name.clone()));
            self.histories.entry(before.name.clone()).or_default().push(VersionRecord::from(&*before));
        }
    }

    /// Drops what the windows drop of a name's history.
    pub(super) fn trim(&mut self, name: &Name, variable: Option<&Variable>, windows: &Windows) {
        let Some(history) = self.histories.get_mut(name) else { return };
        history.trim(variable, windows);
        if history.is_empty() {
            self.histories.remove(name);
        }
    }
}
