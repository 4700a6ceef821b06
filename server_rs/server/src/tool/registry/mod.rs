//! Who offers what, where a call goes and how it ends: a state machine without clock, lock, task or socket.
//!
//! What always holds, and what the property tests check after every step:
//!
//! 1. A call that was accepted is told exactly one [`News::Ended`], after which it is told nothing.
//! 2. An attempt is dispatched once. A call whose tool is not idempotent has at most one attempt, and none follows an
//!    attempt whose first chunk was told.
//! 3. A worker has at most as many dispatches as it takes, and of one tool at most as many as the tool says. A dispatch
//!    holds its place until the worker answers it or is gone, even if nobody waits for it any more.
//! 4. A call that waits for a worker, does so because no worker of its tool has room: whatever makes room, or lets a
//!    breaker through, gives what waits to it at once. That a breaker's time is up is told by [`Registry::wake`].
//! 5. A worker is connected once. Of two streams of one instance the one with the higher generation has the place,
//!    whichever comes first; of two instances the one that comes last.
//! 6. Every call counted by a tool is either ended, by exactly one kind of end, or in flight.
//!
//! Each step takes time in the logarithm of what there is, times what it changes. Where workers of one scope offer
//! different tools, or breakers are open, finding the least loaded one also passes over those that are no use.

mod accept;
mod ended;
mod figures;
mod finish;
mod forget;
mod offers;
mod route;
mod show;
mod state;
mod stream;
mod verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ended::EndedCalls;
pub(crate) use figures::Figures;
pub(crate) use finish::Outcome;
pub use show::{ListedTool, ShownTool, ShownWorker};
use snakepit_core::{
    value::Value,
    variable::{Name, Timestamp},
};
pub(crate) use state::{Connection, NewWorker};

use super::{
    breaker::BreakerPolicy,
    call::{CallKey, CallRecord, CallState, DispatchKey, Ending, Request, Scope, ToolKey, WorkerKey},
    schema::Schema,
    spec::ToolSpec,
    stats::ToolStats,
};
use state::{Call, Dispatch, Entry, Pool, Stage, Worker};

/// What the registry accepts and keeps.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) breaker: BreakerPolicy,
    /// Tools of one scope.
    pub(crate) tools: usize,
    /// Calls of one tool that wait for a worker.
    pub(crate) queued: usize,
    /// Ended calls remembered.
    pub(crate) ended: usize,
}

/// All tools, workers and calls of a server.
pub(crate) struct Registry {
    policy: Policy,
    pools: HashMap<Scope, Pool>,
    tools: HashMap<ToolKey, Entry>,
    workers: HashMap<WorkerKey, Worker>,
    calls: HashMap<CallKey, Call>,
    /// The running calls of each session, by the names that they were given.
    names: HashMap<(Scope, Arc<str>), CallKey>,
    dispatches: HashMap<DispatchKey, Dispatch>,
    ended: EndedCalls,
    /// Tools that nobody offers, the longest gone first.
    gone: BTreeSet<(Timestamp, ToolKey)>,
    /// One for each breaker, to look at it when it may have been idle for long; and those of tools that are forgotten.
    breakers: VecDeque<(Timestamp, ToolKey, Arc<str>)>,
    /// The figures of all tools, also of those that are forgotten.
    totals: ToolStats,
    /// What comes next, of whatever kind.
    next: u64,
    effects: Vec<Effect>,
}

/// What the outside has to do, in this order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Have a worker run an attempt.
    Dispatch { worker: WorkerKey, order: Order },
    /// Tell it that nobody waits any more.
    Cancel { worker: WorkerKey, dispatch: DispatchKey },
    /// Let it send more chunks.
    Credit { worker: WorkerKey, dispatch: DispatchKey, chunks: u32 },
    /// Let a draining worker go.
    Drained { worker: WorkerKey },
    /// Close the connection of a worker whose place another has taken.
    Replaced { worker: WorkerKey },
    /// Tell whoever waits for a call.
    Tell { call: CallKey, news: News },
    /// At this time, [`Registry::wake`]: a breaker lets calls through again.
    Wake { tool: ToolKey, at: Timestamp },
}

