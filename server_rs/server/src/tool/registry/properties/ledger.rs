//! What has been said and told so far, and what follows from it by the rules of `tool.proto`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use snakepit_core::variable::Timestamp;

use super::{
    breakers::{Breaker, Seen},
    steps::policy,
};
use crate::tool::{
    breaker::BreakerPolicy,
    call::{CallKey, CallState, DispatchKey, Scope, WorkerKey},
    spec::ToolSpec,
};

pub(super) type ToolId = (Scope, String);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) now: Timestamp,
    /// Those that are connected.
    pub(super) workers: BTreeMap<WorkerKey, Worker>,
    pub(super) tools: BTreeMap<ToolId, Tool>,
    pub(super) calls: BTreeMap<CallKey, Call>,
    pub(super) dispatches: BTreeMap<DispatchKey, Dispatch>,
    pub(super) breakers: BTreeMap<(ToolId, Arc<str>), Breaker>,
    pub(super) editions: u64,
    /// What this step has to bring beside what is due to calls.
    pub(super) due: Vec<Due>,
    /// Whether this step gives one worker what it has room for, and so keeps the order among its tools.
    pub(super) fills: bool,
    /// Whether this step forgets a session.
    pub(super) forgets: bool,
    /// Whether this step ended a call.
    pub(super) ends: bool,
    /// The calls that have ended, in that order.
    pub(super) ended: Vec<CallKey>,
    /// What has come up so far, and how often.
    pub(super) reached: BTreeMap<String, u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Cancel(DispatchKey),
    Credit(DispatchKey, u32),
    Chunk(CallKey),
    Drained(WorkerKey),
    Replaced(WorkerKey),
    Wake(Timestamp),
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) scope: Scope,
    pub(super) id: Arc<str>,
    pub(super) max: usize,
    pub(super) offers: BTreeSet<String>,
    pub(super) draining: bool,
}

#[derive(Debug)]
pub(super) struct Tool {
    pub(super) spec: ToolSpec,
    /// Rises when the spec changes.
    pub(super) edition: u64,
    pub(super) gone_since: Option<Timestamp>,
    pub(super) calls: u64,
    pub(super) ends: BTreeMap<&'static str, u64>,
    pub(super) retries: u64,
    pub(super) late: u64,
    pub(super) refused: u64,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) home: Scope,
    pub(super) id: Arc<str>,
    pub(super) tool: ToolId,
    pub(super) spec: ToolSpec,
    pub(super) edition: u64,
    pub(super) chunks: bool,
    pub(super) accepted: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) attempts: Vec<DispatchKey>,
    pub(super) stage: Stage,
    pub(super) chunked: bool,
    pub(super) unread: u32,
    /// Whether it was told to give up after a while.
    pub(super) gives_up: bool,
    /// What this step has to bring it.
    pub(super) due: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for somebody with room.
    Waits,
    Backoff,
    Runs(DispatchKey),
    Ended(CallState),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Backoff,
    End(CallState),
}

#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) call: CallKey,
    pub(super) tool: ToolId,
    pub(super) worker: WorkerKey,
    pub(super) worker_id: Arc<str>,
    pub(super) at: Timestamp,
    /// Neither answered nor gone with its worker.
    pub(super) open: bool,
    /// Nobody waits for it any more.
    pub(super) cancelled: bool,
    pub(super) credit: u32,
    pub(super) chunks: u64,
}

impl Call {
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }
}

impl Ledger {
    pub(super) fn policy() -> BreakerPolicy {
        policy().breaker
    }

    pub(super) fn reach(&mut self, what: &str) {
        *self.reached.entry(what.to_owned()).or_default() += 1;
    }

    /// The tool that a name means to a session.
    pub(super) fn find(&self, home: &Scope, name: &str) -> Option<ToolId> {
        let tools = [home, &Scope::Global].map(|scope| (scope.clone(), name.to_owned()));
        tools.into_iter().find(|tool| self.offering(tool).any(|(_, worker)| !worker.draining))
    }

    pub(super) fn offering(&self, tool: &ToolId) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        let offers = |(_, worker): &(&WorkerKey, &Worker)| worker.scope == tool.0 && worker.offers.contains(&tool.1);
        self.workers.iter().filter(offers).map(|(key, worker)| (*key, worker))
    }

    pub(super) fn waiting(&self, tool: &ToolId) -> impl Iterator<Item = CallKey> {
        let waits = |(_, call): &(&CallKey, &Call)| call.tool == *tool && call.stage == Stage::Waits;
        self.calls.iter().filter(waits).map(|(key, _)| *key)
    }

    /// How many dispatches a worker has, in all and of a tool.
    pub(super) fn load(&self, worker: WorkerKey, tool: &ToolId) -> (usize, usize) {
        let open = || self.dispatches.values().filter(|it| it.open && it.worker == worker);
        (open().count(), open().filter(|it| it.tool == *tool).count())
    }

    pub(super) fn seen(&self, tool: &ToolId, worker: &Arc<str>) -> Seen {
        let breaker = self.breakers.get(&(tool.clone(), Arc::clone(worker)));
        breaker.map_or(Seen::Closed, |breaker| breaker.seen(self.now))
    }

    /// Whether anybody takes calls of the tool, now or when there is room.
    pub(super) fn is_anybody_there(&self, tool: &ToolId) -> bool {
        self.offering(tool).any(|(_, worker)| !worker.draining && self.seen(tool, &worker.id) != Seen::Open)
    }

    /// Who can be given a call of the tool now.
    pub(super) fn able(&self, tool: &ToolId) -> Vec<WorkerKey> {
        let most = self.tools.get(tool).and_then(|tool| tool.spec.max_concurrency).unwrap_or(u32::MAX) as usize;
        let able = |(key, worker): &(WorkerKey, &Worker)| {
            let (all, of_tool) = self.load(*key, tool);
            let breaker = self.breakers.get(&(tool.clone(), Arc::clone(&worker.id)));
            let lets_through = breaker.is_none_or(|breaker| breaker.lets_through(self.now));
            !worker.draining && all < worker.max && of_tool < most && lets_through
        };
        self.offering(tool).filter(able).map(|(key, _)| key).collect()
    }

    pub(super) fn is_in_use(&self, tool: &ToolId) -> bool {
        self.calls.values().any(|call| call.tool == *tool && !call.is_ended())
            || self.dispatches.values().any(|dispatch| dispatch.open && dispatch.tool == *tool)
    }

    pub(super) fn forget_tool(&mut self, tool: &ToolId) {
        self.tools.remove(tool);
        self.breakers.retain(|(of, _), _| of != tool);
    }

    /// Of a tool that nobody offers any more, notes since when.
    pub(super) fn note_gone(&mut self) {
        let gone: Vec<_> = self.tools.keys().filter(|tool| self.offering(tool).next().is_none()).cloned().collect();
        for (id, tool) in &mut self.tools {
            tool.gone_since = gone.contains(id).then(|| tool.gone_since.unwrap_or(self.now));
        }
    }
}
