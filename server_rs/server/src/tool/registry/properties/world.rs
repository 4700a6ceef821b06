//! Runs steps: says them to the registry and to the bookkeeping, and compares what comes of them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::sample::Index;
use snakepit_core::{
    error::Error,
    tool::Failure,
    value::Value,
    variable::{Name, Timestamp},
};

use super::{
    indexes,
    ledger::{Call, Ledger, Stage, ToolId},
    steps::{How, Step, TOOLS, policy, spec, worker_id},
};
use crate::tool::{
    Schema,
    call::{CallKey, DispatchKey, Ending, Request, Scope, ToolKey, WorkerKey},
    registry::{Connection, Effect, NewCall, NewWorker, Outcome, Registry},
};

pub(super) struct World {
    pub(super) registry: Registry,
    pub(super) ledger: Ledger,
    /// All that ever connected.
    workers: Vec<WorkerKey>,
    /// The breakers whose time will be up.
    wakes: BTreeSet<(Timestamp, ToolKey)>,
}

impl World {
    pub(super) fn new() -> Self {
        let ledger = Ledger { now: Timestamp(1_000_000_000), ..Ledger::default() };
        Self { registry: Registry::new(policy()), ledger, workers: Vec::new(), wakes: BTreeSet::new() }
    }

    pub(super) fn run(steps: &[Step]) -> Self {
        let mut world = Self::new();
        for step in steps {
            world.step(step);
        }
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        let now = self.ledger.now;
        match step.clone() {
            Step::Pass(seconds) => self.pass(seconds),
            Step::Join { scope, id, max } => self.join(scope, worker_id(id), max),
            Step::Offer { worker, tools } => self.offer(worker, &tools),
            Step::Withdraw { worker, tools } => {
                let Some(worker) = self.worker(worker) else { return };
                let names: Vec<String> = tools.into_iter().map(|tool| TOOLS[tool].to_owned()).collect();
                let parsed: Vec<Name> = names.iter().map(|name| Name::parse(name).unwrap()).collect();
                self.registry.withdraw(worker, &parsed, now);
                self.ledger.withdraws(worker, &names);
            }
            Step::Drain { worker } => {
                let Some(worker) = self.worker(worker) else { return };
                self.registry.drain(worker, now);
                self.ledger.drains(worker);
            }
            Step::Leave { worker } => {
                let Some(worker) = self.worker(worker) else { return };
                self.leave(worker);
            }
            Step::Accept { home, tool, id, chunks, timeout } => self.accept(home, TOOLS[tool], id, chunks, timeout),
            Step::Answer { dispatch, how } => {
                let open = self.open();
                if !open.is_empty() {
                    self.answer(*dispatch.get(&open), how);
                }
            }
            Step::AnswerAmiss { dispatch, worker } => self.answer_amiss(dispatch, worker),
            Step::Chunk { dispatch } => {
                let streaming = |it: &&super::ledger::Dispatch| it.open && it.credit > 0;
                let ready: Vec<_> =
                    self.ledger.dispatches.iter().filter(|(_, it)| streaming(it)).map(|(key, _)| *key).collect();
                if ready.is_empty() {
                    return;
                }
                let key = *dispatch.get(&ready);
                let (worker, sequence) = (self.ledger.dispatches[&key].worker, self.ledger.dispatches[&key].chunks);
                self.chunk(key, worker, sequence);
            }
            Step::ChunkAmiss { dispatch, worker, sequence } => {
                let known: Vec<DispatchKey> = self.ledger.dispatches.keys().copied().collect();
                if let Some(worker) = self.worker(worker)
                    && !known.is_empty()
                {
                    self.chunk(*dispatch.get(&known), worker, sequence);
                }
            }
            Step::Taken { call, most } => self.with_call(call, |this, call| {
                let taken = this.ledger.takes(call, most);
                if taken > 0 {
                    this.ledger.reach("chunks taken");
                    this.registry.taken(call, taken);
                }
            }),
            Step::End { call, deadline } => self.with_call(call, |this, call| {
                let ending = if deadline { Ending::Deadline } else { Ending::Cancelled { by: "test".into() } };
                let ended = this.registry.end(call, ending, now);
                assert_eq!(ended, this.ledger.is_ended_from_outside(call, deadline));
            }),
            Step::Retry { call } => self.with_call(call, Self::retry),
            Step::GiveUp { call } => self.with_call(call, Self::give_up),
            Step::Forget { scope } => {
                self.registry.forget(&scope, &Error::SessionNotFound { session: "gone".into() }, now);
                self.ledger.forgets(&scope);
            }
            Step::Sweep => self.sweep(),
        }
        self.compare();
    }

