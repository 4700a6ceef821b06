use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use snakepit_core::{
    session::{SessionId, Slot, State},
    variable::Timestamp,
};
use tokio::sync::watch;

use super::is_live;
use crate::journal::Touch;

/// How often the use of a session is saved, at the most; a session of a short ttl asks for more.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// How long after its last event a session lets go of what its home has.
const REST: Duration = Duration::from_secs(3);

/// What one session id stands for, through all its lives.
pub(crate) struct Handle {
    id: SessionId,
    /// What has been decided. Held for one decision at a time, never across an await.
    pending: Mutex<Pending>,
    /// What is durable, and all that readers see. Written by the committer alone.
    published: watch::Sender<Published>,
    /// When the session was last used other than by a committed event, in microseconds that were lived: a ttl runs out by
    /// them, so that nobody's session expires while the server cannot be reached because it is stopped.
    touched: AtomicU64,
    /// The newest use that is known to be saved, in the same.
    saved: AtomicU64,
    /// Open watches. Raised under the lock of `pending`, so that expiry is decided once.
    watchers: AtomicUsize,
    live: Arc<Live>,
}

/// The state on which the next decision is made.
pub(crate) struct Pending {
    pub(crate) slot: Slot,
    /// How many events led here, over all lives of the id.
    pub(crate) serial: u64,
    /// Raised when a failure takes the state back, so that what was decided before is recognised.
    pub(crate) epoch: u64,
}

/// The state that readers see.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) slot: Slot,
    pub(crate) serial: u64,
    pub(crate) epoch: u64,
}

/// How many sessions are live, and may be.
pub(crate) struct Live {
    max: u64,
    count: AtomicU64,
}

impl Live {
    pub(crate) fn up_to(max: u64) -> Self {
        Self { max, count: AtomicU64::new(0) }
    }

