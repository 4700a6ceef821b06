//! What the registry tells: each of it has to be allowed, and all of it that is due has to come.

use std::sync::Arc;

use super::{
    breakers::Seen,
    ledger::{Dispatch, Due, Ledger, Stage, Told},
    steps::life,
};
use crate::tool::{
    call::{CallKey, CallRecord, CallState, Ending, WorkerKey},
    registry::{CHUNK_CREDIT, Effect, News, Order},
};

impl Ledger {
    pub(super) fn told(&mut self, effect: Effect) {
        match effect {
            Effect::Dispatch { worker, order } => self.dispatched(worker, &order),
            Effect::Cancel { worker, dispatch } => {
                assert_eq!(self.dispatches[&dispatch].worker, worker);
                self.settle(&Due::Cancel(dispatch));
            }
            Effect::Credit { worker, dispatch, chunks } => {
                assert_eq!(self.dispatches[&dispatch].worker, worker);
                self.settle(&Due::Credit(dispatch, chunks));
            }
            Effect::Drained { worker } => self.settle(&Due::Drained(worker)),
            Effect::Replaced { worker } => self.settle(&Due::Replaced(worker)),
            Effect::Wake { at, .. } => self.settle(&Due::Wake(at)),
            Effect::Tell { call, news } => self.news(call, news),
        }
    }

    fn settle(&mut self, due: &Due) {
        let found = self.due.iter().position(|other| other == due);
        self.due.swap_remove(found.unwrap_or_else(|| panic!("{due:?} is not due: {:?}", self.due)));
    }

    fn dispatched(&mut self, to: WorkerKey, order: &Order) {
        let home = life(order.request.session_id.clone());
        let mut calls = self.calls.iter().filter(|(_, it)| it.home == home && it.id == order.call_id && !it.is_ended());
        let key = *calls.next().expect("a dispatch of no call").0;
        let call = &self.calls[&key];
        let tool = call.tool.clone();
        assert_eq!((call.stage, call.due), (Stage::Waits, None), "{call:?} does not wait");
        assert_eq!(self.tools[&tool].edition, call.edition, "its arguments were checked against another schema");
        assert_eq!((&*order.tool, order.deadline), (&*tool.1, call.deadline));
        assert_eq!(order.attempt as usize, call.attempts.len() + 1);
        assert!(order.attempt == 1 || call.spec.idempotent && !call.chunked, "{call:?} must not be tried again");
        assert!(order.attempt <= call.spec.retry.max_attempts || order.attempt == 1);
        assert_eq!(self.waiting(&tool).next(), Some(key), "first come first served");
        let able = self.able(&tool);
        assert!(able.contains(&to), "{to:?} has no room for {tool:?}, but {able:?}");
        let id = |worker: WorkerKey| Arc::clone(&self.workers[&worker].id);
        let rank = |worker: WorkerKey| {
            let tried = call.attempts.iter().any(|it| self.dispatches[it].worker_id == id(worker));
            let (max, load) = (self.workers[&worker].max, self.load(worker, &tool).0);
            let used = self.dispatches.iter().rev().find(|(_, it)| it.worker == worker).map(|(key, _)| *key);
            (tried, load * 1_000 / max, used, worker)
        };
        assert_eq!(able.iter().map(|key| rank(*key)).min(), Some(rank(to)), "the least loaded, and waiting longest");
        if self.fills {
            let earlier = self.calls.iter().take_while(|(other, _)| **other < key);
            let passed_over = earlier.filter(|(_, it)| it.stage == Stage::Waits && self.able(&it.tool).contains(&to));
            assert_eq!(passed_over.count(), 0, "first come first served, whatever the tool");
        }
        let credit = if call.chunks && call.spec.streaming { CHUNK_CREDIT } else { 0 };
        assert_eq!(order.chunk_credit, credit);
        if order.attempt > 1 {
            self.tools.get_mut(&tool).unwrap().retries += 1;
        }
        let worker_id = id(to);
        let again = call.attempts.iter().any(|it| self.dispatches[it].worker_id == worker_id);
        let (attempt, few) = (order.attempt, able.len() == 1);
        let half_open = self.seen(&tool, &worker_id) == Seen::HalfOpen;
        self.reach(match (attempt, again) {
            (1, _) => "dispatched",
            (_, true) => "tried again by the same",
            (_, false) => "tried again by another",
        });
        if half_open {
            self.reach("trial");
        }
        if !few {
            self.reach("dispatched to one of several");
        }
        if let Some(breaker) = self.breakers.get_mut(&(tool.clone(), Arc::clone(&worker_id))) {
            breaker.begins(order.dispatch, self.now);
        }
        let call = self.calls.get_mut(&key).unwrap();
        call.stage = Stage::Runs(order.dispatch);
        call.attempts.push(order.dispatch);
        let dispatch = Dispatch {
            call: key,
            tool,
            worker: to,
            worker_id,
            at: self.now,
            open: true,
            cancelled: false,
            credit,
            chunks: 0,
        };
        assert!(self.dispatches.insert(order.dispatch, dispatch).is_none(), "a number of a dispatch comes twice");
    }

