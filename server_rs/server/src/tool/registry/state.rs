use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use snakepit_core::variable::{Name, Timestamp};

use crate::tool::{
    breaker::Breaker,
    call::{Attempt, CallKey, DispatchKey, Request, Scope, ToolKey, WorkerKey},
    schema::Schema,
    spec::ToolSpec,
    stats::ToolStats,
};

/// What belongs to one scope, and what finds things in it.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) tools: BTreeMap<Name, ToolKey>,
    /// The connected workers by their names.
    pub(super) workers: HashMap<Arc<str>, WorkerKey>,
    /// The workers that take calls and have room, the least loaded first.
    pub(super) free: BTreeSet<Rank>,
    /// The tools for which calls wait, by the first of those calls.
    pub(super) hungry: BTreeSet<(CallKey, ToolKey)>,
}

/// How loaded a worker is, and when it was last given something.
pub(super) type Rank = (usize, u64, WorkerKey);

/// One tool of one scope. It outlives its workers for a while, for what their breakers and its figures remember.
pub(super) struct Entry {
    pub(super) key: ToolKey,
    pub(super) scope: Scope,
    pub(super) spec: Arc<ToolSpec>,
    pub(super) schema: Arc<Schema>,
    /// The workers that offer it and take calls.
    pub(super) offers: BTreeSet<WorkerKey>,
    /// The workers that offer it and are draining.
    pub(super) draining: BTreeSet<WorkerKey>,
    /// By the worker's name, so that one that connects again is recognised.
    pub(super) breakers: BTreeMap<Arc<str>, Breaker>,
    /// Its calls that have not ended.
    pub(super) calls: BTreeSet<CallKey>,
    /// How many dispatches of it workers have not answered.
    pub(super) dispatches: usize,
    /// Calls that wait for room, first come first served.
    pub(super) queue: BTreeSet<CallKey>,
    /// Calls that wait for any worker at all.
    pub(super) waiting: BTreeSet<CallKey>,
    pub(super) stats: ToolStats,
    /// Since when nobody offers it.
    pub(super) gone_since: Option<Timestamp>,
}

impl Entry {
    pub(super) fn is_in_use(&self) -> bool {
        !self.calls.is_empty() || self.dispatches > 0
    }
}

/// A connected worker.
pub(super) struct Worker {
    pub(super) id: Arc<str>,
    /// Its id and whose it is: see [`NewWorker::name`].
    pub(super) name: Arc<str>,
    pub(super) connection: Connection,
    pub(super) label: Arc<str>,
    pub(super) scope: Scope,
    /// How many dispatches it takes.
    pub(super) max: usize,
    pub(super) dispatches: BTreeSet<DispatchKey>,
    /// Of each tool, how many dispatches it has; none are left out.
    pub(super) running: BTreeMap<ToolKey, usize>,
    pub(super) offers: BTreeSet<ToolKey>,
    pub(super) draining: bool,
    /// When it was last given something, in dispatches.
    pub(super) used: u64,
}

impl Worker {
    pub(super) fn has_room(&self) -> bool {
        !self.draining && self.dispatches.len() < self.max
    }

    pub(super) fn running(&self, tool: ToolKey) -> usize {
        self.running.get(&tool).copied().unwrap_or_default()
    }

    /// Whether one of these attempts was its own.
    pub(super) fn is_among(&self, tried: &[Attempt]) -> bool {
        tried.iter().any(|attempt| attempt.worker == self.id)
    }

    pub(super) fn rank(&self, key: WorkerKey) -> Rank {
        (self.dispatches.len().saturating_mul(1_000_000) / self.max, self.used, key)
    }
}

/// A worker to be.
pub(crate) struct NewWorker {
    /// What it calls itself: without `/`.
    pub(crate) id: Arc<str>,
    /// The principal that it belongs to; none where everyone is the same.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) label: Arc<str>,
    pub(crate) scope: Scope,
    /// At least 1.
    pub(crate) max: usize,
    pub(crate) connection: Connection,
}

/// Which of a worker's streams this is. The default is one of a client that does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// The running program that opened it; empty if unknown.
    pub(crate) instance: Bytes,
    /// Higher than that of each stream which that program opened before; 0 if unknown.
    pub(crate) generation: u64,
}

impl Connection {
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        let numbered = self.generation > 0 && other.generation > 0;
        numbered && !self.instance.is_empty() && self.instance == other.instance && self.generation < other.generation
    }
}

impl NewWorker {
    /// What tells this worker from others. An id is known to whoever lists tools, so it is one among its owner's alone: nobody
    /// takes the place of another's worker, or opens its breakers.
    pub(super) fn name(&self) -> Arc<str> {
        self.owner.as_ref().map_or_else(|| Arc::clone(&self.id), |owner| format!("{owner}/{}", self.id).into())
    }
}

/// The id in such a name.
pub(super) fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
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
    pub(super) key: DispatchKey,
    /// Whose; `None` once nobody waits for it.
    pub(super) call: Option<CallKey>,
    pub(super) tool: ToolKey,
    pub(super) worker: WorkerKey,
    /// How many chunks it may still send.
    pub(super) credit: u32,
    pub(super) next_chunk: u64,
}
