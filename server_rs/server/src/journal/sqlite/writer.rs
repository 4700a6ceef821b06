//! The one thread that writes: groups, folds, checkpoints, and the removal of what nobody needs any more.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use snakepit_core::{
    config::Upkeep,
    session::{SessionId, State},
    variable::Timestamp,
};
use tokio::sync::oneshot;

use super::{
    directory::Files,
    log::Mark,
    rows::{LifeKey, execute},
    write::{Draft, Tail, append_event, fold_one, forget, now, sweep_first, touch},
};
use crate::journal::{Append, CommitError, Health, HomeMetrics, Touch};

/// How long the thread has to have nothing to do before it tidies up.
const QUIET: Duration = Duration::from_millis(20);
/// How often it looks for ended sessions that are forgotten.
const FORGETTING: Duration = Duration::from_secs(600);
/// How many rows of a life that has ended are removed along with one group.
const LITTER_ROWS: usize = 256;
/// How often a full disk is tried again.
const PROBING: Duration = Duration::from_secs(1);
/// How often the files are looked for while nothing is written.
const LOOKING: Duration = Duration::from_secs(1);
/// How many times its usual size the log may reach before the writers have to wait for a checkpoint.
const PATIENCE: u64 = 4;

/// What the thread is asked.
pub(super) enum Job {
    Commit { group: Vec<Append>, done: oneshot::Sender<Result<(), CommitError>> },
    Touch(Vec<Touch>),
    Rest(Vec<Arc<State>>),
}

/// What a journal is kept in.
pub(super) struct Kept {
    pub(super) db: Connection,
    pub(super) mark: Mark,
    pub(super) files: Files,
}

pub(super) struct Writer {
    db: Connection,
    mark: Mark,
    files: Files,
    upkeep: Upkeep,
    tails: HashMap<SessionId, Tail>,
    /// The sessions that are due to be folded.
    due: VecDeque<SessionId>,
    /// The lives that have ended and still have rows.
    litter: VecDeque<LifeKey>,
    /// The pages in the write-ahead log, as of the last commit.
    log_pages: Arc<AtomicU64>,
    forgotten: Option<Instant>,
    /// The time that was lived, as far as the newest event or use says.
    lived: Timestamp,
    health: Health,
    metrics: HomeMetrics,
    /// Whether the disk was full the last time.
    full: bool,
    /// Whether the files are not where they were.
    gone: bool,
    /// Why nothing may be written any more.
    broken: Option<String>,
}