/// An attempt to run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) dispatch: DispatchKey,
    pub(crate) call_id: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) tool: Name,
    pub(crate) request: Arc<Request>,
    pub(crate) deadline: Timestamp,
    pub(crate) chunk_credit: u32,
}

/// What a call's caller is told.
#[derive(Debug)]
pub(crate) enum News {
    /// The tool yielded something.
    Chunk(Value),
    /// An attempt failed: after a pause of about this, [`Registry::retry`].
    Backoff(std::time::Duration),
    /// There is no worker now: if there is none after this, [`Registry::give_up`].
    Wait(std::time::Duration),
    /// It has ended.
    Ended(Box<(Ending, CallRecord)>),
}

/// A call to be.
pub(crate) struct NewCall {
    pub(crate) tool: Found,
    /// Whose it is: never global.
    pub(crate) home: Scope,
    /// Empty: to be named here.
    pub(crate) id: Arc<str>,
    pub(crate) request: Arc<Request>,
    pub(crate) deadline: Timestamp,
}

/// A tool found by its name.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) key: ToolKey,
    pub(crate) spec: Arc<ToolSpec>,
    pub(crate) schema: Arc<Schema>,
}

/// The unfinished chunks that a worker may send before it is given more.
pub(crate) const CHUNK_CREDIT: u32 = 8;

impl Registry {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            pools: HashMap::new(),
            tools: HashMap::new(),
            workers: HashMap::new(),
            calls: HashMap::new(),
            names: HashMap::new(),
            dispatches: HashMap::new(),
            ended: EndedCalls::up_to(policy.ended),
            gone: BTreeSet::new(),
            breakers: VecDeque::new(),
            totals: ToolStats::default(),
            next: 1,
            effects: Vec::new(),
            policy,
        }
    }

    /// What has to be done by now.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The tool that a session means by a name: its own, else the global one.
    pub(crate) fn find(&self, home: &Scope, name: &str) -> Option<Found> {
        let (key, entry) = self.offered(home, name)?;
        Some(Found { key, spec: Arc::clone(&entry.spec), schema: Arc::clone(&entry.schema) })
    }

    /// A call by its name, running or ended.
    pub(crate) fn call(&self, home: &Scope, id: &str, now: Timestamp) -> Option<CallRecord> {
        let name = (home.clone(), id.into());
        match self.names.get(&name) {
            Some(key) => self.running_record(*key, now),
            None => self.ended.get(&name).cloned(),
        }
    }

    /// A call that has not ended.
    pub(crate) fn running_record(&self, key: CallKey, now: Timestamp) -> Option<CallRecord> {
        self.calls.get(&key).map(|call| Self::record(call, now))
    }

    /// The key of a running call.
    pub(crate) fn running(&self, home: &Scope, id: &str) -> Option<CallKey> {
        self.names.get(&(home.clone(), id.into())).copied()
    }

    fn record(call: &Call, now: Timestamp) -> CallRecord {
        let state = match call.stage {
            Stage::Running(_) => CallState::Running,
            Stage::Queued | Stage::Backoff | Stage::Waiting => CallState::Queued,
        };
        CallRecord {
            id: Arc::clone(&call.id),
            tool: call.spec.name.clone(),
            state,
            attempts: call.attempts.clone(),
            accepted: call.accepted,
            took: now.since(call.accepted),
        }
    }

    /// Counts something for a tool.
    fn count(&mut self, tool: ToolKey, count: impl Fn(&mut ToolStats)) {
        count(&mut self.totals);
        if let Some(entry) = self.tools.get_mut(&tool) {
            count(&mut entry.stats);
        }
    }

    fn tell(&mut self, call: CallKey, news: News) {
        self.effects.push(Effect::Tell { call, news });
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}
