//! What the registry keeps twice, to find it fast, agrees.

use std::collections::{BTreeMap, BTreeSet};

use snakepit_core::variable::Timestamp;

use crate::tool::{
    call::WorkerKey,
    registry::{Registry, state::Stage},
};

pub(super) fn check(registry: &Registry, now: Timestamp) {
    for (scope, pool) in &registry.pools {
        assert!(!pool.tools.is_empty() || !pool.workers.is_empty(), "{scope:?} is empty");
        let mine = || registry.workers.iter().filter(|(_, worker)| worker.scope == *scope);
        assert_eq!(pool.workers, mine().map(|(key, worker)| (worker.id.clone(), *key)).collect());
        assert!(pool.tools.len() <= registry.policy.tools);
        let free: BTreeSet<_> =
            mine().filter(|(_, worker)| worker.has_room()).map(|(key, worker)| worker.rank(*key)).collect();
        assert_eq!(pool.free, free);
        let tools = || registry.tools.iter().filter(|(_, entry)| entry.scope == *scope);
        assert_eq!(pool.tools, tools().map(|(key, entry)| (entry.spec.name.clone(), *key)).collect());
        let hungry = tools().filter_map(|(key, entry)| Some((*entry.queue.first()?, *key)));
        assert_eq!(pool.hungry, hungry.collect());
    }
    assert!(registry.tools.values().all(|entry| registry.pools.contains_key(&entry.scope)));
    assert!(registry.workers.values().all(|worker| registry.pools.contains_key(&worker.scope)));
    check_tools(registry);
    check_workers(registry);
    check_calls(registry);
    check_ways(registry, now);
}

/// There are two ways to find who runs a call, and what a worker runs next: which is taken is a matter of speed.
fn check_ways(registry: &Registry, now: Timestamp) {
    for entry in registry.tools.values() {
        let tried = registry.calls.values().map(|call| &call.attempts[..]).filter(|attempts| attempts.len() > 1);
        for attempts in tried.chain([&[][..]]) {
            let found = registry.least_of_offers(entry, attempts, now);
            assert_eq!(registry.first_of_free(entry, attempts, now), found);
        }
    }
    for key in registry.workers.keys() {
        assert_eq!(registry.next_of_hungry(*key, now), None, "it has room, and calls wait");
        assert_eq!(registry.next_of_offers(*key, now), None, "it has room, and calls wait");
    }
}

fn check_tools(registry: &Registry) {
    for (key, entry) in &registry.tools {
        assert_eq!(entry.key, *key);
        let offering = |draining| {
            let offers = registry.workers.iter().filter(|(_, it)| it.offers.contains(key) && it.draining == draining);
            offers.map(|(worker, _)| *worker).collect::<BTreeSet<WorkerKey>>()
        };
        assert_eq!((&entry.offers, &entry.draining), (&offering(false), &offering(true)));
        assert_eq!(entry.gone_since.is_some(), entry.offers.is_empty() && entry.draining.is_empty());
        let calls = registry.calls.iter().filter(|(_, call)| call.tool == *key);
        assert_eq!(entry.calls, calls.map(|(call, _)| *call).collect());
        assert_eq!(entry.dispatches, registry.dispatches.values().filter(|it| it.tool == *key).count());
        let of = |stage| {
            let calls = registry.calls.iter().filter(|(_, call)| call.tool == *key && call.stage == stage);
            calls.map(|(call, _)| *call).collect::<BTreeSet<_>>()
        };
        assert_eq!((&entry.queue, &entry.waiting), (&of(Stage::Queued), &of(Stage::Waiting)));
        for id in entry.breakers.keys() {
            let records = registry.breakers.iter().filter(|(_, tool, of)| tool == key && of == id);
            assert_eq!(records.count(), 1);
        }
    }
    let gone = registry.tools.iter().filter_map(|(key, entry)| Some((entry.gone_since?, *key)));
    assert_eq!(registry.gone, gone.collect());
}

fn check_workers(registry: &Registry) {
    for (key, worker) in &registry.workers {
        let mine = || registry.dispatches.iter().filter(|(_, it)| it.worker == *key);
        assert_eq!(worker.dispatches, mine().map(|(dispatch, _)| *dispatch).collect());
        let mut running = BTreeMap::new();
        mine().for_each(|(_, it)| *running.entry(it.tool).or_default() += 1);
        assert_eq!(worker.running, running);
    }
    assert!(registry.dispatches.iter().all(|(key, it)| it.key == *key && registry.workers.contains_key(&it.worker)));
}

fn check_calls(registry: &Registry) {
    for (key, call) in &registry.calls {
        assert_eq!(registry.names.get(&(call.home.clone(), call.id.clone())), Some(key));
        assert!(registry.ended.get(&(call.home.clone(), call.id.clone())).is_none());
        let dispatch = registry.dispatches.iter().find(|(_, it)| it.call == Some(*key)).map(|(key, _)| *key);
        let running = match call.stage {
            Stage::Running(dispatch) => Some(dispatch),
            Stage::Queued | Stage::Backoff | Stage::Waiting => None,
        };
        assert_eq!(dispatch, running);
    }
    assert_eq!(registry.names.len(), registry.calls.len());
}

/// Nothing is left but the calls that are remembered.
pub(super) fn check_empty(registry: &Registry) {
    let left = [
        ("pools", registry.pools.len()),
        ("tools", registry.tools.len()),
        ("workers", registry.workers.len()),
        ("calls", registry.calls.len()),
        ("names", registry.names.len()),
        ("dispatches", registry.dispatches.len()),
        ("gone", registry.gone.len()),
        ("breakers", registry.breakers.len()),
        ("effects", registry.effects.len()),
    ];
    assert!(left.iter().all(|(_, count)| *count == 0), "{left:?}");
}
