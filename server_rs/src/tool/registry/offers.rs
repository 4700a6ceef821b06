use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Effect, NewWorker, Registry,
    finish::changed,
    route::Target,
    state::{Entry, Stage, Worker},
};
use crate::{
    error::Error,
    tool::{
        call::{CallKey, Ending, Scope, ToolKey, WorkerKey},
        schema::Schema,
        spec::ToolSpec,
        stats::ToolStats,
    },
    variable::{Name, Timestamp},
};

/// How long a tool that nobody offers is remembered, for its breakers and its figures.
const REMEMBERED: Duration = Duration::from_mins(10);

impl Registry {
    /// A worker connects. One of the same name and scope loses its place.
    pub(crate) fn join(&mut self, new: NewWorker, now: Timestamp) -> WorkerKey {
        let same = |worker: &Worker| worker.id == new.id && worker.scope == new.scope;
        if let Some(before) = self.workers.iter().find_map(|(key, worker)| same(worker).then_some(*key)) {
            let cause = Ending::Unavailable { cause: "its worker connected anew".into() };
            self.leave(before, &cause, now);
            self.effects.push(Effect::Replaced { worker: before });
        }
        let key = WorkerKey(self.number());
        let worker = Worker {
            id: new.id,
            label: new.label,
            scope: new.scope,
            max: new.max,
            dispatches: HashSet::new(),
            tools: HashMap::new(),
            draining: false,
            used: 0,
        };
        self.workers.insert(key, worker);
        key
    }