    fn enter(&self, max: u64) -> Result<(), u64> {
        let enter = |count| (count < max).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).map(drop).map_err(|_| max)
    }

    fn leave(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handle {
    /// An id that stands for nothing yet.
    pub(crate) fn vacant(id: SessionId, live: Arc<Live>) -> Arc<Self> {
        Self::of(id, Slot::Vacant, Timestamp::default(), live)
    }

    /// An id that stands for what was kept. A live session's ttl counts from `touched`.
    pub(crate) fn of(id: SessionId, slot: Slot, touched: Timestamp, live: Arc<Live>) -> Arc<Self> {
        if is_live(&slot) {
            // It was admitted under the limit of its time; its place is its own.
            let _always = live.enter(u64::MAX);
        }
        Arc::new(Self {
            id,
            pending: Mutex::new(Pending { slot: slot.clone(), serial: 0, epoch: 0 }),
            published: watch::Sender::new(Published { slot, serial: 0, epoch: 0 }),
            touched: AtomicU64::new(touched.0),
            saved: AtomicU64::new(touched.0),
            watchers: AtomicUsize::new(0),
            live,
        })
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock()
    }

    pub(crate) fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Takes a decided event into the pending state. Fails with the limit when there is no room for another session.
    pub(crate) fn advance(&self, pending: &mut Pending, slot: Slot) -> Result<(), u64> {
        match (is_live(&pending.slot), is_live(&slot)) {
            (false, true) => self.live.enter(self.live.max)?,
            (true, false) => self.live.leave(),
            (true, true) | (false, false) => {}
        }
        pending.slot = slot;
        pending.serial += 1;
        Ok(())
    }

    /// The epoch that decisions are made in now.
    pub(crate) fn epoch(&self) -> u64 {
        self.published.borrow().epoch
    }

    /// Makes a durable state visible and wakes whoever waits for it.
    pub(crate) fn publish(&self, slot: Slot, serial: u64) {
        self.published.send_modify(|published| {
            published.slot = slot;
            published.serial = serial;
        });
    }

    /// The published state with less in memory, if it could do with less and nobody has written for a while.
    pub(crate) fn at_rest(&self, lived: Timestamp) -> Option<Arc<State>> {
        let published = self.published.borrow();
        match &published.slot {
            Slot::Live(state) if lived.since(state.last_lived) >= REST => state.at_rest().map(Arc::new),
            Slot::Live(_) | Slot::Vacant | Slot::Ended(_) => None,
        }
    }

    /// Has this state instead of the one at the same position, unless something is on its way. That the pending state is
    /// the published one means that the committer has nothing of this session, and under the lock it gets nothing.
    pub(crate) fn rest(&self, rested: &Arc<State>) {
        let mut pending = self.pending.lock();
        self.published.send_if_modified(|published| {
            let same = |slot: &Slot| matches!(slot, Slot::Live(state) if state.position() == rested.position());
            if pending.serial == published.serial && same(&published.slot) && same(&pending.slot) {
                published.slot = Slot::Live(Arc::clone(rested));
                pending.slot = Slot::Live(Arc::clone(rested));
            }
            // It is as good as the one before: nobody has to look.
            false
        });
    }

    /// Takes the pending state back to the published one, unless that was already done for this epoch.
    pub(crate) fn reset(&self, epoch: u64) {
        let mut pending = self.pending.lock();
        if pending.epoch != epoch {
            return;
        }
        let published = self.published();
        match (is_live(&pending.slot), is_live(&published.slot)) {
            (true, false) => self.live.leave(),
            // It was live when the limit was checked; its place is its own.
            (false, true) => drop(self.live.enter(u64::MAX)),
            (true, true) | (false, false) => {}
        }
        *pending = Pending { slot: published.slot, serial: published.serial, epoch: epoch + 1 };
        self.published.send_modify(|published| published.epoch = epoch + 1);
    }

    /// Whether an answer computed from this pending state may be given: waits until the state is published, or says
    /// no when it never will be.
    pub(crate) async fn reached(&self, serial: u64, epoch: u64) -> bool {
        let mut published = self.published.subscribe();
        published
            .wait_for(|published| published.epoch != epoch || published.serial >= serial)
            .await
            .is_ok_and(|published| published.epoch == epoch)
    }

    /// Slides the ttl, unless the session is already due to expire.
    pub(crate) fn touch(&self, lived: Timestamp) -> bool {
        let pending = self.pending.lock();
        let alive = !self.due(&pending.slot, lived);
        if alive {
            self.used(lived);
        }
        alive
    }

    /// Slides the ttl of a session that is known not to be due: the caller holds the lock.
    pub(crate) fn used(&self, lived: Timestamp) {
        self.touched.fetch_max(lived.0, Ordering::SeqCst);
    }

    /// Opens a watch unless there are `most`, or the session is due.
    pub(crate) fn enter_watch(&self, most: u64, lived: Timestamp) -> Result<bool, u64> {
        let pending = self.pending.lock();
        if self.due(&pending.slot, lived) {
            return Ok(false);
        }
        if self.watchers.load(Ordering::SeqCst) as u64 >= most {
            return Err(most);
        }
        self.watchers.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    /// Closes a watch; the ttl counts from here.
    pub(crate) fn leave_watch(&self, lived: Timestamp) {
        self.used(lived);
        self.watchers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether this state has outlived its ttl. What decides is the pending state, under its lock.
    pub(crate) fn due(&self, slot: &Slot, lived: Timestamp) -> bool {
        match slot {
            Slot::Live(state) => self.expires_at(state, lived).is_some_and(|end| end <= lived),
            Slot::Vacant | Slot::Ended(_) => false,
        }
    }

    /// The same for the published state: a hint that costs no lock.
    pub(crate) fn is_due(&self, lived: Timestamp) -> bool {
        self.due(&self.published.borrow().slot, lived)
    }

    /// The newest use, if it should be saved: it is long enough since the one before was, or since the last event.
    pub(crate) fn unsaved_use(&self, lived: Timestamp) -> Option<Touch> {
        let published = self.published.borrow();
        let Slot::Live(state) = &published.slot else { return None };
        let every = (state.ttl? / 10).min(TOUCH_INTERVAL);
        let used = self.last_use(state, lived);
        let saved = state.last_lived.max(Timestamp(self.saved.load(Ordering::SeqCst)));
        (used >= saved.after(every)).then(|| Touch {
            session: self.id.clone(),
            incarnation: state.incarnation,
            at: used,
        })
    }

    /// A use is saved.
    pub(crate) fn saved_use(&self, at: Timestamp) {
        self.saved.fetch_max(at.0, Ordering::SeqCst);
    }

    fn last_use(&self, state: &State, lived: Timestamp) -> Timestamp {
        if self.watchers.load(Ordering::SeqCst) > 0 {
            lived
        } else {
            state.last_lived.max(Timestamp(self.touched.load(Ordering::SeqCst)))
        }
    }

    /// When the session ends if nothing touches it from now on, in time that was lived.
    pub(crate) fn expires_at(&self, state: &State, lived: Timestamp) -> Option<Timestamp> {
        let ttl = state.ttl?;
        Some(self.last_use(state, lived).after(ttl))
    }
}
