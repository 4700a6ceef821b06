use std::sync::Arc;

use snakepit_core::{tool::Failure, value::Value, variable::Timestamp};

use super::{
    Effect, News, Registry,
    route::Target,
    state::{Call, Dispatch, Stage},
    verdict::Verdict,
};
use crate::tool::call::{CallKey, DispatchKey, Ending, ToolKey, WorkerKey};

/// How a worker answers a dispatch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The tool returned.
    Result(Value),
    /// The tool failed.
    Failure(Failure),
}

impl Registry {
    /// A worker answers a dispatch. One that it does not have is nobody's.
    pub(crate) fn answered(&mut self, worker: WorkerKey, key: DispatchKey, outcome: Outcome, now: Timestamp) {
        let Some((dispatch, id)) = self.release(worker, key) else { return };
        let tool = dispatch.tool;
        if let Some(call) = dispatch.call {
            let (ending, verdict, retryable) = match outcome {
                Outcome::Result(value) => (Ending::Result(value), Verdict::Good, false),
                Outcome::Failure(failure) if failure.retryable => (Ending::Failure(failure), Verdict::Bad, true),
                Outcome::Failure(failure) => (Ending::Failure(failure), Verdict::Neither, false),
            };
            let opened = self.judge(tool, &id, key, verdict, now);
            self.attempt_ended(call, ending, retryable, now);
            if opened {
                self.settle(tool, now);
            }
        } else if let Outcome::Result(_) = outcome {
            // A failure is how a worker says that it has stopped.
            self.count(tool, |stats| stats.late += 1);
        }
        self.fill(worker, now);
        self.let_go(worker);
    }

    /// Ends a call from outside: its deadline has passed, or it was cancelled. False if it has ended.
    pub(crate) fn end(&mut self, key: CallKey, ending: Ending, now: Timestamp) -> bool {
        let Some(call) = self.calls.get(&key) else { return false };
        let tool = call.tool;
        let Stage::Running(dispatch) = call.stage else {
            self.conclude(key, ending, now);
            return true;
        };
        // It keeps its place until the worker answers.
        let abandoned = self.dispatches.get_mut(&dispatch).map(|found| {
            found.call = None;
            (found.worker, Self::verdict_of(call, found, &ending, now))
        });
        self.conclude(key, ending, now);
        let Some((worker, verdict)) = abandoned else { return true };
        self.effects.push(Effect::Cancel { worker, dispatch });
        let Some(id) = self.workers.get(&worker).map(|found| Arc::clone(&found.name)) else { return true };
        if self.judge(tool, &id, dispatch, verdict, now) {
            self.settle(tool, now);
        } else {
            // A trial that is over makes room for another.
            self.fill(worker, now);
        }
        true
    }

    /// The pause before another attempt is over.
    pub(crate) fn retry(&mut self, key: CallKey, now: Timestamp) {
        let Some(call) = self.calls.get(&key).filter(|call| call.stage == Stage::Backoff) else { return };
        match self.another_target(call, now) {
            Some(Target::Worker(worker)) => self.dispatch(key, worker, now),
            Some(Target::Later) => self.wait_for_room(key),
            Some(Target::Nobody) => self.wait_for_anybody(key),
            None => self.conclude(key, changed(), now),
        }
    }

    /// The wait for any worker at all is over.
    pub(crate) fn give_up(&mut self, key: CallKey, now: Timestamp) {
        let Some(call) = self.calls.get(&key).filter(|call| call.stage == Stage::Waiting) else { return };
        match self.another_target(call, now) {
            Some(Target::Worker(worker)) => self.dispatch(key, worker, now),
            Some(Target::Later) => self.wait_for_room(key),
            Some(Target::Nobody) => {
                let cause = "its worker was lost or its breaker opened, and no other came in time".into();
                self.conclude(key, Ending::Unavailable { cause }, now);
            }
            None => self.conclude(key, changed(), now),
        }
    }

    /// Nobody can run what waits for room: it waits for a worker if another attempt does no harm, else it ends.
    pub(super) fn strand(&mut self, tool: ToolKey, now: Timestamp) {
        let Some(entry) = self.tools.get(&tool) else { return };
        let idempotent = entry.spec.idempotent;
        let cause: Arc<str> = if entry.offers.is_empty() {
            "its last worker has left".into()
        } else {
            "the breakers of all its workers have opened, after too many failures in a row".into()
        };
        for call in entry.queue.iter().copied().collect::<Vec<_>>() {
            if idempotent {
                self.wait_for_anybody(call);
            } else {
                self.conclude(call, Ending::Unavailable { cause: Arc::clone(&cause) }, now);
            }
        }
    }

