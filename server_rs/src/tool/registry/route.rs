use std::sync::Arc;

use super::{
    CHUNK_CREDIT, Effect, Order, Registry,
    state::{Dispatch, Entry, Stage},
};
use crate::{
    tool::{
        breaker::Admits,
        call::{Attempt, CallKey, CallState, DispatchKey, ToolKey, WorkerKey},
    },
    variable::Timestamp,
};

/// Where a call can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this worker, now.
    Worker(WorkerKey),
    /// To a worker that has no room now.
    Later,
    /// To nobody: there is no worker, or all breakers are open.
    Nobody,
}

impl Registry {
    /// Whether the tool can be seen and called.
    pub(super) fn is_offered(&self, entry: &Entry) -> bool {
        entry.offers.iter().any(|worker| !self.workers[worker].draining)
    }

    /// The least loaded worker, of those that have not tried the call if there are any; among equals the one that
    /// has waited longest.
    pub(super) fn route(&self, entry: &Entry, tried: &[Attempt], now: Timestamp) -> Target {
        let most = entry.spec.max_concurrency.map_or(usize::MAX, |most| most as usize);
        let mut best = None;
        let mut somebody = false;
        for key in &entry.offers {
            let worker = &self.workers[key];
            if worker.draining {
                continue;
            }
            match entry.breakers.get(&worker.id).map_or(Admits::Yes, |breaker| breaker.admits(now)) {
                Admits::No => continue,
                Admits::Later => {
                    somebody = true;
                    continue;
                }
                Admits::Yes => somebody = true,
            }
            let running = worker.dispatches.len();
            if running >= worker.max || worker.tools.get(&entry.key).is_none_or(|of_tool| *of_tool >= most) {
                continue;
            }
            let again = tried.iter().any(|attempt| attempt.worker == worker.id);
            let load = running.saturating_mul(1_000_000) / worker.max;
            let rank = (again, load, worker.used, *key);
            if best.is_none_or(|found| rank < found) {
                best = Some(rank);
            }
        }
        match best {
            Some((_, _, _, worker)) => Target::Worker(worker),
            None if somebody => Target::Later,
            None => Target::Nobody,
        }
    }

    /// Gives a call that waits to a worker that has room.
    pub(super) fn dispatch(&mut self, key: CallKey, to: WorkerKey, now: Timestamp) {
        let number = self.number();
        let (Some(call), Some(worker)) = (self.calls.get_mut(&key), self.workers.get_mut(&to)) else { return };
        let Some(entry) = self.tools.get_mut(&call.tool) else { return };
        let dispatch = DispatchKey(number);
        let chunk_credit = if call.request.wants_chunks && entry.spec.streaming { CHUNK_CREDIT } else { 0 };
        entry.queue.remove(&key);
        entry.waiting.remove(&key);
        if let Some(breaker) = entry.breakers.get_mut(&worker.id) {
            breaker.begin();
        }
        if !call.attempts.is_empty() {
            entry.stats.retries += 1;
        }
        worker.used = number;
        worker.dispatches.insert(dispatch);
        *worker.tools.entry(call.tool).or_default() += 1;
        call.stage = Stage::Running(dispatch);
        call.attempts.push(Attempt {
            worker: Arc::clone(&worker.id),
            dispatched: now,
            ended: None,
            state: CallState::Running,
        });
        let order = Order {
            dispatch,
            call_id: Arc::clone(&call.id),
            attempt: u32::try_from(call.attempts.len()).unwrap_or(u32::MAX),
            tool: entry.spec.name.clone(),
            request: Arc::clone(&call.request),
            deadline: call.deadline,
            chunk_credit,
        };
        self.dispatches.insert(
            dispatch,
            Dispatch { call: Some(key), tool: call.tool, worker: to, credit: chunk_credit, next_chunk: 0 },
        );
        self.effects.push(Effect::Dispatch { worker: to, order });
    }

    /// Dispatches what waits for any of a worker's tools, in the order of acceptance, as far as there is room.
    pub(super) fn fill(&mut self, worker: WorkerKey, now: Timestamp) {
        let Some(found) = self.workers.get(&worker) else { return };
        let mut tools: Vec<ToolKey> = found.tools.keys().copied().collect();
        tools.retain(|tool| self.tools.get(tool).is_some_and(|entry| !entry.queue.is_empty()));
        while !tools.is_empty() {
            let first = |tool: &ToolKey| self.tools.get(tool).and_then(|entry| entry.queue.first().copied());
            let Some((call, tool)) = tools.iter().filter_map(|tool| Some((first(tool)?, *tool))).min() else { return };
            let attempts = self.calls.get(&call).map_or(&[][..], |call| &call.attempts);
            match self.tools.get(&tool).map(|entry| self.route(entry, attempts, now)) {
                Some(Target::Worker(to)) => self.dispatch(call, to, now),
                Some(Target::Later) | None => tools.retain(|other| *other != tool),
                Some(Target::Nobody) => {
                    self.strand(tool, now);
                    tools.retain(|other| *other != tool);
                }
            }
        }
    }
}
