//! Sessions by id, their write path, their expiry and their watchers. Async begins here.

mod clock;
pub(crate) mod committer;
mod figures;
mod handle;
mod watcher;
mod write;

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::SystemTime};

pub use clock::{Clock, Moment};
pub(crate) use handle::Handle;
use handle::Live;
use parking_lot::RwLock;
pub use snakepit_core::access::Principal;
use snakepit_core::{
    config::{Limits, Windows},
    error::Error,
    session::{Answer, Command, Create, Incarnation, Position, SessionId, Slot, State, Write, Written},
    variable::{Author, Timestamp},
};
use snakepit_fault::injected;
use snakepit_proto::Refusal;
pub use watcher::Watcher;

use crate::{
    journal::{Durability, Health, Home, Recovered},
    store::committer::{Journal, Metrics},
};

/// How many ended sessions are remembered for each live one allowed.
const ENDED_PER_LIVE: u64 = 10;

/// A live session as it is published.
#[derive(Clone, Debug)]
pub struct View {
    /// What it holds.
    pub state: Arc<State>,
    /// When it ends if nothing touches it; `None` without a ttl.
    pub expires_at: Option<Timestamp>,
}

/// All sessions of a server. Clones share them.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// Locked for moments only, never while a session's lock is held and never across an await.
    sessions: RwLock<BTreeMap<SessionId, Arc<Handle>>>,
    journal: Journal,
    clock: Clock,
    limits: Limits,
    windows: Windows,
    live: Arc<Live>,
}

impl Store {
    /// A store of what `home` has kept, and in front of it. A ttl counts from now at the earliest: while there was no
    /// server nobody could slide it. Needs a tokio runtime.
    pub fn new<H: Home>(home: H, limits: Limits, windows: Windows) -> Self {
        Self::beginning_at(SystemTime::now(), home, limits, windows)
    }

    /// The same where the wall clock says this.
    pub fn beginning_at<H: Home>(wall: SystemTime, mut home: H, limits: Limits, windows: Windows) -> Self {
        let live = Arc::new(Live::up_to(limits.sessions));
        let windows = if home.events().is_some() { windows.before_a_home_with_events() } else { windows };
        let recovered = home.recovered();
        let clock = Clock::after(recovered.iter().map(Recovered::lived).max().unwrap_or_default(), wall);
        clock.keep();
        let lived = clock.lived();
        let sessions = recovered.into_iter().map(|kept| {
            let handle = Handle::of(kept.session.clone(), kept.slot, kept.touched.max(lived), Arc::clone(&live));
            (kept.session, handle)
        });
        let sessions = RwLock::new(sessions.collect());
        Self(Arc::new(Inner { sessions, journal: Journal::start(home), clock, limits, windows, live }))
    }

    /// What this store accepts.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What an acknowledged write survives.
    pub fn durability(&self) -> Durability {
        self.0.journal.durability()
    }

    /// Whether writes become durable at present.
    pub fn health(&self) -> &Health {
        self.0.journal.health()
    }

