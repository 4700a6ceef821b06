//! After every step: what the registry shows is what the bookkeeping has, and nothing waits without a reason.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    breakers::Seen,
    ledger::{Ledger, Stage, ToolId},
    steps::{guest, policy},
};
use crate::tool::{
    breaker::BreakerState,
    call::{CallKey, CallRecord, CallState, Scope},
    registry::{CHUNK_CREDIT, Registry},
};

impl Ledger {
    pub(super) fn check(&mut self, registry: &Registry) {
        self.fills = false;
        self.note_gone();
        assert_eq!(self.due, []);
        let tools: BTreeSet<ToolId> = self.tools.keys().cloned().collect();
        for tool in &tools {
            self.check_waiting(tool);
            self.check_tool(tool, registry);
        }
        for (key, call) in self.calls.iter().filter(|(_, call)| !call.is_ended()) {
            assert_eq!(call.due, None, "{call:?}");
            let expected = if let Stage::Runs(_) = call.stage { CallState::Running } else { CallState::Queued };
            let record = registry.call(&call.home, &call.id, self.now).unwrap();
            assert_eq!(record.state, expected);
            self.check_record(*key, &record);
        }
        for dispatch in self.dispatches.values().filter(|it| it.open && !it.cancelled) {
            assert!(dispatch.credit + self.calls[&dispatch.call].unread <= CHUNK_CREDIT);
        }
        if self.ends {
            self.check_remembered(registry);
        }
        (self.ends, self.forgets) = (false, false);
    }

    /// No call waits while a worker of its tool has room; and only where another attempt does no harm, if there is none.
    fn check_waiting(&mut self, tool: &ToolId) {
        let waiting: Vec<CallKey> = self.waiting(tool).collect();
        let anybody = self.is_anybody_there(tool);
        if !waiting.is_empty() {
            assert_eq!(self.able(tool), [], "calls of {tool:?} wait all the same: {waiting:?}");
        }
        for key in waiting {
            let call = self.calls.get_mut(&key).unwrap();
            call.gives_up &= !anybody;
            assert!(anybody || call.spec.idempotent && call.gives_up, "{call:?} waits for nobody");
        }
    }

    fn check_tool(&mut self, tool: &ToolId, registry: &Registry) {
        let home = if tool.0 == Scope::Global { guest() } else { tool.0.clone() };
        let found = self.find(&home, &tool.1);
        assert_eq!(registry.find(&home, &tool.1).is_some(), found.is_some(), "{tool:?}");
        let global = found.as_ref().map(|found| found.0 == Scope::Global);
        let listed = registry.list(&home).into_iter().find(|listed| *listed.spec.name == *tool.1);
        assert_eq!(listed.map(|listed| listed.global), global);
        if found.as_ref() != Some(tool) {
            return;
        }
        let Some(shown) = registry.show(&home, &tool.1, self.now) else { return };
        let active = self.offering(tool).filter(|(_, worker)| !worker.draining).count();
        assert_eq!((&*shown.tool.spec, shown.tool.workers), (&self.tools[tool].spec, active));
        let (known, stats) = (&self.tools[tool], &shown.stats);
        let ends = ["results", "failures", "deadlines", "cancellations", "unavailable"]
            .map(|kind| known.ends.get(kind).copied().unwrap_or_default());
        assert_eq!([stats.results, stats.failures, stats.deadlines, stats.cancellations, stats.unavailable], ends);
        assert_eq!(
            (stats.calls, stats.retries, stats.late, stats.refused),
            (known.calls, known.retries, known.late, known.refused)
        );
        let in_flight = self.calls.values().filter(|call| call.tool == *tool && !call.is_ended()).count();
        assert_eq!(stats.in_flight(), in_flight as u64);
        assert_eq!(stats.latency.iter().sum::<u64>(), ends.iter().sum::<u64>());
        assert_eq!(shown.queued, self.waiting(tool).count());
        self.check_workers(tool, &shown.workers);
    }

    fn check_workers(&self, tool: &ToolId, shown: &[crate::tool::ShownWorker]) {
        let mut expected = BTreeMap::new();
        for ((of, id), breaker) in &self.breakers {
            if of == tool && breaker.seen(self.now) != Seen::Closed {
                let worker = self.workers.values().find(|worker| worker.scope == tool.0 && worker.id == *id);
                expected.insert(id.clone(), (breaker.seen(self.now), breaker.in_row, 0, worker.is_some()));
            }
        }
        for (key, worker) in self.workers.iter().filter(|(_, worker)| worker.scope == tool.0) {
            let breaker = self.breakers.get(&(tool.clone(), worker.id.clone()));
            let seen = breaker.map_or(Seen::Closed, |breaker| breaker.seen(self.now));
            if worker.offers.contains(&tool.1) || expected.contains_key(&worker.id) {
                let in_row = breaker.map_or(0, |breaker| breaker.in_row);
                expected.insert(worker.id.clone(), (seen, in_row, self.load(*key, tool).1, true));
            }
        }
        let seen = |state| match state {
            BreakerState::Closed => Seen::Closed,
            BreakerState::Open(_) => Seen::Open,
            BreakerState::HalfOpen => Seen::HalfOpen,
        };
        let shown_as = |it: &crate::tool::ShownWorker| {
            (it.id.clone(), (seen(it.breaker), it.failures_in_row, it.in_flight, it.connected))
        };
        assert_eq!(shown.iter().map(shown_as).collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(shown.len(), expected.len());
    }

    pub(super) fn check_record(&self, key: CallKey, record: &CallRecord) {
        let call = &self.calls[&key];
        assert_eq!((&record.id, &*record.tool, record.accepted), (&call.id, &*call.tool.1, call.accepted));
        assert_eq!(record.took, self.now.since(call.accepted));
        let attempts = call.attempts.iter().map(|key| &self.dispatches[key]).map(|it| (it.worker_id.clone(), it.at));
        let recorded = record.attempts.iter().map(|attempt| (attempt.worker.clone(), attempt.dispatched));
        assert_eq!(recorded.collect::<Vec<_>>(), attempts.collect::<Vec<_>>());
    }

    /// Those that ended last are remembered, and no others.
    fn check_remembered(&self, registry: &Registry) {
        let first = self.ended.len().saturating_sub(policy().ended);
        for (index, key) in self.ended.iter().enumerate() {
            let call = &self.calls[key];
            let record = registry.call(&call.home, &call.id, self.now);
            if index >= first {
                assert_eq!(record.map(|record| Stage::Ended(record.state)), Some(call.stage));
            } else if !self.calls.iter().any(|(other, it)| other > key && it.home == call.home && it.id == call.id) {
                assert_eq!(record, None);
            }
        }
        assert_eq!(registry.ended.len(), self.ended.len() - first);
    }
}
