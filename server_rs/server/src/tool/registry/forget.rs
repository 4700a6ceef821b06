use std::{collections::BTreeMap, sync::Arc, time::Duration};

use snakepit_core::{
    error::Error,
    variable::{Name, Timestamp},
};

use super::{
    Registry,
    state::{Entry, Stage},
};
use crate::tool::{
    call::{CallKey, Ending, Scope, ToolKey, WorkerKey},
    spec::ToolSpec,
};

/// How long a tool that nobody offers is remembered, for its breakers and its figures; and a breaker that nothing
/// counts for.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Beyond so many breakers, those of workers that are not connected are forgotten early.
const BREAKERS: usize = 10_000;

impl Registry {
    /// A session has ended, and its tools with it. Its workers get to know by themselves.
    pub(crate) fn forget(&mut self, scope: &Scope, error: &Error, now: Timestamp) {
        let Some(pool) = self.pools.get(scope) else { return };
        let mut workers: Vec<WorkerKey> = pool.workers.values().copied().collect();
        workers.sort_unstable();
        let tools: Vec<ToolKey> = pool.tools.values().copied().collect();
        let calls = tools.iter().filter_map(|tool| self.tools.get(tool)).flat_map(|entry| entry.calls.iter().copied());
        // Before the workers leave, for which the calls would end otherwise.
        for call in calls.collect::<Vec<CallKey>>() {
            if let Some(Stage::Running(dispatch)) = self.calls.get(&call).map(|call| call.stage)
                && let Some(dispatch) = self.dispatches.get_mut(&dispatch)
            {
                dispatch.call = None;
            }
            self.conclude(call, Ending::Refused(error.clone()), now);
        }
        for worker in workers {
            self.leave(worker, &Ending::Refused(error.clone()), now);
        }
        for tool in tools {
            self.forget_tool(tool);
        }
    }

    /// Forgets tools that nobody has offered for long, and breakers that nothing has counted for.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        let is_old = |since: Timestamp| now.since(since) >= REMEMBERED;
        let old = self.gone.iter().take_while(|(since, _)| is_old(*since)).map(|(_, tool)| *tool);
        for tool in old.collect::<Vec<_>>() {
            if self.tools.get(&tool).is_some_and(|entry| !entry.is_in_use()) {
                self.forget_tool(tool);
            }
        }
        while self.breakers.front().is_some_and(|(since, ..)| is_old(*since))
            && let Some((_, tool, id)) = self.breakers.pop_front()
        {
            let Some(entry) = self.tools.get_mut(&tool) else { continue };
            let idle = entry.breakers.get(&id).and_then(|breaker| breaker.idle_since(now));
            if idle.is_some_and(is_old) {
                entry.breakers.remove(&id);
            } else {
                self.breakers.push_back((idle.unwrap_or(now), tool, id));
            }
        }
    }

    /// Makes room for these tools of a scope, as far as it takes and there are others that nobody offers.
    pub(super) fn make_room_for(&mut self, scope: &Scope, offered: &BTreeMap<&Name, &ToolSpec>) -> bool {
        let has_room = |this: &Self| {
            let known = this.pools.get(scope).map(|pool| &pool.tools);
            let new = offered.keys().filter(|name| known.is_none_or(|known| !known.contains_key(**name))).count();
            new == 0 || known.map_or(0, BTreeMap::len) + new <= this.policy.tools
        };
        if has_room(self) {
            return true;
        }
        let unused = |(name, tool): &(&Name, &ToolKey)| {
            let is_unused = |entry: &Entry| entry.gone_since.is_some() && !entry.is_in_use();
            !offered.contains_key(name) && self.tools.get(tool).is_some_and(is_unused)
        };
        let tools = self.pools.get(scope).into_iter().flat_map(|pool| &pool.tools).filter(unused);
        for tool in tools.map(|(_, tool)| *tool).collect::<Vec<_>>() {
            self.forget_tool(tool);
        }
        has_room(self)
    }

    /// Notes that there is a new breaker.
    pub(super) fn remember_breaker(&mut self, tool: ToolKey, id: &Arc<str>, now: Timestamp) {
        self.breakers.push_back((now, tool, Arc::clone(id)));
        // As many are looked at as come, and one more, so that they get fewer where they can.
        for _ in 0..2 {
            if self.breakers.len() <= BREAKERS {
                return;
            }
            let Some((since, tool, id)) = self.breakers.pop_front() else { return };
            let Some(entry) = self.tools.get_mut(&tool) else { continue };
            if self.pools.get(&entry.scope).is_some_and(|pool| pool.workers.contains_key(&id)) {
                self.breakers.push_back((since, tool, id));
            } else {
                entry.breakers.remove(&id);
            }
        }
    }

    /// Forgets a scope that has nothing any more.
    pub(super) fn forget_empty(&mut self, scope: &Scope) {
        if self.pools.get(scope).is_some_and(|pool| pool.tools.is_empty() && pool.workers.is_empty()) {
            self.pools.remove(scope);
        }
    }

    fn forget_tool(&mut self, tool: ToolKey) {
        let Some(entry) = self.tools.remove(&tool) else { return };
        if let Some(since) = entry.gone_since {
            self.gone.remove(&(since, tool));
        }
        if let Some(pool) = self.pools.get_mut(&entry.scope) {
            let name: &Name = &entry.spec.name;
            pool.tools.remove(name);
        }
        self.forget_empty(&entry.scope);
    }
}
