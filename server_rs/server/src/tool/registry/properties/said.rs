//! What each step does to the bookkeeping, and what the registry has to answer and tell.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use snakepit_core::variable::Timestamp;

use super::{
    breakers::Seen,
    ledger::{Call, Due, Ledger, Stage, Told, Tool, ToolId, Worker},
    steps::{How, policy},
};
use crate::tool::{
    call::{CallKey, CallState, DispatchKey, Scope, WorkerKey},
    spec::ToolSpec,
};

impl Ledger {
    pub(super) fn joins(&mut self, key: WorkerKey, scope: Scope, id: Arc<str>, max: usize) {
        let same = self.workers.iter().find(|(_, it)| it.scope == scope && it.id == id).map(|(key, _)| *key);
        if let Some(before) = same {
            self.leaves(before);
            self.reach("replaced");
            self.due.push(Due::Replaced(before));
        }
        self.workers.insert(key, Worker { scope, id, max, offers: BTreeSet::new(), draining: false });
    }

    /// Who is refused, and whether for want of room; nobody: it is offered.
    pub(super) fn offers(&mut self, worker: WorkerKey, specs: &[ToolSpec]) -> (BTreeSet<String>, bool) {
        let Some(found) = self.workers.get(&worker) else { return Default::default() };
        let scope = found.scope.clone();
        let names = || specs.iter().map(|spec| spec.name.to_string());
        if found.draining {
            self.reach("offer: draining");
            return (names().collect(), false);
        }
        let id = |spec: &ToolSpec| (scope.clone(), spec.name.to_string());
        let is_other = |spec: &&ToolSpec| {
            let by_others = self.offering(&id(spec)).any(|(key, _)| key != worker);
            (by_others && self.tools[&id(spec)].spec != **spec)
                || specs.iter().any(|other| other.name == spec.name && other != *spec)
        };
        let others: BTreeSet<String> = specs.iter().filter(is_other).map(|spec| spec.name.to_string()).collect();
        if !others.is_empty() {
            self.reach("offer: exists");
            return (others, false);
        }
        let new: BTreeSet<String> =
            names().filter(|name| !self.tools.contains_key(&(scope.clone(), name.clone()))).collect();
        let is_full = |this: &Self| {
            !new.is_empty() && this.tools.keys().filter(|id| id.0 == scope).count() + new.len() > policy().tools
        };
        if is_full(self) {
            let unused: Vec<ToolId> = self
                .tools
                .iter()
                .filter(|(id, tool)| {
                    id.0 == scope
                        && tool.gone_since.is_some()
                        && !self.is_in_use(id)
                        && names().all(|name| name != id.1)
                })
                .map(|(id, _)| id.clone())
                .collect();
            for id in &unused {
                self.forget_tool(id);
            }
            self.reach(if unused.is_empty() { "offer: none to forget" } else { "offer: unused forgotten" });
            if is_full(self) {
                self.reach("offer: limit");
                return (new, true);
            }
        }
        for spec in specs {
            let id = id(spec);
            self.editions += 1;
            let edition = self.editions;
            let fresh = || Tool {
                spec: spec.clone(),
                edition,
                gone_since: None,
                calls: 0,
                ends: [].into(),
                retries: 0,
                late: 0,
                refused: 0,
            };
            let tool = self.tools.entry(id.clone()).or_insert_with(fresh);
            if tool.spec != *spec {
                (tool.spec, tool.edition) = (spec.clone(), edition);
                for call in self.waiting(&id).collect::<Vec<_>>() {
                    self.reach("offer: anew, calls waited");
                    self.ends(call, CallState::Unavailable);
                }
            }
            if let Some(found) = self.workers.get_mut(&worker) {
                found.offers.insert(id.1);
            }
        }
        Default::default()
    }

    pub(super) fn withdraws(&mut self, worker: WorkerKey, names: &[String]) {
        if let Some(found) = self.workers.get_mut(&worker) {
            found.offers.retain(|name| !names.contains(name));
        }
    }

    pub(super) fn drains(&mut self, worker: WorkerKey) {
        if let Some(found) = self.workers.get_mut(&worker) {
            found.draining = true;
            self.note_drained(worker);
        }
    }

