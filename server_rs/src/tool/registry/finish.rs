use std::sync::Arc;

use super::{
    Effect, News, Registry,
    route::Target,
    state::{Call, Dispatch, Stage},
};
use crate::{
    error::Error,
    tool::{
        Failure,
        breaker::Breaker,
        call::{CallKey, DispatchKey, Ending, ToolKey, WorkerKey},
    },
    value::Value,
    variable::Timestamp,
};

/// A tool without a timeout has to have run this long before its deadline counts against its worker: a hurried caller
/// must not open the breaker for everybody.
const SLOW: std::time::Duration = std::time::Duration::from_secs(10);

/// How a worker answers a dispatch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The tool returned.
    Result(Value),
    /// The tool failed.
    Failure(Failure),
}

/// What an attempt says of its worker.
#[derive(Clone, Copy)]
enum Verdict {
    Good,
    Bad,
    Neither,
}

impl Registry {
    /// A worker answers a dispatch. One that it does not have is nobody's.
    pub(crate) fn answered(&mut self, worker: WorkerKey, key: DispatchKey, outcome: Outcome, now: Timestamp) {
        let Some(dispatch) = self.release(worker, key) else { return };
        match dispatch.call {
            Some(call) => {
                let (ending, verdict, again) = match outcome {
                    Outcome::Result(value) => (Ending::Result(value), Verdict::Good, false),
                    Outcome::Failure(failure) => {
                        let verdict = if failure.retryable { Verdict::Bad } else { Verdict::Neither };
                        let again = failure.retryable;
                        (Ending::Failure(failure), verdict, again)
                    }
                };
                self.judge(dispatch.tool, worker, verdict, now);
                self.attempt_ended(call, ending, again, now);
            }
            None => {
                if let Some(entry) = self.tools.get_mut(&dispatch.tool) {
                    entry.stats.late += 1;
                }
            }
        }
        self.fill(worker, now);
        self.let_go(worker);
    }

    /// A worker sends a chunk. The error is what it did wrong.
    pub(crate) fn chunk(
        &mut self,
        from: WorkerKey,
        key: DispatchKey,
        sequence: u64,
        value: Value,
    ) -> Result<(), Error> {
        let Some(dispatch) = self.dispatches.get_mut(&key).filter(|dispatch| dispatch.worker == from) else {
            return Err(Error::invalid("chunk.dispatch", format!("{} is none that this worker has", key.0)));
        };
        if sequence != dispatch.next_chunk {
            let problem = format!("{sequence} is out of order: the next one is {}", dispatch.next_chunk);
            return Err(Error::invalid("chunk.sequence", problem));
        }
        if dispatch.credit == 0 {
            return Err(Error::invalid("chunk", "there is no credit for it; wait for ChunkCredit"));
        }
        dispatch.credit -= 1;
        dispatch.next_chunk += 1;
        if let Some(key) = dispatch.call {
            if let Some(call) = self.calls.get_mut(&key) {
                call.chunked = true;
            }
            self.tell(key, News::Chunk(value));
        }
        Ok(())
    }

    /// A caller has taken chunks: its worker may send as many more.
    pub(crate) fn taken(&mut self, call: CallKey, chunks: u32) {
        let Some(Stage::Running(key)) = self.calls.get(&call).map(|call| call.stage) else { return };
        let Some(dispatch) = self.dispatches.get_mut(&key) else { return };
        dispatch.credit += chunks;
        let worker = dispatch.worker;
        self.effects.push(Effect::Credit { worker, dispatch: key, chunks });
    }

    /// Ends a call from outside: its deadline has passed, or it was cancelled. False if it has ended.
    pub(crate) fn end(&mut self, key: CallKey, ending: Ending, now: Timestamp) -> bool {
        let Some(call) = self.calls.get(&key) else { return false };
        let tool = call.tool;
        if let Stage::Running(dispatch) = call.stage {
            let ran = call.attempts.last().map_or(std::time::Duration::ZERO, |attempt| now.since(attempt.dispatched));
            let slow = self.tools.get(&tool).is_some_and(|entry| ran >= entry.spec.timeout.unwrap_or(SLOW));
            let verdict = if ending == Ending::Deadline && slow { Verdict::Bad } else { Verdict::Neither };
            self.abandon(dispatch, verdict, now);
        }
        self.conclude(key, ending, now);
        // A trial that is over makes room for another.
        if let Some(worker) = self.tools.get(&tool).and_then(|entry| entry.offers.first().copied()) {
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
        let cause: Arc<str> = if self.is_offered(entry) {
            "the breakers of all its workers have opened, after too many failures in a row".into()
        } else {
            "its last worker has left".into()
        };
        for call in entry.queue.iter().copied().collect::<Vec<_>>() {
            if idempotent {
                self.wait_for_anybody(call);
            } else {
                self.conclude(call, Ending::Unavailable { cause: Arc::clone(&cause) }, now);
            }
        }
    }

    /// The connection to a worker is gone, with its dispatch.
    pub(super) fn lost(&mut self, dispatch: &Dispatch, cause: &Ending, now: Timestamp) {
        if let Some(call) = dispatch.call {
            self.attempt_ended(call, cause.clone(), true, now);
        }
    }

    /// Ends a call, once and for all.
    pub(super) fn conclude(&mut self, key: CallKey, ending: Ending, now: Timestamp) {
        let Some(mut call) = self.calls.remove(&key) else { return };
        if let Some(attempt) = call.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            (attempt.ended, attempt.state) = (Some(now), ending.state());
        }
        let mut record = self.record(&call, now);
        record.state = ending.state();
        if let Some(entry) = self.tools.get_mut(&call.tool) {
            entry.queue.remove(&key);
            entry.waiting.remove(&key);
            entry.stats.ended(record.state, record.took);
        }
        let name = (call.home, call.id);
        self.names.remove(&name);
        self.ended.insert(name, record.clone());
        self.tell(key, News::Ended(Box::new((ending, record))));
    }

