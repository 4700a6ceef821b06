use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::tool::call::{CallRecord, Scope};

/// The calls that ended last, by session and name.
pub(super) struct EndedCalls {
    max: usize,
    records: HashMap<(Scope, Arc<str>), CallRecord>,
    /// Their names, the oldest first.
    order: VecDeque<(Scope, Arc<str>)>,
}

impl EndedCalls {
    pub(super) fn up_to(max: usize) -> Self {
        Self { max, records: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, name: &(Scope, Arc<str>)) -> Option<&CallRecord> {
        self.records.get(name)
    }

    /// Remembers a call, whose name none of those has that are remembered.
    pub(super) fn insert(&mut self, name: (Scope, Arc<str>), record: CallRecord) {
        self.order.push_back(name.clone());
        self.records.insert(name, record);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.order.len(), self.records.len());
        self.order.len()
    }
}