    pub(super) fn leaves(&mut self, worker: WorkerKey) {
        let Some(found) = self.workers.remove(&worker) else { return };
        let lost: Vec<DispatchKey> =
            self.dispatches.iter().filter(|(_, it)| it.open && it.worker == worker).map(|(key, _)| *key).collect();
        let mut judged = BTreeSet::new();
        for key in &lost {
            let dispatch = self.dispatches.get_mut(key).unwrap();
            dispatch.open = false;
            let (call, tool, cancelled) = (dispatch.call, dispatch.tool.clone(), dispatch.cancelled);
            if !cancelled {
                let concerns =
                    self.breakers.get(&(tool.clone(), Arc::clone(&found.id))).is_none_or(|it| it.concerns(*key));
                self.reach("lost");
                if concerns && judged.insert(tool.clone()) {
                    self.bad(&tool, &found.id, *key);
                }
                self.fails(call, CallState::Unavailable);
            }
        }
    }

    pub(super) fn accepts(&mut self, key: CallKey, call: Call) {
        self.tools.get_mut(&call.tool).unwrap().calls += 1;
        self.calls.insert(key, call);
    }

    pub(super) fn answers(&mut self, key: DispatchKey, how: How) {
        let dispatch = self.dispatches.get_mut(&key).unwrap();
        dispatch.open = false;
        let (call, tool, worker) = (dispatch.call, dispatch.tool.clone(), dispatch.worker);
        let (id, cancelled) = (Arc::clone(&dispatch.worker_id), dispatch.cancelled);
        self.fills = true;
        self.note_drained(worker);
        if cancelled {
            self.reach("late");
            self.tools.get_mut(&tool).unwrap().late += u64::from(how == How::Result);
            return;
        }
        let breaker = self.breakers.get_mut(&(tool.clone(), Arc::clone(&id)));
        let before = breaker.as_ref().map(|breaker| breaker.seen(self.now));
        match (how, breaker) {
            (How::Retryable, _) => self.bad(&tool, &id, key),
            (How::Result, Some(breaker)) => breaker.good(key, &Self::policy(), self.now),
            (How::Failure, Some(breaker)) => breaker.neither(key, self.now),
            (How::Result | How::Failure, None) => {}
        }
        match (before, self.seen(&tool, &id)) {
            (Some(Seen::HalfOpen), Seen::Closed) => self.reach("breaker closed by a trial"),
            (Some(Seen::HalfOpen), Seen::Open) => self.reach("breaker opened by a trial"),
            (Some(Seen::HalfOpen), Seen::HalfOpen) => self.reach("breaker still half open"),
            (Some(Seen::Open), Seen::Open) => self.reach("answered while open"),
            _ => {}
        }
        match how {
            How::Result => self.ends(call, CallState::Result),
            How::Failure => self.ends(call, CallState::Failure),
            How::Retryable => self.fails(call, CallState::Failure),
        }
    }

    /// Whether the chunk is allowed.
    pub(super) fn chunk(&mut self, key: DispatchKey, worker: WorkerKey, sequence: u64) -> bool {
        let Some(dispatch) = self.dispatches.get_mut(&key) else { return false };
        if !dispatch.open || dispatch.worker != worker || dispatch.chunks != sequence || dispatch.credit == 0 {
            return false;
        }
        dispatch.credit -= 1;
        dispatch.chunks += 1;
        if !dispatch.cancelled {
            let call = self.calls.get_mut(&dispatch.call).unwrap();
            call.chunked = true;
            call.unread += 1;
            self.due.push(Due::Chunk(dispatch.call));
        }
        true
    }

    /// How many chunks of those that were told are taken.
    pub(super) fn takes(&mut self, key: CallKey, most: u32) -> u32 {
        let call = self.calls.get_mut(&key).unwrap();
        let taken = most.min(call.unread);
        call.unread -= taken;
        if let Stage::Runs(key) = call.stage
            && taken > 0
        {
            self.dispatches.get_mut(&key).unwrap().credit += taken;
            self.due.push(Due::Credit(key, taken));
        }
        taken
    }

