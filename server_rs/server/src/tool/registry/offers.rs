use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use snakepit_core::{
    error::Error,
    variable::{Name, Timestamp},
};

use super::{
    Effect, NewWorker, Registry,
    finish::changed,
    state::{Dispatch, Entry, Worker},
    verdict::Verdict,
};
use crate::tool::{
    call::{Ending, Scope, ToolKey, WorkerKey},
    schema::Schema,
    spec::ToolSpec,
    stats::ToolStats,
};

impl Registry {
    /// A worker connects. One of the same id, owner and scope loses its place, unless this is an older stream of its own
    /// that comes late.
    pub(crate) fn join(&mut self, new: NewWorker, now: Timestamp) -> Result<WorkerKey, Error> {
        let name = new.name();
        let before = self.pools.get(&new.scope).and_then(|pool| pool.workers.get(&name).copied());
        if let Some(before) = before {
            if let Some(open) = self.workers.get(&before).filter(|open| new.connection.is_older_than(&open.connection))
            {
                let problem = format!(
                    "{} comes too late: stream {} of this worker is open; connect with a higher number",
                    new.connection.generation, open.connection.generation
                );
                return Err(Error::invalid("generation", problem));
            }
            let cause = Ending::Unavailable { cause: "its worker connected anew".into() };
            self.leave(before, &cause, now);
            self.effects.push(Effect::Replaced { worker: before });
        }
        let key = WorkerKey(self.number());
        let worker = Worker {
            id: new.id,
            connection: new.connection,
            name,
            label: new.label,
            scope: new.scope,
            max: new.max.max(1),
            dispatches: BTreeSet::new(),
            running: BTreeMap::new(),
            offers: BTreeSet::new(),
            draining: false,
            used: 0,
        };
        let pool = self.pools.entry(worker.scope.clone()).or_default();
        pool.workers.insert(Arc::clone(&worker.name), key);
        pool.free.insert(worker.rank(key));
        self.workers.insert(key, worker);
        Ok(key)
    }