    /// What is counted of writes and of the journal.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.0.journal.metrics()
    }

    /// Whether nothing will ever be written any more: what commits has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.journal.has_ended()
    }

    /// The time, as events have it.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Opens a session: makes it, or finds the live one. Also says whether this call made it.
    pub async fn create(&self, id: SessionId, create: Create, principal: &Principal) -> Result<(View, bool), Refusal> {
        let handle = Arc::clone(
            self.0
                .sessions
                .write()
                .entry(id)
                .or_insert_with_key(|id| Handle::vacant(id.clone(), Arc::clone(&self.0.live))),
        );
        let incarnation = create.incarnation;
        let author = Author { name: Arc::clone(&principal.name), verified: principal.verified };
        let answer = self.execute(&handle, &Command::Create(create), author, principal).await?;
        let created = match answer {
            Answer::Created { created } => created,
            Answer::Written(_) | Answer::Ended(_) => false,
        };
        let view = self.view(&handle, (created).then_some(incarnation)).await?;
        Ok((view, created))
    }

    /// A live session, as published; of this life, if one is given. Does not slide its ttl.
    pub async fn session(&self, id: &SessionId, incarnation: Option<Incarnation>) -> Result<View, Refusal> {
        self.view(&self.handle(id)?, incarnation).await
    }

    /// The same, and slides its ttl.
    pub async fn touch(&self, id: &SessionId, incarnation: Option<Incarnation>) -> Result<View, Refusal> {
        let handle = self.handle(id)?;
        if !handle.touch(self.0.clock.lived()) {
            self.expire(&handle).await;
        }
        self.view(&handle, incarnation).await
    }

    /// All live sessions, by id, above `after` if given. One that is due to expire is not listed.
    pub fn sessions(&self, after: Option<&SessionId>) -> Vec<View> {
        let now = self.0.clock.moment();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sessions = self.0.sessions.read();
        sessions.range::<SessionId, _>((start, Bound::Unbounded)).filter_map(|(_, handle)| live(handle, &now)).collect()
    }

    /// Ends a session; answers with its last position.
    pub async fn delete(
        &self,
        id: &SessionId,
        incarnation: Option<Incarnation>,
        principal: &Principal,
    ) -> Result<Position, Refusal> {
        let handle = self.handle(id)?;
        let author = Author { name: Arc::clone(&principal.name), verified: principal.verified };
        let answer = self.execute(&handle, &Command::Delete { incarnation }, author, principal).await?;
        match answer {
            Answer::Ended(position) => Ok(position),
            Answer::Created { .. } | Answer::Written(_) => Err(not_found(id).into()),
        }
    }

    /// Applies a write: returns once it is durable and published, or refused.
    pub async fn write(
        &self,
        id: &SessionId,
        write: Write,
        author: Author,
        principal: &Principal,
    ) -> Result<Written, Refusal> {
        if write.operations.len() > 1 && injected!(SplitBatch) {
            return self.write_in_two(id, write, author, principal).await;
        }
        let handle = self.handle(id)?;
        match self.execute(&handle, &Command::Write(write), author, principal).await? {
            Answer::Written(written) => Ok(written),
            Answer::Created { .. } | Answer::Ended(_) => Err(not_found(id).into()),
        }
    }

    /// What a server does that has the fault `SplitBatch`: the second half is known by the batch's key.
    async fn write_in_two(
        &self,
        id: &SessionId,
        mut write: Write,
        author: Author,
        principal: &Principal,
    ) -> Result<Written, Refusal> {
        let rest = write.operations.split_off(write.operations.len() / 2);
        let first = Write { idempotency: None, operations: std::mem::take(&mut write.operations), ..write.clone() };
        let rest = Write { operations: rest, ..write };
        let first = Box::pin(self.write(id, first, author.clone(), principal)).await?;
        let rest = Box::pin(self.write(id, rest, author, principal)).await?;
        let outcomes = first.outcomes.iter().chain(rest.outcomes.iter()).cloned().collect();
        Ok(Written { position: rest.position, outcomes })
    }

    /// Follows a session. It is kept alive until the watcher is dropped.
    pub async fn watch(&self, id: &SessionId) -> Result<Watcher, Refusal> {
        let handle = self.handle(id)?;
        let view = self.view(&handle, None).await?;
        let events = self.0.journal.events().cloned();
        Watcher::open(handle, &view.state, events, self.0.limits.watchers_per_session, self.0.clock.clone())
    }

    /// Ends what is due and forgets what nobody needs to know any more. The server calls it now and then; nothing
    /// depends on when.
    pub async fn sweep(&self) {
        let lived = self.0.clock.lived();
        let handles: Vec<Arc<Handle>> = self.0.sessions.read().values().cloned().collect();
        self.save_uses(&handles, lived);
        self.rest(&handles, lived);
        let mut ended = Vec::new();
        for handle in handles {
            if handle.is_due(lived) {
                self.expire(&handle).await;
            }
            match &handle.published().slot {
                Slot::Live(_) => {}
                Slot::Vacant => ended.push((Timestamp::default(), true, handle.id().clone())),
                Slot::Ended(end) => ended.push((end.lived, end.is_forgotten(lived), handle.id().clone())),
            }
        }
        ended.sort_unstable();
        let most = usize::try_from(self.0.limits.sessions.saturating_mul(ENDED_PER_LIVE)).unwrap_or(usize::MAX);
        let excess = ended.len().saturating_sub(most);
        let mut sessions = self.0.sessions.write();
        for (index, (_, forgotten, id)) in ended.into_iter().enumerate() {
            // Whoever else holds the handle may be about to give the id a new life, or has done so.
            let alone = |handle: &Arc<Handle>| Arc::strong_count(handle) == 1 && !is_live(&handle.published().slot);
            if (forgotten || index < excess) && sessions.get(&id).is_some_and(alone) {
                sessions.remove(&id);
            }
        }
    }

    /// Has the home save when sessions were used. What it has no room for now is for the next time.
    fn save_uses(&self, handles: &[Arc<Handle>], lived: Timestamp) {
        let unsaved = handles.iter().filter_map(|handle| Some((handle, handle.unsaved_use(lived)?)));
        let (handles, touches): (Vec<_>, Vec<_>) = unsaved.map(|(handle, it)| ((handle, it.at), it)).unzip();
        if self.0.journal.touch(touches) {
            for (handle, at) in handles {
                handle.saved_use(at);
            }
        }
    }

    /// Has sessions that nobody writes let go of what the home can be asked for. If it is busy, next time.
    fn rest(&self, handles: &[Arc<Handle>], lived: Timestamp) {
        if self.0.journal.events().is_none() {
            return;
        }
        let rested = handles.iter().filter_map(|handle| Some((handle, handle.at_rest(lived)?)));
        let (handles, states): (Vec<_>, Vec<_>) = rested.unzip();
        if self.0.journal.rest(states.clone()) {
            for (handle, state) in handles.into_iter().zip(states) {
                handle.rest(&state);
            }
        }
    }

    fn handle(&self, id: &SessionId) -> Result<Arc<Handle>, Error> {
        self.0.sessions.read().get(id).cloned().ok_or_else(|| not_found(id))
    }

    /// The published state of a live session. Reading waits for nobody, unless the session is due to expire.
    async fn view(&self, handle: &Arc<Handle>, incarnation: Option<Incarnation>) -> Result<View, Refusal> {
        let now = self.0.clock.moment();
        if handle.is_due(now.lived) {
            self.expire(handle).await;
        }
        let published = handle.published();
        let refuse = |error| Refusal { error, position: published.slot.position(), operation: None };
        let state = published.slot.live(handle.id(), incarnation, now.lived).map_err(refuse)?;
        if handle.is_due(now.lived) {
            return Err(refuse(Error::SessionExpired { session: handle.id().shared() }));
        }
        Ok(View { expires_at: expires_at(handle, state, &now), state: Arc::clone(state) })
    }
}

/// When the session ends if nothing touches it and the server runs on.
fn expires_at(handle: &Handle, state: &State, now: &Moment) -> Option<Timestamp> {
    handle.expires_at(state, now.lived).map(|end| now.time_at(end))
}

fn live(handle: &Arc<Handle>, now: &Moment) -> Option<View> {
    match &handle.published().slot {
        Slot::Live(state) if !handle.is_due(now.lived) => {
            Some(View { state: Arc::clone(state), expires_at: expires_at(handle, state, now) })
        }
        Slot::Live(_) | Slot::Vacant | Slot::Ended(_) => None,
    }
}

fn not_found(id: &SessionId) -> Error {
    Error::SessionNotFound { session: id.shared() }
}

fn is_live(slot: &Slot) -> bool {
    matches!(slot, Slot::Live(_))
}