    /// Whether it had not ended.
    pub(super) fn is_ended_from_outside(&mut self, key: CallKey, deadline: bool) -> bool {
        let call = &self.calls[&key];
        let state = if deadline { CallState::Deadline } else { CallState::Cancelled };
        match call.stage {
            Stage::Ended(_) => return false,
            Stage::Waits | Stage::Backoff => {}
            Stage::Runs(attempt) => {
                let enough = call.spec.timeout.unwrap_or(Duration::from_secs(10));
                let dispatch = self.dispatches.get_mut(&attempt).unwrap();
                dispatch.cancelled = true;
                let ran = self.now.since(dispatch.at) * 10 >= enough * 9;
                let held_back = dispatch.chunks > 0 && dispatch.credit == 0;
                let (tool, id) = (dispatch.tool.clone(), Arc::clone(&dispatch.worker_id));
                if deadline && ran && !held_back {
                    self.reach("slow");
                    self.bad(&tool, &id, attempt);
                } else if let Some(breaker) = self.breakers.get_mut(&(tool, id)) {
                    breaker.neither(attempt, self.now);
                }
                self.due.push(Due::Cancel(attempt));
            }
        }
        self.ends(key, state);
        true
    }

    pub(super) fn retries(&mut self, key: CallKey) {
        let call = self.calls.get_mut(&key).unwrap();
        if call.stage == Stage::Backoff {
            call.stage = Stage::Waits;
            if self.tools[&call.tool].edition != call.edition {
                call.due = Some(Told::End(CallState::Unavailable));
                self.reach("retried as another tool");
            }
        }
    }

    pub(super) fn gives_up(&mut self, key: CallKey) {
        let call = &self.calls[&key];
        if call.stage == Stage::Waits && !self.is_anybody_there(&call.tool) {
            self.reach("gave up");
            self.ends(key, CallState::Unavailable);
        }
    }

    pub(super) fn forgets(&mut self, scope: &Scope) {
        self.forgets = true;
        let workers: BTreeSet<_> =
            self.workers.iter().filter(|(_, it)| it.scope == *scope).map(|(key, _)| *key).collect();
        self.workers.retain(|key, _| !workers.contains(key));
        self.dispatches.values_mut().filter(|it| workers.contains(&it.worker)).for_each(|it| it.open = false);
        for call in self.calls.values_mut().filter(|call| call.tool.0 == *scope && !call.is_ended()) {
            call.due = Some(Told::End(CallState::Unavailable));
            *self.reached.entry("session ended under a call".into()).or_default() += 1;
        }
        self.tools.retain(|id, _| id.0 != *scope);
        self.breakers.retain(|((of, _), _), _| of != scope);
    }

    pub(super) fn sweeps(&mut self) {
        let is_old = |since: Timestamp| self.now.since(since) >= Duration::from_secs(600);
        let old: Vec<ToolId> = self
            .tools
            .iter()
            .filter(|(id, tool)| tool.gone_since.is_some_and(is_old) && !self.is_in_use(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in old {
            self.reach("tool forgotten");
            self.forget_tool(&id);
        }
    }

    fn note_drained(&mut self, worker: WorkerKey) {
        let is_idle = self.dispatches.values().all(|it| !it.open || it.worker != worker);
        if is_idle && self.workers.get(&worker).is_some_and(|worker| worker.draining) {
            self.due.push(Due::Drained(worker));
        }
    }

    fn bad(&mut self, tool: &ToolId, worker: &Arc<str>, attempt: DispatchKey) {
        let breaker = self.breakers.entry((tool.clone(), Arc::clone(worker))).or_default();
        let opened = breaker.bad(attempt, &Self::policy(), self.now);
        self.due.extend(opened.map(Due::Wake));
    }

    fn ends(&mut self, call: CallKey, state: CallState) {
        let call = self.calls.get_mut(&call).unwrap();
        assert_eq!(call.due.replace(Told::End(state)), None);
    }

    /// In a way that another attempt may mend.
    fn fails(&mut self, key: CallKey, state: CallState) {
        let call = &self.calls[&key];
        let is_same = self.tools[&call.tool].edition == call.edition;
        let may = call.spec.idempotent && is_same && !call.chunked;
        if may && call.attempts.len() < call.spec.retry.max_attempts as usize {
            self.calls.get_mut(&key).unwrap().due = Some(Told::Backoff);
        } else {
            self.ends(key, state);
        }
    }
}