    /// A worker offers tools: all, or none if any is refused.
    pub(crate) fn offer(
        &mut self,
        worker: WorkerKey,
        tools: Vec<(ToolSpec, Schema)>,
        now: Timestamp,
    ) -> Result<(), Vec<(Name, Error)>> {
        let Some(found) = self.workers.get(&worker) else { return Ok(()) };
        let scope = found.scope.clone();
        if found.draining {
            let refusal = |(spec, _): &(ToolSpec, Schema)| {
                (spec.name.clone(), Error::invalid("offer", "this worker is draining: it gets no more calls"))
            };
            return Err(tools.iter().map(refusal).collect());
        }
        let mut refused = Vec::new();
        let mut seen: BTreeMap<&Name, &ToolSpec> = BTreeMap::new();
        for (spec, _) in &tools {
            let name = &spec.name;
            let known = self.pools.get(&scope).and_then(|pool| self.tools.get(pool.tools.get(name)?));
            // What nobody but this worker offers, it may offer otherwise.
            let of_others = known.filter(|it| it.offers.iter().chain(&it.draining).any(|other| *other != worker));
            let is_other = of_others.is_some_and(|entry| *entry.spec != *spec);
            if seen.insert(name, spec).is_some_and(|before| before != spec) || is_other {
                refused.push((name.clone(), Error::ToolExists { tool: name.shared() }));
            }
        }
        if refused.is_empty() && !self.make_room_for(&scope, &seen) {
            let max = self.policy.tools as u64;
            let known = self.pools.get(&scope).map(|pool| &pool.tools);
            let new = seen.keys().filter(|name| known.is_none_or(|known| !known.contains_key(**name)));
            let limit = |name: &&Name| ((*name).clone(), Error::LimitExceeded { limit: "tools_per_session", max });
            refused.extend(new.map(limit));
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        let keys: Vec<ToolKey> =
            tools.into_iter().map(|(spec, schema)| self.offer_one(worker, &scope, spec, schema, now)).collect();
        for tool in keys {
            self.settle(tool, now);
        }
        Ok(())
    }

    /// A worker offers tools no longer. What it runs goes on.
    pub(crate) fn withdraw(&mut self, worker: WorkerKey, names: &[Name], now: Timestamp) {
        for name in names {
            let Some(found) = self.workers.get_mut(&worker) else { return };
            let tool = self.pools.get(&found.scope).and_then(|pool| pool.tools.get(name).copied());
            if let Some(tool) = tool
                && found.offers.remove(&tool)
            {
                self.not_offered_by(worker, tool, now);
                self.settle(tool, now);
            }
        }
    }

    /// A worker wants no more calls.
    pub(crate) fn drain(&mut self, worker: WorkerKey, now: Timestamp) {
        self.change_worker(worker, |found| found.draining = true);
        let Some(found) = self.workers.get(&worker) else { return };
        let tools = found.offers.clone();
        for tool in &tools {
            if let Some(entry) = self.tools.get_mut(tool)
                && entry.offers.remove(&worker)
            {
                entry.draining.insert(worker);
            }
        }
        for tool in tools {
            self.settle(tool, now);
        }
        self.let_go(worker);
    }

    /// Lets a draining worker go that has nothing to do any more.
    pub(super) fn let_go(&mut self, worker: WorkerKey) {
        if self.workers.get(&worker).is_some_and(|it| it.draining && it.dispatches.is_empty()) {
            self.effects.push(Effect::Drained { worker });
        }
    }

    /// A worker's connection is gone, for this cause.
    pub(crate) fn leave(&mut self, worker: WorkerKey, cause: &Ending, now: Timestamp) {
        let Some(found) = self.workers.remove(&worker) else { return };
        if let Some(pool) = self.pools.get_mut(&found.scope) {
            pool.free.remove(&found.rank(worker));
            pool.workers.remove(&found.name);
        }
        for tool in &found.offers {
            self.not_offered_by(worker, *tool, now);
        }
        let lost: Vec<_> = found.dispatches.iter().filter_map(|key| self.dispatches.remove(key)).collect();
        for dispatch in &lost {
            if let Some(entry) = self.tools.get_mut(&dispatch.tool) {
                entry.dispatches -= 1;
            }
        }
        self.judge_loss(&found.name, &lost, now);
        for call in lost.iter().filter_map(|dispatch| dispatch.call) {
            self.attempt_ended(call, cause.clone(), true, now);
        }
        for tool in found.offers.iter().chain(found.running.keys()) {
            self.settle(*tool, now);
        }
        self.forget_empty(&found.scope);
    }

    /// One lost connection counts once for each tool of which it had a call that somebody waited for.
    fn judge_loss(&mut self, name: &Arc<str>, lost: &[Dispatch], now: Timestamp) {
        let mut judged = BTreeSet::new();
        for dispatch in lost.iter().filter(|dispatch| dispatch.call.is_some()) {
            let tool = dispatch.tool;
            let breaker = self.tools.get(&tool).and_then(|entry| entry.breakers.get(name));
            let counts = breaker.is_none_or(|breaker| breaker.counts(dispatch.key));
            if counts && judged.insert(tool) {
                self.judge(tool, name, dispatch.key, Verdict::Bad, now);
            }
        }
    }

    fn offer_one(
        &mut self,
        worker: WorkerKey,
        scope: &Scope,
        spec: ToolSpec,
        schema: Schema,
        now: Timestamp,
    ) -> ToolKey {
        let number = self.number();
        let pool = self.pools.entry(scope.clone()).or_default();
        let key = *pool.tools.entry(spec.name.clone()).or_insert(ToolKey(number));
        if let Some(found) = self.workers.get_mut(&worker) {
            found.offers.insert(key);
        }
        let Some(entry) = self.tools.get_mut(&key) else {
            let entry = Entry {
                key,
                scope: scope.clone(),
                spec: Arc::new(spec),
                schema: Arc::new(schema),
                offers: BTreeSet::from([worker]),
                draining: BTreeSet::new(),
                breakers: BTreeMap::new(),
                calls: BTreeSet::new(),
                dispatches: 0,
                queue: BTreeSet::new(),
                waiting: BTreeSet::new(),
                stats: ToolStats::default(),
                gone_since: None,
            };
            self.tools.insert(key, entry);
            return key;
        };
        entry.offers.insert(worker);
        if let Some(since) = entry.gone_since.take() {
            self.gone.remove(&(since, key));
        }
        if *entry.spec != spec {
            // The arguments of what waits were checked against another schema.
            let stranded: Vec<_> = entry.queue.union(&entry.waiting).copied().collect();
            (entry.spec, entry.schema) = (Arc::new(spec), Arc::new(schema));
            for call in stranded {
                self.conclude(call, changed(), now);
            }
        }
        key
    }

    fn not_offered_by(&mut self, worker: WorkerKey, tool: ToolKey, now: Timestamp) {
        let Some(entry) = self.tools.get_mut(&tool) else { return };
        entry.offers.remove(&worker);
        entry.draining.remove(&worker);
        if entry.offers.is_empty() && entry.draining.is_empty() && entry.gone_since.is_none() {
            entry.gone_since = Some(now);
            self.gone.insert((now, tool));
        }
    }
}