    /// Time passes. Breakers are woken when their time is up, as the hub does.
    pub(super) fn pass(&mut self, seconds: u64) {
        let until = self.ledger.now.after(Duration::from_secs(seconds));
        while let Some((at, tool)) = self.wakes.first().copied().filter(|(at, _)| *at <= until) {
            self.wakes.pop_first();
            self.ledger.now = at.max(self.ledger.now);
            self.registry.wake(tool, self.ledger.now);
            self.ledger.reach(if self.registry.effects.is_empty() { "woken" } else { "woken, and calls waited" });
            if self.wakes.first().is_none_or(|(next, _)| *next > at) {
                self.compare();
            }
        }
        self.ledger.now = until;
    }

    pub(super) fn leave(&mut self, worker: WorkerKey) {
        let cause = Ending::Unavailable { cause: "test".into() };
        self.registry.leave(worker, &cause, self.ledger.now);
        self.ledger.leaves(worker);
    }

    pub(super) fn answer(&mut self, key: DispatchKey, how: How) {
        let worker = self.ledger.dispatches[&key].worker;
        self.registry.answered(worker, key, outcome(how), self.ledger.now);
        self.ledger.answers(key, how);
    }

    pub(super) fn retry(&mut self, call: CallKey) {
        self.registry.retry(call, self.ledger.now);
        self.ledger.retries(call);
    }

    pub(super) fn give_up(&mut self, call: CallKey) {
        self.registry.give_up(call, self.ledger.now);
        self.ledger.gives_up(call);
    }

    pub(super) fn sweep(&mut self) {
        self.registry.sweep(self.ledger.now);
        self.ledger.sweeps();
        // When exactly an idle breaker is forgotten is the registry's own business.
        let (registry, now) = (&self.registry, self.ledger.now);
        let mut forgotten = 0;
        self.ledger.breakers.retain(|((scope, name), id), breaker| {
            let entry = registry.pools.get(scope).and_then(|pool| registry.tools.get(pool.tools.get(&**name)?));
            let known = entry.is_some_and(|entry| entry.breakers.contains_key(id));
            assert!(known || breaker.is_idle_for(600, now), "{breaker:?} is forgotten");
            assert!(!known || !breaker.is_idle_for(1_200, now), "{breaker:?} is remembered");
            forgotten += u32::from(!known);
            known
        });
        *self.ledger.reached.entry("breaker forgotten".into()).or_default() += forgotten;
    }

    pub(super) fn open(&self) -> Vec<DispatchKey> {
        self.ledger.dispatches.iter().filter(|(_, it)| it.open).map(|(key, _)| *key).collect()
    }

    pub(super) fn in_stage(&self, stage: impl Fn(Stage) -> bool) -> Vec<CallKey> {
        self.ledger.calls.iter().filter(|(_, call)| stage(call.stage)).map(|(key, _)| *key).collect()
    }

    pub(super) fn compare(&mut self) {
        for effect in self.registry.take_effects() {
            if let Effect::Wake { tool, at } = effect {
                self.wakes.insert((at, tool));
            }
            self.ledger.told(effect);
        }
        self.ledger.check(&self.registry);
        indexes::check(&self.registry, self.ledger.now);
    }

    fn worker(&self, index: Index) -> Option<WorkerKey> {
        (!self.workers.is_empty()).then(|| *index.get(&self.workers))
    }

    fn with_call(&mut self, index: Index, then: impl FnOnce(&mut Self, CallKey)) {
        // Those that have not ended are more interesting.
        let mut calls = self.in_stage(|stage| !matches!(stage, Stage::Ended(_)));
        if calls.is_empty() {
            calls = self.in_stage(|_| true);
        }
        if !calls.is_empty() {
            then(self, *index.get(&calls));
        }
    }

    fn join(&mut self, scope: Scope, id: Arc<str>, max: usize) {
        let connection = Connection::default();
        let (label, owner) = ("test".into(), None);
        let new = NewWorker { id: Arc::clone(&id), owner, label, scope: scope.clone(), max, connection };
        let key = self.registry.join(new, self.ledger.now).unwrap();
        self.workers.push(key);
        self.ledger.joins(key, scope, id, max);
    }

