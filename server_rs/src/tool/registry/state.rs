use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    tool::{
        breaker::Breaker,
        call::{Attempt, CallKey, CallRecord, DispatchKey, Request, Scope, ToolKey, WorkerKey},
        schema::Schema,
        spec::ToolSpec,
        stats::ToolStats,
    },
    variable::Timestamp,
};

/// One tool of one scope. It outlives its workers for a while, for what their breakers and its figures remember.
pub(super) struct Entry {
    pub(super) key: ToolKey,
    pub(super) scope: Scope,
    pub(super) spec: Arc<ToolSpec>,
    pub(super) schema: Arc<Schema>,
    /// The workers that are connected and offer it, draining ones included.
    pub(super) offers: Vec<WorkerKey>,
    /// By the worker's own name, so that one that connects again is recognised. Closed ones are left out.
    pub(super) breakers: BTreeMap<Arc<str>, Breaker>,
    /// Calls that wait for room, first come first served.
    pub(super) queue: BTreeSet<CallKey>,
    /// Calls that wait for any worker at all.
    pub(super) waiting: BTreeSet<CallKey>,
    pub(super) stats: ToolStats,
    /// Since when nobody offers it.
    pub(super) gone_since: Option<Timestamp>,
}

/// A connected worker.
pub(super) struct Worker {
    pub(super) id: Arc<str>,
    pub(super) label: Arc<str>,
    pub(super) scope: Scope,
    /// How many dispatches it takes.
    pub(super) max: usize,
    pub(super) dispatches: HashSet<DispatchKey>,
    /// What it offers, and how many dispatches it has of each.
    pub(super) tools: HashMap<ToolKey, usize>,
    pub(super) draining: bool,
    /// When it was last given something, in dispatches.
    pub(super) used: u64,
}

/// A worker to be.
pub(crate) struct NewWorker {
    pub(crate) id: Arc<str>,
    pub(crate) label: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) max: usize,
}

/// A call that has not ended.
pub(super) struct Call {
    pub(super) id: Arc<str>,
    pub(super) home: Scope,
    pub(super) tool: ToolKey,
    /// As it was when the arguments were checked.
    pub(super) spec: Arc<ToolSpec>,
    pub(super) request: Arc<Request>,
    pub(super) accepted: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) attempts: Vec<Attempt>,
    pub(super) stage: Stage,
    /// Whether a chunk was told, after which no other attempt can take its place.
    pub(super) chunked: bool,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Room at some worker.
    Queued,
    /// The end of a pause before its next attempt.
    Backoff,
    /// Any worker at all.
    Waiting,
    /// The end of its attempt.
    Running(DispatchKey),
}

/// An attempt that its worker has not answered.
pub(super) struct Dispatch {
    /// Whose; `None` once nobody waits for it.
    pub(super) call: Option<CallKey>,
    pub(super) tool: ToolKey,
    pub(super) worker: WorkerKey,
    /// How many chunks it may still send.
    pub(super) credit: u32,
    pub(super) next_chunk: u64,
}

/// The calls that ended last, by name.
pub(super) struct EndedCalls {
    max: usize,
    records: HashMap<(Scope, Arc<str>), CallRecord>,
    order: VecDeque<(Scope, Arc<str>)>,
}

impl EndedCalls {
    pub(super) fn up_to(max: usize) -> Self {
        Self { max, records: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, name: &(Scope, Arc<str>)) -> Option<&CallRecord> {
        self.records.get(name)
    }

    pub(super) fn insert(&mut self, name: (Scope, Arc<str>), record: CallRecord) {
        self.order.push_back(name.clone());
        self.records.insert(name, record);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }
}