    /// A worker offers tools: all, or none if any is refused.
    pub(crate) fn offer(
        &mut self,
        worker: WorkerKey,
        tools: Vec<(ToolSpec, Schema)>,
        now: Timestamp,
    ) -> Result<(), Vec<(Name, Error)>> {
        let Some(scope) = self.workers.get(&worker).map(|worker| worker.scope.clone()) else { return Ok(()) };
        let mut refused = Vec::new();
        let mut new: BTreeMap<&Name, &ToolSpec> = BTreeMap::new();
        for (spec, _) in &tools {
            let other = match self.scopes.get(&scope).and_then(|names| names.get(&spec.name)) {
                // What nobody but this worker offers, it may offer otherwise.
                Some(key) if self.tools[key].offers.iter().any(|offering| *offering != worker) => {
                    *self.tools[key].spec != *spec
                }
                Some(_) => false,
                None => new.insert(&spec.name, spec).is_some_and(|before| before != spec),
            };
            if other {
                refused.push((spec.name.clone(), Error::ToolExists { tool: spec.name.shared() }));
            }
        }
        let more = new.len();
        if more > 0 && self.names_of(&scope) + more > self.policy.tools {
            self.forget_gone(&scope, |_| true);
            if self.names_of(&scope) + more > self.policy.tools {
                let max = self.policy.tools as u64;
                let limit = |name: &Name| (name.clone(), Error::LimitExceeded { limit: "tools_per_session", max });
                refused.extend(new.keys().map(|name| limit(name)));
            }
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        for (spec, schema) in tools {
            self.offer_one(worker, &scope, spec, schema, now);
        }
        self.fill(worker, now);
        Ok(())
    }

    /// A worker offers tools no longer. What it runs goes on.
    pub(crate) fn withdraw(&mut self, worker: WorkerKey, names: &[Name], now: Timestamp) {
        let Some(found) = self.workers.get(&worker) else { return };
        let scope = self.scopes.get(&found.scope);
        let keys: Vec<ToolKey> = names
            .iter()
            .filter_map(|name| scope?.get(name))
            .filter(|key| found.tools.contains_key(key))
            .copied()
            .collect();
        for key in keys {
            if let Some(entry) = self.tools.get_mut(&key) {
                entry.offers.retain(|offering| *offering != worker);
            }
            self.settle(key, now);
        }
    }

    /// A worker wants no more calls.
    pub(crate) fn drain(&mut self, worker: WorkerKey, now: Timestamp) {
        let Some(found) = self.workers.get_mut(&worker) else { return };
        found.draining = true;
        for key in found.tools.keys().copied().collect::<Vec<_>>() {
            self.settle(key, now);
        }
        self.let_go(worker);
    }

    /// A worker's connection is gone, for this cause.
    pub(crate) fn leave(&mut self, worker: WorkerKey, cause: &Ending, now: Timestamp) {
        let Some(found) = self.workers.get(&worker) else { return };
        let tools: Vec<ToolKey> = found.tools.keys().copied().collect();
        let keys: BTreeSet<_> = found.dispatches.iter().copied().collect();
        let lost: Vec<_> = keys.into_iter().filter_map(|key| self.release(worker, key)).collect();
        if matches!(cause, Ending::Unavailable { .. }) {
            let failed: BTreeSet<ToolKey> = lost.iter().filter(|it| it.call.is_some()).map(|it| it.tool).collect();
            for tool in failed {
                self.judge_loss(tool, worker, now);
            }
        }
        self.workers.remove(&worker);
        for tool in &tools {
            if let Some(entry) = self.tools.get_mut(tool) {
                entry.offers.retain(|offering| *offering != worker);
            }
        }
        for dispatch in &lost {
            self.lost(dispatch, cause, now);
        }
        for tool in tools {
            self.settle(tool, now);
        }
    }

    /// A session has ended, and its tools with it. Its workers get to know by themselves.
    pub(crate) fn forget(&mut self, scope: &Scope, error: &Error, now: Timestamp) {
        let of_scope = |(key, worker): (&WorkerKey, &Worker)| (worker.scope == *scope).then_some(*key);
        let mut workers: Vec<WorkerKey> = self.workers.iter().filter_map(of_scope).collect();
        workers.sort_unstable();
        let ending = Ending::Refused(error.clone());
        for worker in workers {
            self.leave(worker, &ending, now);
        }
        let of_tools = |call: &super::Call| self.tools.get(&call.tool).is_some_and(|entry| entry.scope == *scope);
        let mut calls: Vec<CallKey> =
            self.calls.iter().filter_map(|(key, call)| of_tools(call).then_some(*key)).collect();
        calls.sort_unstable();
        for call in calls {
            self.conclude(call, ending.clone(), now);
        }
        for key in self.scopes.remove(scope).unwrap_or_default().into_values() {
            self.tools.remove(&key);
        }
    }

    /// Forgets tools that nobody has offered for long.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        for scope in self.scopes.keys().cloned().collect::<Vec<_>>() {
            self.forget_gone(&scope, |since| now.since(since) >= REMEMBERED);
        }
    }

    /// Lets a draining worker go that has nothing to do any more.
    pub(super) fn let_go(&mut self, worker: WorkerKey) {
        if self.workers.get(&worker).is_some_and(|it| it.draining && it.dispatches.is_empty()) {
            self.effects.push(Effect::Drained { worker });
        }
    }

    fn offer_one(&mut self, worker: WorkerKey, scope: &Scope, spec: ToolSpec, schema: Schema, now: Timestamp) {
        let number = self.number();
        let (spec, schema) = (Arc::new(spec), Arc::new(schema));
        let names = self.scopes.entry(scope.clone()).or_default();
        let key = *names.entry(spec.name.clone()).or_insert(ToolKey(number));
        let entry = self.tools.entry(key).or_insert_with(|| Entry {
            key,
            scope: scope.clone(),
            spec: Arc::clone(&spec),
            schema: Arc::clone(&schema),
            offers: Vec::new(),
            breakers: BTreeMap::new(),
            queue: BTreeSet::new(),
            waiting: BTreeSet::new(),
            stats: ToolStats::default(),
            gone_since: None,
        });
        entry.gone_since = None;
        let mut stranded = BTreeSet::new();
        if entry.spec != spec {
            // Their arguments were checked against another schema.
            stranded.append(&mut entry.queue);
            stranded.append(&mut entry.waiting);
            (entry.spec, entry.schema) = (spec, schema);
        }
        if !entry.offers.contains(&worker) {
            entry.offers.push(worker);
        }
        let waiting = std::mem::take(&mut entry.waiting);
        for call in waiting {
            if let Some(call) = self.calls.get_mut(&call) {
                call.stage = Stage::Queued;
            }
            entry.queue.insert(call);
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.tools.entry(key).or_default();
        }
        for call in stranded {
            self.conclude(call, changed(), now);
        }
    }

    /// After a change of who offers a tool: what waits goes on, or learns that nobody is there.
    fn settle(&mut self, tool: ToolKey, now: Timestamp) {
        let Some(entry) = self.tools.get(&tool) else { return };
        let (nobody, another) = (entry.offers.is_empty(), entry.offers.first().copied());
        let target = self.route(entry, &[], now);
        if nobody && let Some(entry) = self.tools.get_mut(&tool) {
            entry.gone_since = Some(now);
        }
        match (target, another) {
            (Target::Nobody, _) => self.strand(tool, now),
            (Target::Worker(_) | Target::Later, Some(worker)) => self.fill(worker, now),
            (Target::Worker(_) | Target::Later, None) => {}
        }
    }

    fn names_of(&self, scope: &Scope) -> usize {
        self.scopes.get(scope).map_or(0, BTreeMap::len)
    }

    /// Forgets tools that nobody offers and nobody waits for.
    fn forget_gone(&mut self, scope: &Scope, long_enough: impl Fn(Timestamp) -> bool) {
        let Some(names) = self.scopes.get_mut(scope) else { return };
        let in_use: HashSet<ToolKey> =
            self.calls.values().map(|call| call.tool).chain(self.dispatches.values().map(|it| it.tool)).collect();
        names.retain(|_, key| {
            let gone = self.tools.get(key).is_none_or(|entry| entry.gone_since.is_some_and(&long_enough));
            let forgotten = gone && !in_use.contains(key);
            if forgotten {
                self.tools.remove(key);
            }
            !forgotten
        });
        if names.is_empty() {
            self.scopes.remove(scope);
        }
    }
}
