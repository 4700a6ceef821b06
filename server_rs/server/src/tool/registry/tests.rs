//! What random steps with few workers and little time do not reach.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use snakepit_core::{
    error::Error,
    session::{Incarnation, SessionId},
    tool::Failure,
};

use super::{state::Stage, *};

struct Small {
    registry: Registry,
    now: Timestamp,
}

fn home() -> Scope {
    Scope::Session(SessionId::parse("s").unwrap(), Incarnation::try_from(&[7; 16][..]).unwrap())
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec::new(Name::parse(name).unwrap())
}

fn request() -> Arc<Request> {
    let session_id = SessionId::parse("s").unwrap();
    let arguments = Arc::from([]);
    Arc::new(Request {
        arguments,
        caller: "".into(),
        session_id,
        traceparent: "".into(),
        tracestate: "".into(),
        wants_chunks: false,
    })
}

fn lost() -> Ending {
    Ending::Unavailable { cause: "lost".into() }
}

impl Small {
    fn new() -> Self {
        let policy = Policy { breaker: BreakerPolicy::default(), tools: 10, queued: 10, ended: 10 };
        Self { registry: Registry::new(policy), now: Timestamp(1_000_000_000) }
    }

    fn join(&mut self, id: &str, max: usize) -> WorkerKey {
        self.connect(id, max, Connection::default()).unwrap()
    }

    fn connect(&mut self, id: &str, max: usize, connection: Connection) -> Result<WorkerKey, Error> {
        let new = NewWorker { id: id.into(), owner: None, label: "".into(), scope: home(), max, connection };
        self.registry.join(new, self.now)
    }

    fn offer(&mut self, worker: WorkerKey, specs: impl IntoIterator<Item = ToolSpec>) {
        let tools = specs.into_iter().map(|spec| (spec, Schema::compile("", 100).unwrap())).collect();
        self.registry.offer(worker, tools, self.now).unwrap();
    }

    fn call(&mut self, name: &str, id: &str) -> Result<CallKey, Error> {
        let tool = self.registry.find(&home(), name).unwrap();
        self.call_found(tool, id)
    }

    fn call_found(&mut self, tool: Found, id: &str) -> Result<CallKey, Error> {
        let deadline = self.now.after(Duration::from_secs(60));
        let new = NewCall { tool, home: home(), id: id.into(), request: request(), deadline };
        self.registry.accept(new, self.now)
    }

    fn runs(&self, call: CallKey) -> (DispatchKey, Arc<str>) {
        let Stage::Running(key) = self.registry.calls[&call].stage else { panic!("it does not run") };
        (key, Arc::clone(&self.registry.workers[&self.registry.dispatches[&key].worker].id))
    }

    fn fail(&mut self, worker: WorkerKey, call: CallKey) {
        let failure = Failure { retryable: true, ..Failure::default() };
        self.registry.answered(worker, self.runs(call).0, Outcome::Failure(failure), self.now);
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }
}

#[test]
fn a_call_that_names_itself_as_the_server_would_keeps_its_name() {
    let mut small = Small::new();
    let worker = small.join("w", 100);
    small.offer(worker, [spec("t")]);
    let next = small.registry.next;
    let own: Vec<CallKey> =
        (next..next + 20).map(|number| small.call("t", &format!("call-{number}")).unwrap()).collect();
    let named: Vec<CallKey> = (0..20).map(|_| small.call("t", "").unwrap()).collect();
    assert_eq!(small.registry.names.len(), 40);
    for call in own.iter().chain(&named) {
        let id = Arc::clone(&small.registry.calls[call].id);
        assert_eq!(small.registry.running(&home(), &id), Some(*call));
    }
}

#[test]
fn a_tool_that_has_changed_since_it_was_found_is_not_called() {
    let mut small = Small::new();
    let worker = small.join("w", 1);
    small.offer(worker, [spec("t")]);
    let found = small.registry.find(&home(), "t").unwrap();
    small.offer(worker, [ToolSpec { idempotent: true, ..spec("t") }]);
    let refused = small.call_found(found, "").unwrap_err();
    assert!(matches!(refused, Error::ToolUnavailable { dispatched: false, .. }), "{refused:?}");
    let found = small.registry.find(&home(), "t").unwrap();
    small.registry.leave(worker, &lost(), small.now);
    assert!(small.call_found(found, "").is_err());
    assert!(small.registry.calls.is_empty());
}

#[test]
fn among_many_workers_the_least_loaded_gets_the_call() {
    let mut small = Small::new();
    for number in 0..100 {
        let worker = small.join(&format!("w{number}"), 4);
        small.offer(worker, [spec(if number % 3 == 0 { "few" } else { "many" })]);
    }
    let mut loads: HashMap<Arc<str>, usize> = HashMap::new();
    for _ in 0..3 * 66 {
        let call = small.call("many", "").unwrap();
        *loads.entry(small.runs(call).1).or_default() += 1;
    }
    assert_eq!(loads.len(), 66);
    assert!(loads.values().all(|load| *load == 3), "{loads:?}");
}

