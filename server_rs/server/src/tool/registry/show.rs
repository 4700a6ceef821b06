use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use snakepit_core::variable::{Name, Timestamp};

use super::{
    Registry,
    state::{Entry, Worker, id_of},
};
use crate::tool::{
    breaker::{Breaker, BreakerState},
    call::Scope,
    spec::ToolSpec,
    stats::ToolStats,
};

/// A tool as it can be called.
#[derive(Clone, Debug)]
pub struct ListedTool {
    /// What it is.
    pub spec: Arc<ToolSpec>,
    /// Whether it is every session's.
    pub global: bool,
    /// Whether the server's host runs it.
    pub native: bool,
    /// How many workers take calls of it.
    pub workers: usize,
}

/// One worker, seen from a tool.
#[derive(Clone, Debug)]
pub struct ShownWorker {
    /// Its own name; empty for the server's host.
    pub id: Arc<str>,
    /// For people.
    pub label: Arc<str>,
    /// Attempts of this tool that it runs.
    pub in_flight: usize,
    /// Attempts of all tools that it runs.
    pub worker_in_flight: usize,
    /// How many it takes at most.
    pub max: usize,
    /// Whether it takes no more.
    pub draining: bool,
    /// Whether calls of this tool go to it.
    pub breaker: BreakerState,
    /// What brought the breaker there.
    pub failures_in_row: u32,
    /// Whether it is connected.
    pub connected: bool,
}

/// A tool, who runs it, and how it fares.
#[derive(Clone, Debug)]
pub struct ShownTool {
    /// The tool.
    pub tool: ListedTool,
    /// Those that offer it, and those whose breaker remembers them.
    pub workers: Vec<ShownWorker>,
    /// Its figures.
    pub stats: ToolStats,
    /// Calls that wait for a worker.
    pub queued: usize,
}

impl Registry {
    /// What a session can call, by name.
    pub(crate) fn list(&self, home: &Scope) -> Vec<ListedTool> {
        let mut found: BTreeMap<&Name, &Entry> = BTreeMap::new();
        for scope in [&Scope::Global, home] {
            for (name, key) in self.pools.get(scope).into_iter().flat_map(|pool| &pool.tools) {
                if let Some(entry) = self.tools.get(key).filter(|entry| !entry.offers.is_empty()) {
                    found.insert(name, entry);
                }
            }
        }
        found.into_values().map(|entry| self.listed(entry)).collect()
    }

    /// One of them in detail.
    pub(crate) fn show(&self, home: &Scope, name: &str, now: Timestamp) -> Option<ShownTool> {
        let (_, entry) = self.offered(home, name)?;
        let offering = entry.offers.union(&entry.draining).filter_map(|key| self.workers.get(key));
        let offering: Vec<&Worker> = offering.collect();
        let mut workers: Vec<ShownWorker> = offering.iter().map(|worker| shown(entry, worker, now)).collect();
        let listed: HashSet<&Arc<str>> = offering.iter().map(|worker| &worker.name).collect();
        let pool = self.pools.get(&entry.scope);
        for (name, breaker) in &entry.breakers {
            if !listed.contains(name) && breaker.state(now) != BreakerState::Closed {
                let worker = pool.and_then(|pool| self.workers.get(pool.workers.get(name)?));
                workers.push(worker.map_or_else(|| gone(name, breaker, now), |worker| shown(entry, worker, now)));
            }
        }
        let queued = entry.queue.len() + entry.waiting.len();
        Some(ShownTool { tool: self.listed(entry), workers, stats: entry.stats.clone(), queued })
    }

    fn listed(&self, entry: &Entry) -> ListedTool {
        // The host is the first to connect.
        let first = entry.offers.first().and_then(|key| self.workers.get(key));
        ListedTool {
            spec: Arc::clone(&entry.spec),
            global: entry.scope == Scope::Global,
            native: first.is_some_and(|worker| worker.id.is_empty()),
            workers: entry.offers.len(),
        }
    }
}

fn shown(entry: &Entry, worker: &Worker, now: Timestamp) -> ShownWorker {
    let breaker = entry.breakers.get(&worker.name);
    ShownWorker {
        id: Arc::clone(&worker.id),
        label: Arc::clone(&worker.label),
        in_flight: worker.running(entry.key),
        worker_in_flight: worker.dispatches.len(),
        max: worker.max,
        draining: worker.draining,
        breaker: breaker.map_or(BreakerState::Closed, |breaker| breaker.state(now)),
        failures_in_row: breaker.map_or(0, Breaker::failures_in_row),
        connected: true,
    }
}

fn gone(name: &str, breaker: &Breaker, now: Timestamp) -> ShownWorker {
    ShownWorker {
        id: id_of(name).into(),
        label: Arc::default(),
        in_flight: 0,
        worker_in_flight: 0,
        max: 0,
        draining: false,
        breaker: breaker.state(now),
        failures_in_row: breaker.failures_in_row(),
        connected: false,
    }
}
