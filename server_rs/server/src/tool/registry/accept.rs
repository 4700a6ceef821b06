use std::sync::Arc;

use snakepit_core::{error::Error, variable::Timestamp};

use super::{
    NewCall, Registry,
    route::Target,
    state::{Call, Entry, Stage},
};
use crate::tool::call::{CallKey, ToolKey};

impl Registry {
    /// Accepts a call, and dispatches it if somebody has room.
    pub(crate) fn accept(&mut self, new: NewCall, now: Timestamp) -> Result<CallKey, Error> {
        let id = self.fresh_id(&new)?;
        let tool = new.tool.key;
        let unavailable = |cause: &str| Error::ToolUnavailable {
            tool: new.tool.spec.name.shared(),
            call: Arc::default(),
            dispatched: false,
            cause: cause.into(),
        };
        // Between the finding and now it may have changed, and the arguments were checked against what it was.
        let same = |entry: &&Entry| !entry.offers.is_empty() && Arc::ptr_eq(&entry.spec, &new.tool.spec);
        let target = self.tools.get(&tool).filter(same).map(|entry| {
            // Whoever had room would have taken what waits.
            if entry.queue.is_empty() { self.route(entry, &[], now) } else { Target::Later }
        });
        let queued = self.tools.get(&tool).map_or(0, |entry| entry.queue.len());
        let refusal = match target {
            None => Some(unavailable("its last worker has just left, or offers it otherwise; call it again")),
            Some(Target::Nobody) => {
                Some(unavailable("the breakers of all its workers are open, after too many failures in a row"))
            }
            Some(Target::Later) if queued >= self.policy.queued => {
                Some(Error::LimitExceeded { limit: "queued_calls_per_tool", max: self.policy.queued as u64 })
            }
            Some(Target::Later | Target::Worker(_)) => None,
        };
        if let Some(refusal) = refusal {
            self.refused(tool);
            return Err(refusal);
        }
        let key = CallKey(self.number());
        let call = Call {
            id: Arc::clone(&id),
            home: new.home.clone(),
            tool,
            spec: new.tool.spec,
            request: new.request,
            accepted: now,
            deadline: new.deadline,
            attempts: Vec::with_capacity(1),
            stage: Stage::Queued,
            chunked: false,
        };
        self.calls.insert(key, call);
        self.names.insert((new.home, id), key);
        self.count(tool, |stats| stats.calls += 1);
        if let Some(entry) = self.tools.get_mut(&tool) {
            entry.calls.insert(key);
        }
        match target {
            Some(Target::Worker(worker)) => self.dispatch(key, worker, now),
            Some(Target::Later | Target::Nobody) | None => self.wait_for_room(key),
        }
        Ok(key)
    }

    /// Counts a call that was refused before it was accepted.
    pub(crate) fn refused(&mut self, tool: ToolKey) {
        self.count(tool, |stats| stats.refused += 1);
    }

    fn fresh_id(&mut self, new: &NewCall) -> Result<Arc<str>, Error> {
        let is_taken = |this: &Self, id: &Arc<str>| {
            let name = (new.home.clone(), Arc::clone(id));
            this.names.contains_key(&name) || this.ended.get(&name).is_some()
        };
        if new.id.is_empty() {
            loop {
                let id = format!("call-{}", self.number()).into();
                if !is_taken(self, &id) {
                    return Ok(id);
                }
            }
        }
        if is_taken(self, &new.id) {
            let problem = format!("{:?} names another call already; each call needs a new one", new.id);
            return Err(Error::invalid("call_id", problem));
        }
        Ok(Arc::clone(&new.id))
    }
}