#[test]
fn a_retry_among_many_workers_goes_to_one_that_has_not_tried() {
    let mut small = Small::new();
    let retry = crate::tool::RetryPolicy { max_attempts: 40, ..Default::default() };
    for number in 0..40 {
        let worker = small.join(&format!("w{number}"), 1);
        small.offer(worker, [ToolSpec { idempotent: true, retry: retry.clone(), ..spec("t") }]);
    }
    let call = small.call("t", "").unwrap();
    let mut tried = std::collections::HashSet::new();
    for _ in 0..39 {
        let (dispatch, id) = small.runs(call);
        assert!(tried.insert(id));
        small.fail(small.registry.dispatches[&dispatch].worker, call);
        small.registry.retry(call, small.now);
    }
    assert!(tried.insert(small.runs(call).1));
}

#[test]
fn what_a_worker_offered_and_withdrew_is_not_kept() {
    let mut small = Small::new();
    let worker = small.join("w", 1);
    for number in 0..1_000 {
        let name = format!("t{number}");
        small.offer(worker, [spec(&name)]);
        small.registry.withdraw(worker, &[Name::parse(&name).unwrap()], small.now);
    }
    let found = &small.registry.workers[&worker];
    assert_eq!((found.offers.len(), found.running.len()), (0, 0));
    assert!(small.registry.tools.len() <= 10 && small.registry.gone.len() <= 10);
    small.pass(Duration::from_secs(600));
    small.registry.sweep(small.now);
    assert_eq!((small.registry.tools.len(), small.registry.gone.len()), (0, 0));
}

#[test]
fn breakers_of_workers_that_never_come_back_are_bounded_and_those_of_others_are_kept() {
    let mut small = Small::new();
    let stays = small.join("stays", 1);
    small.offer(stays, [spec("t")]);
    let call = small.call("t", "").unwrap();
    small.fail(stays, call);
    small.registry.drain(stays, small.now);
    for number in 0..25_000 {
        let worker = small.join(&format!("w{number}"), 1);
        small.offer(worker, [spec("t")]);
        small.call("t", "").unwrap();
        small.registry.leave(worker, &lost(), small.now);
    }
    let (registry, entry) = (&small.registry, small.registry.tools.values().next().unwrap());
    assert_eq!((registry.breakers.len(), entry.breakers.len()), (10_000, 10_000));
    assert!(entry.breakers.contains_key("stays") && entry.breakers.contains_key("w24999"));
    assert_eq!(registry.ended.len(), 10);
    small.pass(Duration::from_secs(600));
    small.registry.sweep(small.now);
    assert_eq!(small.registry.breakers.len(), 0);
}

#[test]
fn time_between_the_acceptance_and_the_dispatch_does_not_keep_a_deadline_from_counting() {
    let mut small = Small::new();
    let worker = small.join("w", 1);
    small.offer(worker, [ToolSpec { timeout: Some(Duration::from_secs(10)), ..spec("t") }]);
    for waited in 0..3 {
        let first = small.call("t", "").unwrap();
        let second = small.call("t", "").unwrap();
        small.pass(Duration::from_secs(waited));
        let result = Outcome::Result(Value::Null);
        small.registry.answered(worker, small.runs(first).0, result, small.now);
        small.pass(Duration::from_secs(10 - waited));
        let (dispatch, _) = small.runs(second);
        assert!(small.registry.end(second, Ending::Deadline, small.now));
        small.registry.answered(worker, dispatch, Outcome::Failure(Failure::default()), small.now);
        let shown = small.registry.show(&home(), "t", small.now).unwrap();
        assert_eq!(shown.workers[0].failures_in_row, u32::from(waited < 2), "{waited}");
        assert_eq!(shown.stats.late, 0);
    }
}

#[test]
fn the_newest_stream_of_an_instance_has_the_place_whichever_comes_first() {
    let stream = |instance: &'static str, generation| Connection { instance: instance.into(), generation };
    for (open, comes, wins) in [
        // Of one instance: a higher number, the same one, a lower one.
        (stream("a", 2), stream("a", 3), true),
        (stream("a", 2), stream("a", 2), true),
        (stream("a", 3), stream("a", 2), false),
        // Another program, and clients that do not say.
        (stream("a", 3), stream("b", 1), true),
        (stream("a", 3), stream("", 1), true),
        (stream("", 3), stream("", 1), true),
        (stream("a", 3), Connection::default(), true),
        (Connection::default(), stream("a", 1), true),
        (stream("a", 3), stream("a", 0), true),
    ] {
        let what = format!("{open:?}, then {comes:?}");
        let mut small = Small::new();
        let first = small.connect("w", 1, open).unwrap();
        small.offer(first, [spec("tool")]);
        match small.connect("w", 1, comes) {
            Ok(second) => {
                assert!(wins && second != first, "{what}");
                let replaced = |effect: &Effect| matches!(effect, Effect::Replaced { worker } if *worker == first);
                assert!(small.registry.take_effects().iter().any(replaced), "{what}");
                assert!(small.registry.find(&home(), "tool").is_none(), "{what}");
            }
            Err(error) => {
                assert!(!wins, "{what}");
                assert!(matches!(&error, Error::InvalidRequest { field, .. } if field == "generation"), "{error:?}");
                assert!(small.registry.find(&home(), "tool").is_some(), "{what}");
            }
        }
    }
}
