//! Writers that keep a pace together, and slow down where watchers cannot follow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Run, SESSION};
use crate::{
    Outcome,
    server::Server,
    session::{Session, float},
};

const WRITERS: u64 = 128;
/// Revisions that the slowest watcher may be behind; far less than a session keeps, so that none of them is compacted.
const BEHIND: u64 = 3_000;
/// How long a writer waits for watchers at a time.
const PAUSE: Duration = Duration::from_millis(20);

/// How far the watchers are that are not to be lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Brake(Arc<Vec<AtomicU64>>);

impl Brake {
    /// Nobody watches.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// One place for each watcher: the revision that it has.
    pub(crate) fn of(watchers: Arc<Vec<AtomicU64>>) -> Self {
        Self(watchers)
    }

    fn holds(&self, newest: u64) -> bool {
        self.0.iter().any(|it| it.load(Ordering::Relaxed).saturating_add(BEHIND) < newest)
    }
}

/// Those who write.
pub(crate) struct Writing {
    sessions: Vec<Session>,
    run: Arc<Run>,
    names: Arc<Vec<String>>,
    /// Changes made so far.
    made: u64,
    /// When no more changes are begun, and how many a call makes even then.
    until: (Instant, u64),
}

impl Writing {
    pub(crate) async fn new(server: &Server, run: Arc<Run>, names: Vec<String>) -> Outcome<Self> {
        let channel = server.connect().await?;
        let mut sessions = Vec::new();
        for _ in 0..WRITERS {
            sessions.push(Session::open(&channel, SESSION.to_owned()).await?);
        }
        Ok(Self { sessions, run, names: Arc::new(names), made: 0, until: (Instant::now(), u64::MAX) })
    }

    /// No changes are begun after this, once a call has made at least so many.
    pub(crate) fn until(&mut self, end: Instant, least: u64) {
        self.until = (end, least);
    }

    /// Changes made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Makes changes, so many a second if a pace is given. Returns how many it made until the end.
    pub(crate) async fn write(&mut self, changes: u64, pace: Option<u32>, brake: Brake) -> Outcome<u64> {
        let (first, next) = (self.made, Arc::new(AtomicU64::new(self.made)));
        let (began, (until, least), most) = (tokio::time::Instant::now(), self.until, first + changes);
        let least = first.saturating_add(least);
        let mut writers = JoinSet::new();
        for session in &self.sessions {
            let (session, run, next, brake) =
                (session.clone(), Arc::clone(&self.run), Arc::clone(&next), brake.clone());
            let names = Arc::clone(&self.names);
            writers.spawn(async move {
                loop {
                    // Braked before a number is taken: each that is taken is written.
                    while brake.holds(run.newest.load(Ordering::Relaxed)) {
                        tokio::time::sleep(PAUSE).await;
                    }
                    let taken = next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |number| {
                        (number < most && (number < least || Instant::now() < until)).then_some(number + 1)
                    });
                    let Ok(number) = taken else { return Ok::<(), crate::Failure>(()) };
                    if let Some(pace) = pace {
                        let due = Duration::from_secs(1) * u32::try_from(number - first)? / pace;
                        tokio::time::sleep_until(began + due).await;
                    }
                    let index = usize::try_from(number)?;
                    run.sent[index].store(run.now(), Ordering::SeqCst);
                    let name = &names[index % names.len()];
                    #[expect(clippy::cast_precision_loss, reason = "numbers stay far below 2^53")]
                    let value = float(number as f64 + 1.0);
                    let revision = session.set(name, value).await?;
                    run.acknowledged[index].store(revision, Ordering::SeqCst);
                    run.newest.fetch_max(revision, Ordering::SeqCst);
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        self.made = next.load(Ordering::SeqCst);
        Ok(self.made - first)
    }
}
