mod joined;
mod running;
mod tasks;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub(crate) use joined::Joined;
use parking_lot::Mutex;
pub(crate) use running::{Heard, Running};
use snakepit_core::{
    config::Limits,
    error::Error,
    session::SessionId,
    variable::{Name, Timestamp},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

use super::{
    BreakerPolicy, CallRecord, DispatchKey, Ending, Failure, ListedTool, Request, Schema, Scope, ShownTool, ToolSpec,
    call::{CallKey, WorkerKey},
    native::Tool,
    registry::{Connection, Effect, Figures, Found, NewCall, NewWorker, News, Order, Outcome, Policy, Registry},
};
use crate::store::Clock;

/// How many ended calls are remembered.
const ENDED_CALLS: usize = 100_000;

/// How long a call may take if neither its caller nor its tool says.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The tools, workers and calls of a server: the registry's one lock, its clock, and the ways to whoever is told
/// something. Clones share them.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    /// Held for one step at a time, never across an await.
    state: Mutex<State>,
    clock: Clock,
}

struct State {
    registry: Registry,
    workers: HashMap<WorkerKey, UnboundedSender<Told>>,
    callers: HashMap<CallKey, UnboundedSender<News>>,
    host: Option<WorkerKey>,
    native: HashMap<Name, Tool>,
    /// Native tools that run.
    running: HashMap<DispatchKey, AbortHandle>,
}

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// Run this.
    Dispatch(Order),
    /// Nobody waits for that any more.
    Cancel(DispatchKey),
    /// More chunks may be sent.
    Credit(DispatchKey, u32),
    /// It has nothing to do any more and gets nothing.
    Drained,
    /// Another connection has taken its place.
    Replaced,
}

/// What is asked for.
pub(crate) struct NewRequest {
    /// The session, and which life of it.
    pub(crate) home: Scope,
    pub(crate) session: SessionId,
    pub(crate) tool: String,
    pub(crate) id: Arc<str>,
    pub(crate) request: Request,
    /// As the caller wants it.
    pub(crate) timeout: Option<Duration>,
    /// If neither caller nor tool says.
    pub(crate) default_timeout: Option<Duration>,
    /// Of the rpc.
    pub(crate) longest: Option<Duration>,
}