    fn news(&mut self, key: CallKey, news: News) {
        let anybody = self.is_anybody_there(&self.calls[&key].tool);
        let call = self.calls.get_mut(&key).unwrap();
        assert!(!call.is_ended(), "{call:?} is told {news:?} after its end");
        match news {
            News::Chunk(_) => self.settle(&Due::Chunk(key)),
            News::Backoff(pause) => {
                assert_eq!(call.due.take(), Some(Told::Backoff));
                assert!(call.spec.idempotent);
                assert_eq!(pause, call.spec.retry.backoff(u32::try_from(call.attempts.len()).unwrap()));
                call.stage = Stage::Backoff;
            }
            News::Wait(longest) => {
                *self.reached.entry("waits for anybody".into()).or_default() += 1;
                assert_eq!((call.stage, call.due), (Stage::Waits, None));
                assert!(call.spec.idempotent && !anybody, "{call:?} has no need to wait for a worker");
                assert_eq!(longest, call.spec.retry.max_backoff);
                call.gives_up = true;
            }
            News::Ended(end) => {
                let (ending, record) = *end;
                let stranded = call.stage == Stage::Waits && !call.spec.idempotent && !anybody;
                let due = call.due.take().or(stranded.then_some(Told::End(CallState::Unavailable)));
                assert_eq!(due, Some(Told::End(record.state)), "{call:?} has no reason to end");
                self.reach(if stranded { "stranded" } else { kind(record.state) });
                self.ended(key, &ending, &record);
            }
        }
    }

    fn ended(&mut self, key: CallKey, ending: &Ending, record: &CallRecord) {
        assert_eq!(ending.state(), record.state);
        assert_eq!(matches!(ending, Ending::Refused(_)), self.forgets, "{ending:?}");
        let call = self.calls.get_mut(&key).unwrap();
        call.stage = Stage::Ended(record.state);
        self.ends = true;
        self.ended.push(key);
        if let Some(tool) = self.tools.get_mut(&call.tool) {
            *tool.ends.entry(kind(record.state)).or_default() += 1;
        }
        let now = self.now;
        self.check_record(key, record);
        assert!(record.attempts.iter().all(|attempt| attempt.ended.is_some_and(|end| end <= now)));
        assert!(record.attempts.iter().all(|attempt| attempt.state != CallState::Running));
    }
}

pub(super) fn kind(state: CallState) -> &'static str {
    match state {
        CallState::Result => "results",
        CallState::Failure => "failures",
        CallState::Deadline => "deadlines",
        CallState::Cancelled => "cancellations",
        CallState::Unavailable => "unavailable",
        CallState::Queued | CallState::Running => "none",
    }
}