    fn offer(&mut self, worker: Index, tools: &[(usize, usize)]) {
        let Some(worker) = self.worker(worker) else { return };
        let specs: Vec<_> = tools.iter().map(|(tool, kind)| spec(*tool, *kind)).collect();
        let offers = specs.iter().map(|spec| (spec.clone(), Schema::compile("", 100).unwrap())).collect();
        let answer = self.registry.offer(worker, offers, self.ledger.now);
        let (refused, for_room) = self.ledger.offers(worker, &specs);
        let limit = |error: &Error| matches!(error, Error::LimitExceeded { limit: "tools_per_session", .. });
        let told = answer.err().unwrap_or_default();
        assert_eq!(told.iter().map(|(name, _)| name.to_string()).collect::<BTreeSet<_>>(), refused);
        assert!(told.iter().all(|(_, error)| limit(error) == for_room), "{told:?}");
    }

    fn accept(&mut self, home: Scope, name: &str, id: Option<usize>, chunks: bool, timeout: u64) {
        let now = self.ledger.now;
        let found = self.registry.find(&home, name);
        let tool = self.ledger.find(&home, name);
        assert_eq!(found.is_some(), tool.is_some());
        let (Some(found), Some(tool)) = (found, tool) else { return };
        let Scope::Session(session_id, _) = home.clone() else { return };
        let id: Arc<str> = id.map(|id| format!("id{id}").into()).unwrap_or_default();
        let taken = !id.is_empty() && self.registry.call(&home, &id, now).is_some();
        let within = Duration::from_secs(timeout).min(found.spec.timeout.unwrap_or(Duration::MAX));
        let request = Request {
            arguments: Arc::from([(Arc::from("x"), Value::Int(1))]),
            caller: "test".into(),
            session_id,
            traceparent: "".into(),
            tracestate: "".into(),
            wants_chunks: chunks,
        };
        let deadline = now.after(within);
        let new =
            NewCall { tool: found, home: home.clone(), id: Arc::clone(&id), request: Arc::new(request), deadline };
        let answer = self.registry.accept(new, now);
        let expected = self.refusal(&tool, taken);
        assert_eq!(answer.as_ref().err().map(kind), expected);
        if let Some(refused) = expected {
            self.ledger.reach(refused);
        }
        match answer {
            Ok(key) => {
                let record = self.registry.running_record(key, now).unwrap();
                assert!(id.is_empty() || record.id == id);
                let known = &self.ledger.tools[&tool];
                let (spec, edition) = (known.spec.clone(), known.edition);
                let call = Call {
                    home,
                    id: record.id,
                    tool,
                    spec,
                    edition,
                    chunks,
                    accepted: now,
                    deadline,
                    attempts: Vec::new(),
                    stage: Stage::Waits,
                    chunked: false,
                    unread: 0,
                    gives_up: false,
                    due: None,
                };
                self.ledger.accepts(key, call);
            }
            Err(_) if taken => {}
            Err(_) => self.ledger.tools.get_mut(&tool).unwrap().refused += 1,
        }
    }

    /// Why a call of the tool has to be refused.
    fn refusal(&self, tool: &ToolId, taken: bool) -> Option<&'static str> {
        if taken {
            return Some("call_id");
        }
        if !self.ledger.is_anybody_there(tool) {
            return Some("unavailable");
        }
        let is_full = self.ledger.able(tool).is_empty() && self.ledger.waiting(tool).count() >= policy().queued;
        is_full.then_some("queued_calls_per_tool")
    }

    fn answer_amiss(&mut self, dispatch: Index, worker: Index) {
        let known: Vec<DispatchKey> = self.ledger.dispatches.keys().copied().collect();
        let Some(worker) = self.worker(worker) else { return };
        let key = if known.is_empty() { DispatchKey(u64::MAX) } else { *dispatch.get(&known) };
        let right = self.ledger.dispatches.get(&key).is_some_and(|it| it.open && it.worker == worker);
        if !right {
            self.registry.answered(worker, key, outcome(How::Result), self.ledger.now);
        }
    }

    fn chunk(&mut self, key: DispatchKey, worker: WorkerKey, sequence: u64) {
        let answer = self.registry.chunk(worker, key, sequence, Value::Int(1));
        self.ledger.reach(if answer.is_ok() { "chunk" } else { "chunk refused" });
        assert_eq!(answer.is_ok(), self.ledger.chunk(key, worker, sequence), "{answer:?}");
    }
}

fn outcome(how: How) -> Outcome {
    let failure = |retryable| Outcome::Failure(Failure { retryable, ..Failure::default() });
    match how {
        How::Result => Outcome::Result(Value::Int(1)),
        How::Failure => failure(false),
        How::Retryable => failure(true),
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::InvalidRequest { field, .. } if field == "call_id" => "call_id",
        Error::ToolUnavailable { dispatched: false, .. } => "unavailable",
        Error::LimitExceeded { limit, .. } => limit,
        other => panic!("{other:?}"),
    }
}
