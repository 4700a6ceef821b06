use std::{collections::BTreeSet, sync::Arc};

use snakepit_core::variable::Timestamp;

use super::{
    CHUNK_CREDIT, Effect, Order, Registry,
    state::{Dispatch, Entry, Stage, Worker},
};
use crate::tool::{
    breaker::Admits,
    call::{Attempt, CallKey, CallState, DispatchKey, Scope, ToolKey, WorkerKey},
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
    /// The tool that a session means by a name, if it can be called.
    pub(super) fn offered(&self, home: &Scope, name: &str) -> Option<(ToolKey, &Entry)> {
        [home, &Scope::Global].into_iter().find_map(|scope| {
            let key = *self.pools.get(scope)?.tools.get(name)?;
            let entry = self.tools.get(&key)?;
            (!entry.offers.is_empty()).then_some((key, entry))
        })
    }

    /// The least loaded worker, of those that have not tried the call if there are any; among equals the one that
    /// has waited longest.
    pub(super) fn route(&self, entry: &Entry, tried: &[Attempt], now: Timestamp) -> Target {
        match self.roomiest(entry, tried, now) {
            Some(worker) => Target::Worker(worker),
            None if self.is_anybody_there(entry, now) => Target::Later,
            None => Target::Nobody,
        }
    }

    /// Gives a call that waits to a worker that has room.
    pub(super) fn dispatch(&mut self, key: CallKey, to: WorkerKey, now: Timestamp) {
        let dispatch = DispatchKey(self.number());
        self.stop_waiting(key);
        let (Some(call), Some(worker)) = (self.calls.get_mut(&key), self.workers.get(&to)) else { return };
        let tool = call.tool;
        let Some(entry) = self.tools.get_mut(&tool) else { return };
        if let Some(breaker) = entry.breakers.get_mut(&worker.name) {
            breaker.begin(dispatch);
        }
        if !call.attempts.is_empty() {
            entry.stats.retries += 1;
            self.totals.retries += 1;
        }
        entry.dispatches += 1;
        let credit = if call.request.wants_chunks && entry.spec.streaming { CHUNK_CREDIT } else { 0 };
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
            chunk_credit: credit,
        };
        let given = Dispatch { key: dispatch, call: Some(key), tool, worker: to, credit, next_chunk: 0 };
        self.dispatches.insert(dispatch, given);
        self.change_worker(to, |worker| {
            worker.used = dispatch.0;
            worker.dispatches.insert(dispatch);
            *worker.running.entry(tool).or_default() += 1;
        });
        self.effects.push(Effect::Dispatch { worker: to, order });
    }

    /// Gives a worker that has room what waits for any of its tools, in the order of acceptance.
    pub(super) fn fill(&mut self, worker: WorkerKey, now: Timestamp) {
        while let Some(call) = self.next_for(worker, now) {
            self.dispatch(call, worker, now);
        }
    }

    /// After a change of who can run a tool: what waits goes on, or learns that nobody is there.
    pub(super) fn settle(&mut self, tool: ToolKey, now: Timestamp) {
        let Some(entry) = self.tools.get(&tool) else { return };
        if entry.queue.is_empty() && entry.waiting.is_empty() {
            return;
        }
        if !self.is_anybody_there(entry, now) {
            return self.strand(tool, now);
        }
        for call in entry.waiting.clone() {
            self.wait_for_room(call);
        }
        while let Some(entry) = self.tools.get(&tool)
            && let Some(call) = entry.queue.first().copied()
        {
            let tried = self.calls.get(&call).map_or(&[][..], |call| &call.attempts);
            let Some(worker) = self.roomiest(entry, tried, now) else { return };
            self.dispatch(call, worker, now);
        }
    }

    /// The time of a breaker that was open is up.
    pub(crate) fn wake(&mut self, tool: ToolKey, now: Timestamp) {
        self.settle(tool, now);
    }

    /// Changes a worker, and what its pool knows of its room.
    pub(super) fn change_worker(&mut self, key: WorkerKey, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&key) else { return };
        let before = worker.rank(key);
        change(worker);
        let Some(pool) = self.pools.get_mut(&worker.scope) else { return };
        pool.free.remove(&before);
        if worker.has_room() {
            pool.free.insert(worker.rank(key));
        }
    }

    /// Changes who waits for room at a tool, and what its pool knows of that.
    pub(super) fn change_queue(&mut self, tool: ToolKey, change: impl FnOnce(&mut BTreeSet<CallKey>) -> bool) {
        let Some(entry) = self.tools.get_mut(&tool) else { return };
        let before = entry.queue.first().copied();
        let changed = change(&mut entry.queue);
        let first = entry.queue.first().copied();
        if !changed || first == before {
            return;
        }
        let Some(pool) = self.pools.get_mut(&entry.scope) else { return };
        if let Some(before) = before {
            pool.hungry.remove(&(before, tool));
        }
        if let Some(first) = first {
            pool.hungry.insert((first, tool));
        }
    }

    /// Whether anybody can run it, now or when there is room.
    fn is_anybody_there(&self, entry: &Entry, now: Timestamp) -> bool {
        entry.offers.iter().any(|worker| self.admits(entry, *worker, now) != Admits::No)
    }

    fn roomiest(&self, entry: &Entry, tried: &[Attempt], now: Timestamp) -> Option<WorkerKey> {
        /// So many are looked at one by one.
        const FEW: usize = 16;
        /// And so are those of which there are many times fewer than of others that have room.
        const MANY: usize = 4;

        let free = self.pools.get(&entry.scope)?.free.len();
        if entry.offers.len() <= FEW || entry.offers.len() < free / MANY {
            self.least_of_offers(entry, tried, now)
        } else {
            self.first_of_free(entry, tried, now)
        }
    }

    /// The one to give a call to, looking at all that offer the tool.
    pub(super) fn least_of_offers(&self, entry: &Entry, tried: &[Attempt], now: Timestamp) -> Option<WorkerKey> {
        let able = entry.offers.iter().filter(|key| self.takes(**key, entry, now));
        let worker = |key: &WorkerKey| &self.workers[key];
        able.copied().min_by_key(|key| (worker(key).is_among(tried), worker(key).rank(*key)))
    }

    /// The same one, looking at all that have room, the least loaded first.
    pub(super) fn first_of_free(&self, entry: &Entry, tried: &[Attempt], now: Timestamp) -> Option<WorkerKey> {
        let free = &self.pools.get(&entry.scope)?.free;
        let mut again = None;
        for (_, _, key) in free.iter().filter(|(_, _, key)| self.takes(*key, entry, now)) {
            if !self.workers[key].is_among(tried) {
                return Some(*key);
            }
            again = again.or(Some(*key));
        }
        again
    }

    /// The first call that waits for a tool of which this worker can take one.
    fn next_for(&self, worker: WorkerKey, now: Timestamp) -> Option<CallKey> {
        let found = self.workers.get(&worker).filter(|found| found.has_room())?;
        let pool = self.pools.get(&found.scope)?;
        if pool.hungry.len() <= found.offers.len() {
            self.next_of_hungry(worker, now)
        } else {
            self.next_of_offers(worker, now)
        }
    }

    /// That call, looking at all tools for which calls wait.
    pub(super) fn next_of_hungry(&self, key: WorkerKey, now: Timestamp) -> Option<CallKey> {
        let pool = self.pools.get(&self.workers.get(&key)?.scope)?;
        let takes = |tool: &ToolKey| self.tools.get(tool).is_some_and(|entry| self.takes(key, entry, now));
        pool.hungry.iter().find(|(_, tool)| takes(tool)).map(|(call, _)| *call)
    }

    /// The same call, looking at all tools that the worker offers.
    pub(super) fn next_of_offers(&self, key: WorkerKey, now: Timestamp) -> Option<CallKey> {
        let offers = self.workers.get(&key)?.offers.iter().filter_map(|tool| self.tools.get(tool));
        offers.filter(|entry| self.takes(key, entry, now)).filter_map(|entry| entry.queue.first().copied()).min()
    }

    /// Whether a worker can take a call of this tool now.
    fn takes(&self, key: WorkerKey, entry: &Entry, now: Timestamp) -> bool {
        let most = entry.spec.max_concurrency.map_or(usize::MAX, |most| most as usize);
        entry.offers.contains(&key)
            && self.workers.get(&key).is_some_and(|it| it.has_room() && it.running(entry.key) < most)
            && self.admits(entry, key, now) == Admits::Yes
    }

    fn admits(&self, entry: &Entry, worker: WorkerKey, now: Timestamp) -> Admits {
        let breaker = self.workers.get(&worker).and_then(|worker| entry.breakers.get(&worker.name));
        breaker.map_or(Admits::Yes, |breaker| breaker.admits(now))
    }
}