    /// Takes a dispatch from its worker, which has room again.
    pub(super) fn release(&mut self, from: WorkerKey, key: DispatchKey) -> Option<Dispatch> {
        if self.dispatches.get(&key)?.worker != from {
            return None;
        }
        let dispatch = self.dispatches.remove(&key)?;
        if let Some(worker) = self.workers.get_mut(&from) {
            worker.dispatches.remove(&key);
            if let Some(running) = worker.tools.get_mut(&dispatch.tool) {
                *running = running.saturating_sub(1);
            }
        }
        Some(dispatch)
    }

    /// Notes what an attempt said of its worker.
    fn judge(&mut self, tool: ToolKey, worker: WorkerKey, verdict: Verdict, now: Timestamp) {
        let Some(id) = self.workers.get(&worker).map(|worker| Arc::clone(&worker.id)) else { return };
        let Some(entry) = self.tools.get_mut(&tool) else { return };
        match verdict {
            Verdict::Bad => {
                entry.breakers.entry(id).or_default().failed(&self.policy.breaker, now);
                return;
            }
            Verdict::Good => {
                if let Some(breaker) = entry.breakers.get_mut(&id) {
                    breaker.succeeded(&self.policy.breaker);
                }
            }
            Verdict::Neither => {
                if let Some(breaker) = entry.breakers.get_mut(&id) {
                    breaker.abstained();
                }
            }
        }
        if entry.breakers.get(&id).is_some_and(Breaker::is_closed) {
            entry.breakers.remove(&id);
        }
    }

    /// One lost connection counts once for each tool that it had running.
    pub(super) fn judge_loss(&mut self, tool: ToolKey, worker: WorkerKey, now: Timestamp) {
        self.judge(tool, worker, Verdict::Bad, now);
    }

    /// Nobody waits for a dispatch any more. It keeps its place until the worker answers.
    fn abandon(&mut self, key: DispatchKey, verdict: Verdict, now: Timestamp) {
        let Some(dispatch) = self.dispatches.get_mut(&key) else { return };
        dispatch.call = None;
        let (tool, worker) = (dispatch.tool, dispatch.worker);
        self.judge(tool, worker, verdict, now);
        self.effects.push(Effect::Cancel { worker, dispatch: key });
    }

    fn attempt_ended(&mut self, key: CallKey, ending: Ending, retryable: bool, now: Timestamp) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(entry) = self.tools.get(&call.tool) else { return };
        let attempts = u32::try_from(call.attempts.len()).unwrap_or(u32::MAX);
        let again = retryable && entry.spec.idempotent && !call.chunked && attempts < entry.spec.retry.max_attempts;
        if !again {
            return self.conclude(key, ending, now);
        }
        if let Some(attempt) = call.attempts.last_mut() {
            (attempt.ended, attempt.state) = (Some(now), ending.state());
        }
        call.stage = Stage::Backoff;
        let backoff = entry.spec.retry.backoff(attempts);
        self.tell(key, News::Backoff(backoff));
    }

    /// Where another attempt can go; `None` if the tool has become another one.
    fn another_target(&self, call: &Call, now: Timestamp) -> Option<Target> {
        let entry = self.tools.get(&call.tool).filter(|entry| Arc::ptr_eq(&entry.spec, &call.spec))?;
        Some(self.route(entry, &call.attempts, now))
    }

    fn wait_for_room(&mut self, key: CallKey) {
        self.wait(key, Stage::Queued);
    }

    fn wait_for_anybody(&mut self, key: CallKey) {
        self.wait(key, Stage::Waiting);
    }

    fn wait(&mut self, key: CallKey, stage: Stage) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.stage = stage;
        let Some(entry) = self.tools.get_mut(&call.tool) else { return };
        entry.queue.remove(&key);
        entry.waiting.remove(&key);
        if stage == Stage::Waiting {
            entry.waiting.insert(key);
            let longest = entry.spec.retry.max_backoff;
            self.tell(key, News::Wait(longest));
        } else {
            entry.queue.insert(key);
        }
    }
}

/// Why a call of a tool that has become another one ends.
pub(super) fn changed() -> Ending {
    Ending::Unavailable { cause: "it was offered anew, as another tool of that name".into() }
}