    /// Ends a call, once and for all.
    pub(super) fn conclude(&mut self, key: CallKey, ending: Ending, now: Timestamp) {
        self.stop_waiting(key);
        let Some(mut call) = self.calls.remove(&key) else { return };
        if let Some(attempt) = call.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            (attempt.ended, attempt.state) = (Some(now), ending.state());
        }
        let mut record = Self::record(&call, now);
        record.state = ending.state();
        if let Some(entry) = self.tools.get_mut(&call.tool) {
            entry.calls.remove(&key);
        }
        self.count(call.tool, |stats| stats.ended(record.state, record.took));
        let name = (call.home, call.id);
        self.names.remove(&name);
        self.ended.insert(name, record.clone());
        self.tell(key, News::Ended(Box::new((ending, record))));
    }

    /// An attempt came to nothing, or to the end of its call.
    pub(super) fn attempt_ended(&mut self, key: CallKey, ending: Ending, retryable: bool, now: Timestamp) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let retry = &call.spec.retry;
        let attempts = u32::try_from(call.attempts.len()).unwrap_or(u32::MAX);
        let is_same = self.tools.get(&call.tool).is_some_and(|entry| Arc::ptr_eq(&entry.spec, &call.spec));
        let may = call.spec.idempotent && is_same && !call.chunked && attempts < retry.max_attempts;
        if !(retryable && may) {
            return self.conclude(key, ending, now);
        }
        if let Some(attempt) = call.attempts.last_mut() {
            (attempt.ended, attempt.state) = (Some(now), ending.state());
        }
        call.stage = Stage::Backoff;
        let backoff = retry.backoff(attempts);
        self.tell(key, News::Backoff(backoff));
    }

    /// It waits for room at some worker.
    pub(super) fn wait_for_room(&mut self, key: CallKey) {
        self.stop_waiting(key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.stage = Stage::Queued;
        let tool = call.tool;
        self.change_queue(tool, |queue| queue.insert(key));
    }

    /// It waits no longer, neither for room nor for anybody.
    pub(super) fn stop_waiting(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        let tool = call.tool;
        match call.stage {
            Stage::Queued => self.change_queue(tool, |queue| queue.remove(&key)),
            Stage::Waiting => {
                if let Some(entry) = self.tools.get_mut(&tool) {
                    entry.waiting.remove(&key);
                }
            }
            Stage::Backoff | Stage::Running(_) => {}
        }
    }

    /// Takes a dispatch from its worker, which has room again. Also tells the worker's own name.
    fn release(&mut self, from: WorkerKey, key: DispatchKey) -> Option<(Dispatch, Arc<str>)> {
        if self.dispatches.get(&key)?.worker != from {
            return None;
        }
        let dispatch = self.dispatches.remove(&key)?;
        let tool = dispatch.tool;
        self.change_worker(from, |worker| {
            worker.dispatches.remove(&key);
            if let Some(running) = worker.running.get_mut(&tool) {
                *running -= 1;
                if *running == 0 {
                    worker.running.remove(&tool);
                }
            }
        });
        if let Some(entry) = self.tools.get_mut(&tool) {
            entry.dispatches -= 1;
        }
        let id = Arc::clone(&self.workers.get(&from)?.name);
        Some((dispatch, id))
    }

    /// Where another attempt can go; `None` if the tool has become another one.
    fn another_target(&self, call: &Call, now: Timestamp) -> Option<Target> {
        let entry = self.tools.get(&call.tool).filter(|entry| Arc::ptr_eq(&entry.spec, &call.spec))?;
        Some(self.route(entry, &call.attempts, now))
    }

    fn wait_for_anybody(&mut self, key: CallKey) {
        self.stop_waiting(key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.stage = Stage::Waiting;
        let longest = call.spec.retry.max_backoff;
        if let Some(entry) = self.tools.get_mut(&call.tool) {
            entry.waiting.insert(key);
        }
        self.tell(key, News::Wait(longest));
    }
}

/// Why a call of a tool that has become another one ends.
pub(super) fn changed() -> Ending {
    Ending::Unavailable { cause: "it was offered anew, as another tool of that name".into() }
}
