//! What time it is, and how much of it was lived.
//!
//! Two clocks that begin together. The **time** is the wall clock as it was at the start, carried on by the monotonic one: it
//! never jumps back, and events, histories and people are told it. The time that was **lived** is what ttls and the memory
//! of idempotency keys are measured by. Its invariants:
//!
//! 1. *It counts only while the server runs.* Somebody looks every [`LOOK_EVERY`], so a longer gap than [`LONGEST_GAP`]
//!    between two looks means that the process was stopped, or the machine was: of the gap no more than that counts. Who
//!    could not reach the server meanwhile has not missed a ttl.
//! 2. *It is carried over.* A server begins where the newest event or use in its journal left it ([`Recovered::lived`]), so
//!    no jump of the wall clock between two servers is in it, and neither is the time between them. The first begins
//!    with the wall clock, which is what older releases have written.
//! 3. *It never goes back* in one process, but for what two callers read at the same moment; an event's is never less than
//!    that of the session's event before it (`session::decide`).
//! 4. *Events carry it.* What is forgotten at an event follows from the event, never from the clock of who replays it.
//!
//! [`Recovered::lived`]: crate::journal::Recovered::lived

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use snakepit_core::variable::Timestamp;
use tokio::time::Instant;

/// How often somebody looks at the clock, whatever happens.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How much of the time between two looks counts: well below the shortest ttl.
const LONGEST_GAP: Duration = Duration::from_millis(500);
/// Looks closer together than this are one, so that those who are busy do not write to what they share.
const ONE_LOOK: Duration = Duration::from_millis(10);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub time: Timestamp,
    /// The time that was lived.
    pub lived: Timestamp,
}

impl Moment {
    /// What the time will be when so much was lived, if the server runs on.
    pub(crate) fn time_at(&self, lived: Timestamp) -> Timestamp {
        self.time.after(lived.since(self.lived))
    }
}

/// Tells the time. It stands still while tokio's clock is paused. Clones are one.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wall: Timestamp,
    /// What was lived before the start.
    before: Timestamp,
    started: Instant,
    /// The newest look, in microseconds since the start.
    looked: AtomicU64,
    /// How much since the start was not lived, in microseconds. Grows before `looked` does, under the lock: who sees the new
    /// look sees what was lost before it.
    lost: AtomicU64,
    gap: Mutex<()>,
}

impl Clock {
    /// Reads the wall clock once. Nothing was lived before but by the wall clock.
    pub fn start() -> Self {
        Self::after(Timestamp::default(), SystemTime::now())
    }

    /// The same where so much was lived before, if anything was, and the wall clock says this.
    pub fn after(lived: Timestamp, wall: SystemTime) -> Self {
        let since_1970 = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::default().after(since_1970);
        let before = if lived == Timestamp::default() { wall } else { lived };
        Self(Arc::new(Inner {
            wall,
            before,
            started: Instant::now(),
            looked: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            gap: Mutex::new(()),
        }))
    }

    /// Looks at the clock from now on, until nobody has it any more. Needs a tokio runtime.
    pub(crate) fn keep(&self) {
        let clock = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(clock) = clock.upgrade() else { return };
                clock.look();
            }
        });
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.0.wall.after(self.0.started.elapsed())
    }

    /// Now, on both clocks.
    pub fn moment(&self) -> Moment {
        let elapsed = self.0.look();
        let lost = Duration::from_micros(self.0.lost.load(Ordering::SeqCst));
        Moment { time: self.0.wall.after(elapsed), lived: self.0.before.after(elapsed.saturating_sub(lost)) }
    }

    /// The time that was lived until now.
    pub fn lived(&self) -> Timestamp {
        self.moment().lived
    }
}

impl Inner {
    /// The time since the start; what was not lived of it is in `lost` afterwards.
    fn look(&self) -> Duration {
        let elapsed = self.started.elapsed();
        let now = micros(elapsed);
        let longest = micros(LONGEST_GAP);
        let looked = self.looked.load(Ordering::SeqCst);
        if now > looked.saturating_add(longest) {
            let _alone = self.gap.lock();
            // Another may have been here.
            let gap = now.saturating_sub(self.looked.load(Ordering::SeqCst));
            self.lost.fetch_add(gap.saturating_sub(longest), Ordering::SeqCst);
            self.looked.fetch_max(now, Ordering::SeqCst);
        } else if now > looked + micros(ONE_LOOK) {
            self.looked.fetch_max(now, Ordering::SeqCst);
        }
        elapsed
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_gap_half_a_second_is_lived_and_all_of_it_is_time() {
        let clock = Clock::after(Timestamp(5_000_000), UNIX_EPOCH);
        let began = clock.moment();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let after = clock.moment();
        assert_eq!(after.time.since(began.time), Duration::from_secs(3_600));
        assert_eq!((began.lived, after.lived), (Timestamp(5_000_000), Timestamp(5_500_000)));
        for _ in 0..100 {
            tokio::time::advance(LONGEST_GAP).await;
            clock.lived();
        }
        assert_eq!(clock.lived(), Timestamp(55_500_000), "a gap of half a second is no gap");
        assert_eq!(clock.moment().time_at(Timestamp(56_500_000)), clock.now().after(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_kept_counts_all_the_time_that_passes_without_anybody_asking() {
        let clock = Clock::after(Timestamp(1), UNIX_EPOCH);
        clock.keep();
        for _ in 0..1_000 {
            tokio::time::advance(LOOK_EVERY).await;
        }
        assert_eq!(clock.lived(), Timestamp(1).after(LOOK_EVERY * 1_000));
    }

    #[test]
    fn who_looks_at_the_same_moment_as_another_sees_what_was_lost_too() {
        let clock = Clock::start();
        for _ in 0..20 {
            let began = clock.lived();
            // A gap, and then all at once.
            std::thread::sleep(LONGEST_GAP + Duration::from_millis(50));
            let barrier = std::sync::Barrier::new(8);
            let look = || {
                barrier.wait();
                let lived = clock.lived();
                (lived, clock.0.started.elapsed())
            };
            let seen: Vec<_> = std::thread::scope(|scope| {
                let looks: Vec<_> = (0..8).map(|_| scope.spawn(look)).collect();
                looks.into_iter().filter_map(|look| look.join().ok()).collect()
            });
            let lost = Duration::from_micros(clock.0.lost.load(Ordering::SeqCst));
            assert_eq!(seen.len(), 8);
            for (lived, elapsed) in seen {
                assert!(lived >= began && lived <= clock.0.before.after(elapsed.saturating_sub(lost)), "{lived:?}");
            }
        }
    }
}