impl Hub {
    /// Has to be called within a tokio runtime.
    pub(crate) fn start(limits: &Limits, breaker: BreakerPolicy, clock: Clock) -> Self {
        let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let policy = Policy {
            breaker,
            tools: most(limits.tools_per_session),
            queued: most(limits.queued_calls_per_tool),
            ended: ENDED_CALLS,
        };
        let state = State {
            registry: Registry::new(policy),
            workers: HashMap::new(),
            callers: HashMap::new(),
            host: None,
            native: HashMap::new(),
            running: HashMap::new(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), clock }))
    }

    /// Offers the host's own tools to every session.
    pub(crate) fn host(&self, tools: Vec<Tool>, schema_bytes: u64) -> Result<(), Error> {
        if tools.is_empty() {
            return Ok(());
        }
        let mut offers: Vec<(ToolSpec, Schema)> = Vec::with_capacity(tools.len());
        for tool in &tools {
            let spec = tool.spec()?;
            if offers.iter().any(|(other, _)| other.name == spec.name) {
                return Err(Error::ToolExists { tool: spec.name.shared() });
            }
            let schema = Schema::compile(&spec.arguments_schema, schema_bytes)?;
            offers.push((spec, schema));
        }
        self.step(|state, now| {
            let new = NewWorker {
                id: Arc::default(),
                owner: None,
                label: "host".into(),
                scope: Scope::Global,
                max: usize::MAX,
                connection: Connection::default(),
            };
            let host = state.registry.join(new, now)?;
            state.host = Some(host);
            state.native.extend(offers.iter().map(|(spec, _)| spec.name.clone()).zip(tools));
            let first = |mut refused: Vec<(Name, Error)>| refused.swap_remove(0).1;
            state.registry.offer(host, offers, now).map_err(first)
        })
    }

    /// A worker connects; what it is told comes out of the receiver. It leaves when the handle is dropped. The error is
    /// that a newer stream of it is open.
    pub(crate) fn join(&self, new: NewWorker) -> Result<(Joined, UnboundedReceiver<Told>), Error> {
        let (sender, receiver) = unbounded_channel();
        let key = self.step(|state, now| {
            let key = state.registry.join(new, now)?;
            state.workers.insert(key, sender);
            Ok::<_, Error>(key)
        })?;
        Ok((Joined::new(self.clone(), key), receiver))
    }

    /// A session has ended, and its tools with it.
    pub(crate) fn forget(&self, scope: &Scope, error: &Error) {
        self.step(|state, now| state.registry.forget(scope, error, now));
    }

    /// What a session can call, by name.
    pub(crate) fn list(&self, home: &Scope) -> Vec<ListedTool> {
        self.0.state.lock().registry.list(home)
    }

    /// One tool in detail.
    pub(crate) fn show(&self, home: &Scope, session: &SessionId, name: &str) -> Result<ShownTool, Error> {
        let now = self.0.clock.now();
        let shown = self.0.state.lock().registry.show(home, name, now);
        shown.ok_or_else(|| self.not_found(home, session, name))
    }

    /// How much there is, and what happened.
    pub(crate) fn figures(&self) -> Figures {
        let now = self.0.clock.now();
        self.0.state.lock().registry.figures(now)
    }

    /// The time, as the registry's own records have it.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// How a call stands.
    pub(crate) fn record(&self, home: &Scope, id: &str) -> Option<CallRecord> {
        let now = self.0.clock.now();
        self.0.state.lock().registry.call(home, id, now)
    }

    /// Cancels a call by its name. False if it has ended; none if there is no such call.
    pub(crate) fn cancel(&self, home: &Scope, id: &str, by: &Arc<str>) -> Option<bool> {
        self.step(|state, now| {
            if let Some(key) = state.registry.running(home, id) {
                return Some(state.registry.end(key, Ending::Cancelled { by: Arc::clone(by) }, now));
            }
            state.registry.call(home, id, now).map(|_| false)
        })
    }

    /// Begins a call: finds the tool, checks the arguments, dispatches it or has it wait.
    pub(crate) fn call(&self, new: NewRequest) -> Result<Running, Error> {
        let found = self.0.state.lock().registry.find(&new.home, &new.tool);
        let found = found.ok_or_else(|| self.not_found(&new.home, &new.session, &new.tool))?;
        // Outside the lock: it may take a while.
        if let Err(error) = found.schema.check(&new.tool, &new.request.arguments) {
            self.step(|state, _| state.registry.refused(found.key));
            return Err(error);
        }
        let within = within(&found, &new);
        let (sender, news) = unbounded_channel();
        let tool = found.spec.name.clone();
        let (key, accepted) = self.step(|state, now| {
            let call = NewCall {
                tool: found,
                home: new.home,
                id: new.id,
                request: Arc::new(new.request),
                deadline: now.after(within),
            };
            let key = state.registry.accept(call, now)?;
            state.callers.insert(key, sender);
            Ok::<_, Error>((key, state.registry.running_record(key, now)))
        })?;
        Ok(Running::new(self.clone(), key, tool, news, within, accepted))
    }

    /// Forgets what nobody needs to know any more. Nothing depends on when.
    pub(crate) fn sweep(&self) {
        self.step(|state, now| state.registry.sweep(now));
    }

    fn not_found(&self, home: &Scope, session: &SessionId, name: &str) -> Error {
        let names: Vec<Name> = self.list(home).into_iter().map(|tool| tool.spec.name.clone()).collect();
        Error::ToolNotFound { session: session.shared(), tool: name.into(), closest: Name::closest(name, &names) }
    }

    /// One step of the registry, and what follows from it.
    fn step<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.0.state.lock();
        let now = self.0.clock.now();
        let result = step(&mut state, now);
        loop {
            let effects = state.registry.take_effects();
            if effects.is_empty() {
                return result;
            }
            for effect in effects {
                self.apply(&mut state, effect, now);
            }
        }
    }

    fn apply(&self, state: &mut State, effect: Effect, now: Timestamp) {
        let (worker, told) = match effect {
            Effect::Tell { call, news } => {
                let ended = matches!(news, News::Ended(_));
                // A caller that is gone has its call cancelled by its handle.
                let _ = state.callers.get(&call).map(|caller| caller.send(news));
                if ended {
                    state.callers.remove(&call);
                }
                return;
            }
            Effect::Wake { tool, at } => return self.wake(tool, at.since(now)),
            Effect::Dispatch { worker, order } if state.host == Some(worker) => return self.run(state, worker, order),
            Effect::Cancel { worker, dispatch } if state.host == Some(worker) => {
                if let Some(task) = state.running.remove(&dispatch) {
                    task.abort();
                    state.registry.answered(worker, dispatch, Outcome::Failure(Failure::default()), now);
                }
                return;
            }
            Effect::Dispatch { worker, order } => (worker, Told::Dispatch(order)),
            Effect::Cancel { worker, dispatch } => (worker, Told::Cancel(dispatch)),
            Effect::Credit { worker, dispatch, chunks } => (worker, Told::Credit(dispatch, chunks)),
            Effect::Drained { worker } => (worker, Told::Drained),
            Effect::Replaced { worker } => (worker, Told::Replaced),
        };
        // A worker that is gone has its connection's end say so.
        let _ = state.workers.get(&worker).map(|worker| worker.send(told));
    }
}

fn within(found: &Found, new: &NewRequest) -> Duration {
    /// Whatever is said: a deadline has to be a point in time.
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    let own = found.spec.timeout;
    let wanted = new.timeout.or(own).or(new.default_timeout).unwrap_or(DEFAULT_TIMEOUT);
    [own, new.longest, Some(LONGEST)].into_iter().flatten().fold(wanted, Duration::min)
}