impl Writer {
    pub(super) fn new(
        Kept { mut db, mark, files }: Kept,
        upkeep: Upkeep,
        lived: Timestamp,
        mut tails: HashMap<SessionId, Tail>,
        litter: VecDeque<LifeKey>,
        health: Health,
        metrics: HomeMetrics,
    ) -> rusqlite::Result<Self> {
        let log_pages = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&log_pages);
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            seen.store(u64::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))?;
        let mut due = VecDeque::new();
        for (id, tail) in &mut tails {
            tail.queued = tail.is_due(&upkeep);
            due.extend(tail.queued.then(|| id.clone()));
        }
        let (forgotten, full, gone, broken) = (None, false, false, None);
        let writer = Self {
            db,
            mark,
            files,
            upkeep,
            tails,
            due,
            litter,
            log_pages,
            forgotten,
            lived,
            health,
            metrics,
            full,
            gone,
            broken,
        };
        Ok(writer)
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(self.patience()) {
                Ok(Job::Commit { group, done }) => {
                    let outcome = self.commit(&group);
                    // Free the group first: whoever waits for the answer goes on with it.
                    drop(group);
                    let _gone = done.send(outcome);
                    if self.log_pages.load(Ordering::Relaxed) >= self.upkeep.checkpoint_pages * PATIENCE {
                        self.checkpoint("PASSIVE");
                    }
                }
                Ok(Job::Touch(touches)) => {
                    self.lived = touches.iter().map(|touch| touch.at).fold(self.lived, Timestamp::max);
                    self.chore("saving when sessions were used", |db, _| touch(db, &touches));
                }
                Ok(Job::Rest(states)) => self.rest(states),
                Err(RecvTimeoutError::Timeout) => self.tidy(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // So that all is in one file while nobody has it open. Nothing depends on it.
        if self.broken.is_none() && self.mark.clear() {
            self.checkpoint("TRUNCATE");
        } else {
            self.checkpoint("PASSIVE");
        }
    }

    /// Holds states that take less memory than those it has.
    fn rest(&mut self, states: Vec<Arc<State>>) {
        for state in states {
            if let Some(tail) = self.tails.get_mut(&state.id)
                && tail.state.position() == state.position()
            {
                tail.state = state;
            }
        }
    }

    fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        if let Some(cause) = &self.broken {
            return Err(CommitError::NotApplied { cause: cause.clone() });
        }
        if let Some(cause) = self.look_for_files() {
            return Err(CommitError::NotApplied { cause });
        }
        self.lived = group.iter().map(|append| append.event.lived).fold(self.lived, Timestamp::max);
        let mut draft = Draft::default();
        match self.attempt(group, &mut draft) {
            Ok(()) => {
                self.settle(draft);
                Ok(())
            }
            Err(error) => Err(self.failed("committing", &error)),
        }
    }

    fn attempt(&mut self, group: &[Append], draft: &mut Draft) -> rusqlite::Result<()> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for append in group {
            append_event(&transaction, append, &self.tails, draft)?;
        }
        // One fold for each group keeps up, because a fold takes more events away than a group brings.
        if let Some(id) = self.due.front() {
            let began = Instant::now();
            fold_one(&transaction, id, &self.tails, draft)?;
            self.metrics.folded(began.elapsed());
            draft.folded = true;
        }
        draft.swept = sweep_first(&transaction, &self.litter, LITTER_ROWS)?;
        let began = Instant::now();
        transaction.commit()?;
        self.metrics.synced(began.elapsed());
        self.mark.committed(self.log_pages.load(Ordering::Relaxed));
        Ok(())
    }

    /// Why what is written would not be found again. What was removed or moved is looked for before each commit, and now
    /// and then while there is none.
    fn look_for_files(&mut self) -> Option<String> {
        let trouble = self.files.trouble();
        match &trouble {
            Some(cause) => {
                self.health.failed(cause);
                if !self.gone {
                    tracing::error!(%cause, "the server is read-only");
                }
            }
            None if self.gone && !self.full && self.broken.is_none() => {
                self.health.recovered();
                tracing::info!("the data directory is back where it was; writes are accepted again");
            }
            None => {}
        }
        self.gone = trouble.is_some();
        trouble
    }

    /// Takes over what a group has changed.
    fn settle(&mut self, draft: Draft) {
        let Draft { tails, litter, folded, swept } = draft;
        self.litter.drain(..swept);
        self.litter.extend(litter);
        if folded {
            self.due.pop_front();
        }
        for (id, tail) in tails {
            match tail {
                Some(mut tail) => {
                    if tail.is_due(&self.upkeep) && !tail.queued {
                        tail.queued = true;
                        self.due.push_back(id.clone());
                    }
                    self.tails.insert(id, tail);
                }
                // If it is queued, nothing is found to fold when its turn comes.
                None => drop(self.tails.remove(&id)),
            }
        }
        self.full = false;
        self.health.recovered();
    }

    /// What a failed statement means. Nothing was kept if SQLite has rolled back what it could not write; anything
    /// else leaves open what is on the disk, and ends all writing.
    fn failed(&mut self, doing: &str, error: &rusqlite::Error) -> CommitError {
        let cause = cause(doing, error);
        self.health.failed(&cause);
        if is_certainly_not_applied(error) && self.db.is_autocommit() {
            self.full = true;
            return CommitError::NotApplied { cause };
        }
        self.broken = Some(cause.clone());
        CommitError::Unknown { cause }
    }

    /// How long to wait for a job before tidying up.
    fn patience(&self) -> Duration {
        let log = self.log_pages.load(Ordering::Relaxed);
        let forget = self.forgotten.is_none_or(|last| last.elapsed() >= FORGETTING);
        if self.broken.is_some() {
            FORGETTING
        } else if self.full {
            PROBING
        } else if self.gone {
            LOOKING
        } else if !self.litter.is_empty() || log >= self.upkeep.checkpoint_pages || forget {
            QUIET
        } else {
            LOOKING
        }
    }

    fn tidy(&mut self) {
        if self.broken.is_none() && self.look_for_files().is_some() {
            return;
        }
        if self.full {
            self.chore("trying whether there is space again", |db, _| {
                execute(db, "REPLACE INTO meta VALUES ('last trouble', ?1)", params![now()]).map(drop)
            });
        }
        if self.full || self.broken.is_some() {
            return;
        }
        if !self.litter.is_empty() {
            let lives: Vec<LifeKey> = self.litter.iter().take(LITTER_ROWS).cloned().collect();
            self.chore("removing what has ended", |db, draft| {
                draft.swept = sweep_first(db, &lives, LITTER_ROWS * 16)?;
                Ok(())
            });
        }
        if self.forgotten.is_none_or(|last| last.elapsed() >= FORGETTING) {
            self.forgotten = Some(Instant::now());
            let lived = self.lived;
            self.chore("forgetting ended sessions", |db, _| forget(db, lived));
        }
        if self.log_pages.load(Ordering::Relaxed) >= self.upkeep.checkpoint_pages {
            self.checkpoint("PASSIVE");
        }
    }

    /// Does in a transaction of its own what no writer waits for.
    fn chore(&mut self, doing: &str, work: impl FnOnce(&Transaction<'_>, &mut Draft) -> rusqlite::Result<()>) {
        if self.broken.is_some() || self.look_for_files().is_some() {
            return;
        }
        let mut draft = Draft::default();
        let attempt = self.db.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            work(&transaction, &mut draft)?;
            transaction.commit()
        });
        match attempt {
            Ok(()) => {
                self.mark.committed(self.log_pages.load(Ordering::Relaxed));
                self.settle(draft);
            }
            Err(error) => self.report(doing, &error),
        }
    }

    /// Copies the log into the tables, and starts it anew. An error other than a full disk is a failed fsync: the
    /// kernel may have dropped what it could not write, and asking again would not tell.
    fn checkpoint(&mut self, mode: &str) {
        if self.broken.is_some() {
            return;
        }
        let began = Instant::now();
        let copied = self.db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(2));
        self.metrics.checkpointed(began.elapsed());
        match copied {
            Ok(_) => self.log_pages.store(0, Ordering::Relaxed),
            Err(error) => self.report("copying the log into the journal", &error),
        }
    }

    fn report(&mut self, doing: &str, error: &rusqlite::Error) {
        match self.failed(doing, error) {
            CommitError::NotApplied { cause } => tracing::warn!(%cause, "the journal could not be tidied up"),
            CommitError::Unknown { cause } => {
                tracing::error!(%cause, "the journal failed; the server is read-only until restarted");
            }
        }
    }
}

/// Whether nothing was written for certain: SQLite rolls back what finds no space, and a lock that it does not get.
/// An I/O error tells less, and after a failed fsync nobody knows what the kernel has kept.
fn is_certainly_not_applied(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What failed, for people.
fn cause(doing: &str, error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has locked the journal for writing".into()
        }
        Some(_) | None => format!("{doing} failed: {}", described(error)),
    }
}

fn described(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(code) => format!("{error} (SQLite error {})", code.extended_code),
        None => error.to_string(),
    }
}
