//! Watchers of every change that read as fast as they can, and check what they are told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use hdrhistogram::Histogram;
use snakepit_proto::v1::{Changes, WatchMode, WatchVariablesResponse, watch_variables_response::Event as Told};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tonic::Streaming;

use super::{PATIENCE, Run, SESSION, writers::Brake};
use crate::{
    Outcome, failure,
    server::Server,
    session::{Session, number},
};

/// All of them.
pub(crate) struct Live {
    tasks: JoinSet<Outcome<Histogram<u64>>>,
    reached: Arc<Vec<AtomicU64>>,
    measured: Arc<AtomicBool>,
}

impl Live {
    /// Opens them. They end when they have the revision that `last` then tells.
    pub(crate) async fn open(
        server: &Server,
        run: &Arc<Run>,
        watchers: u64,
        connections: u64,
        last: &watch::Receiver<u64>,
    ) -> Outcome<Self> {
        let reached: Arc<Vec<AtomicU64>> =
            Arc::new(std::iter::repeat_with(AtomicU64::default).take(usize::try_from(watchers)?).collect());
        let measured = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for _ in 0..connections.max(1) {
            sessions.push(Session::open(&server.connect().await?, SESSION.to_owned()).await?);
        }
        let mut tasks = JoinSet::new();
        for index in 0..reached.len() {
            let mut stream = sessions[index % sessions.len()].watch(WatchMode::Every, 0).await?;
            let first = stream.message().await?.ok_or_else(|| failure("a watch without a first message"))?;
            reached[index].store(first.revision, Ordering::SeqCst);
            let watcher = Watcher {
                index,
                stream,
                last: first.revision,
                run: Arc::clone(run),
                reached: Arc::clone(&reached),
                measured: Arc::clone(&measured),
                told: last.clone(),
            };
            let reached = Arc::clone(&reached);
            tasks.spawn(async move {
                let followed = watcher.follow().await;
                // Who has ended holds no writer back; what it ended with is told when all are joined.
                reached[index].store(u64::MAX, Ordering::SeqCst);
                followed
            });
        }
        Ok(Self { tasks, reached, measured })
    }

    /// Latencies are noted from now on.
    pub(crate) fn measure(&self) {
        self.measured.store(true, Ordering::SeqCst);
    }

    /// Holds writers back when one of them is far behind.
    pub(crate) fn brake(&self) -> Brake {
        Brake::of(Arc::clone(&self.reached))
    }

    /// Waits for all; the latencies of all deliveries, in microseconds.
    pub(crate) async fn join(mut self) -> Outcome<Histogram<u64>> {
        let mut all = Histogram::new(3)?;
        while let Some(ended) = timeout(PATIENCE, self.tasks.join_next()).await? {
            all.add(ended??)?;
        }
        Ok(all)
    }
}

struct Watcher {
    index: usize,
    stream: Streaming<WatchVariablesResponse>,
    last: u64,
    run: Arc<Run>,
    reached: Arc<Vec<AtomicU64>>,
    measured: Arc<AtomicBool>,
    told: watch::Receiver<u64>,
}

impl Watcher {
    async fn follow(mut self) -> Outcome<Histogram<u64>> {
        let mut latencies = Histogram::new(3)?;
        while self.last < *self.told.borrow() {
            let next = tokio::select! {
                message = self.stream.message() => message,
                changed = self.told.changed() => {
                    changed?;
                    continue;
                }
            };
            let message = next?.ok_or_else(|| failure(format!("watcher {} was ended by the server", self.index)))?;
            match &message.event {
                Some(Told::Changes(changes)) => {
                    let number = following(changes, message.revision, self.last)?;
                    self.last = message.revision;
                    self.note(number, &mut latencies)?;
                }
                Some(Told::Heartbeat(_)) if message.revision == self.last => {}
                other => return Err(failure(format!("after revision {}: {other:?}", self.last))),
            }
        }
        Ok(latencies)
    }

    fn note(&self, number: u64, latencies: &mut Histogram<u64>) -> Outcome<()> {
        self.reached[self.index].store(self.last, Ordering::Relaxed);
        if self.measured.load(Ordering::Relaxed) {
            let sent = self.run.sent[usize::try_from(number)?].load(Ordering::SeqCst);
            latencies.record(self.run.now().saturating_sub(sent).max(1))?;
        }
        let seen = &self.run.seen[usize::try_from(self.last)?];
        match seen.compare_exchange(0, number + 1, Ordering::SeqCst, Ordering::SeqCst) {
            Err(other) if other != number + 1 => {
                let told =
                    format!("revision {} is change {number} for one watcher, {} for another", self.last, other - 1);
                Err(failure(told))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The number of the change that follows `last`; an error if it does not.
pub(crate) fn following(changes: &Changes, revision: u64, last: u64) -> Outcome<u64> {
    let value = changes.changes.first().and_then(|change| change.variable.as_ref()?.value.clone());
    match (number(value), changes.changes.len()) {
        (number @ 1.., 1) if revision == last + 1 => Ok(number - 1),
        _ => Err(failure(format!("after revision {last} came {revision}: {changes:?}"))),
    }
}
