//! The write path: reserve a place in the journal, decide under the session's lock, send, and answer only what is
//! published.

use std::{sync::Arc, time::Instant};

use snakepit_core::{
    access::Role,
    error::Error,
    session::{Answer, Command, Context, Decision, apply, decide},
    variable::Author,
};
use snakepit_fault::injected;
use snakepit_proto::Refusal;
use tokio::sync::{mpsc::Permit, oneshot};

use super::{Handle, Principal, Store, handle::Pending};
use crate::{
    metrics::{Fate, Tally},
    store::committer::{Entry, Failure},
};

/// What a decision leaves to wait for.
enum Step {
    /// An event is on its way; the answer holds once it is settled.
    Sent(oneshot::Receiver<Result<(), Failure>>, Answer),
    /// The answer is known, and may be given once the state it was computed from is published.
    Known { serial: u64, epoch: u64, answer: Result<Answer, Refusal> },
    /// The session has to be ended first.
    Due,
}

impl Store {
    /// Carries a command out. From the moment its event is sent, dropping the future cancels only the answer.
    pub(super) async fn execute(
        &self,
        handle: &Arc<Handle>,
        command: &Command,
        author: Author,
        principal: &Principal,
    ) -> Result<Answer, Refusal> {
        loop {
            let permit = self.0.journal.reserve().await?;
            match self.decide(handle, command, author.clone(), principal, permit) {
                Step::Sent(settled, answer) => return settle(handle, settled).await.map(|()| answer),
                Step::Known { serial, epoch, answer } => {
                    if injected!(RefuseEarly) || handle.reached(serial, epoch).await {
                        if let Command::Write(_) = command {
                            self.0.journal.metrics().writes.ended(fate(&answer));
                        }
                        return answer;
                    }
                    // The state was taken back; what was known of it is void.
                }
                Step::Due => self.expire_now(handle).await?,
            }
        }
    }

    /// Ends a session that is due; nothing if it is not, or cannot be now: it stays due.
    pub(super) async fn expire(&self, handle: &Arc<Handle>) {
        if let Err(refusal) = self.expire_now(handle).await {
            tracing::warn!(session = %handle.id(), error = %refusal.error, "an expired session could not be ended");
        }
    }

    async fn expire_now(&self, handle: &Arc<Handle>) -> Result<(), Refusal> {
        let server = Author { name: "server".into(), verified: true };
        let permit = self.0.journal.reserve().await?;
        match self.decide(handle, &Command::Expire, server, &Principal::anonymous(), permit) {
            Step::Sent(settled, _) => settle(handle, settled).await,
            Step::Known { serial, epoch, .. } => {
                handle.reached(serial, epoch).await;
                Ok(())
            }
            Step::Due => Ok(()),
        }
    }

    /// Decides under the session's lock. Nothing in here waits.
    fn decide(
        &self,
        handle: &Arc<Handle>,
        command: &Command,
        author: Author,
        principal: &Principal,
        permit: Permit<'_, Entry>,
    ) -> Step {
        let now = self.0.clock.moment();
        let mut pending = handle.lock();
        let due = handle.due(&pending.slot, now.lived);
        let known = |pending: &Pending, answer: Result<Answer, Refusal>| Step::Known {
            serial: pending.serial,
            epoch: pending.epoch,
            answer,
        };
        let position = pending.slot.position();
        match (command, due) {
            (Command::Expire, false) => {
                let nothing_to_do = Error::SessionNotFound { session: handle.id().shared() };
                return known(&pending, Err(nothing_to_do.into()));
            }
            (Command::Create(_) | Command::Write(_) | Command::Delete { .. }, true) => return Step::Due,
            (Command::Write(_), false) => handle.used(now.lived),
            (Command::Expire, true) | (Command::Create(_) | Command::Delete { .. }, false) => {}
        }
        let (admin, read_secret) = (principal.may(Role::Admin), principal.may(Role::ReadSecret));
        let context = Context { now: now.time, lived: now.lived, author, admin, read_secret, limits: &self.0.limits };
        let (event, answer) = match decide(handle.id(), &pending.slot, command, &context) {
            Ok(Decision::Commit { event, answer }) => (Arc::new(event), answer),
            Ok(Decision::Answer(answer)) => return known(&pending, Ok(answer)),
            Err(refused) => {
                let refusal = Refusal { error: refused.error, position, operation: refused.operation };
                return known(&pending, Err(refusal));
            }
        };
        let slot = apply(handle.id(), &pending.slot, &event, &self.0.windows);
        if let Err(max) = handle.advance(&mut pending, slot.clone()) {
            return known(&pending, Err(Error::LimitExceeded { limit: "sessions", max }.into()));
        }
        let (settled, outcome) = oneshot::channel();
        let tally = match (command, &answer) {
            (Command::Write(write), Answer::Written(written)) => Tally::of(&write.operations, &written.outcomes),
            _ => Tally::default(),
        };
        permit.send(Entry {
            handle: Arc::clone(handle),
            epoch: pending.epoch,
            serial: pending.serial,
            event,
            tally,
            decided: Instant::now(),
            slot,
            settled,
        });
        Step::Sent(outcome, answer)
    }
}

/// What became of a write of which no event came.
fn fate(answer: &Result<Answer, Refusal>) -> Fate {
    match answer {
        // Only what a write changed is remembered.
        Ok(Answer::Written(written)) if written.outcomes.iter().any(|outcome| outcome.changed) => Fate::Repeated,
        Ok(_) => Fate::Unchanged,
        Err(_) => Fate::Refused,
    }
}

async fn settle(handle: &Handle, settled: oneshot::Receiver<Result<(), Failure>>) -> Result<(), Refusal> {
    let lost = || Failure::Unknown("the journal has ended".into());
    settled.await.unwrap_or_else(|_| Err(lost())).map_err(|failure| {
        let position = handle.published().slot.position();
        Refusal { error: failure.into(), position, operation: None }
    })
}
