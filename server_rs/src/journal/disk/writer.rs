//! The one thread that writes: groups, folds, checkpoints, and the removal of what nobody needs any more.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::{
    fault,
    fold::{fold, put_session},
    rows::{LifeKey, RowKey, crc, execute, signed},
};
use crate::{
    config::Upkeep,
    journal::{
        Append, CommitError, Health, Touch,
        record::{Ended, Record as _},
    },
    session::{Body, Ended as EndedSlot, Event, SessionId, Slot, State},
};

/// How long the thread has to have nothing to do before it tidies up.
const QUIET: Duration = Duration::from_millis(20);
/// How often it looks for ended sessions that are forgotten.
const FORGETTING: Duration = Duration::from_mins(10);
/// How many rows of a life that has ended are removed along with one group.
const LITTER_ROWS: usize = 256;
/// How often a full disk is tried again.
const PROBING: Duration = Duration::from_secs(1);
/// How many times its usual size the log may reach before the writers have to wait for a checkpoint.
const PATIENCE: u64 = 4;

/// What the thread is asked.
pub(super) enum Job {
    Commit { group: Vec<Append>, done: oneshot::Sender<Result<(), CommitError>> },
    Touch(Vec<Touch>),
}

/// What is known of a live session: its newest durable state, and up to where it is folded.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) state: Arc<State>,
    pub(super) folded: u64,
    /// The events after the fold, and their bytes.
    pub(super) events: usize,
    pub(super) bytes: u64,
    /// Whether the next fold has to look at every row.
    pub(super) reconcile: bool,
    /// Whether it waits to be folded.
    pub(super) queued: bool,
}

impl Tail {
    /// A session whose newest state is in rows.
    pub(super) fn folded(state: Arc<State>) -> Self {
        Self { folded: state.revision, state, events: 0, bytes: 0, reconcile: false, queued: false }
    }

    fn is_due(&self, upkeep: &Upkeep) -> bool {
        self.events >= upkeep.fold_events || self.bytes >= upkeep.fold_bytes
    }
}

pub(super) struct Writer {
    db: Connection,
    upkeep: Upkeep,
    tails: HashMap<SessionId, Tail>,
    /// The sessions that are due to be folded, each once.
    due: VecDeque<SessionId>,
    /// The lives that have ended and still have rows.
    litter: VecDeque<LifeKey>,
    /// The pages in the write-ahead log, as of the last commit.
    log_pages: Arc<AtomicU64>,
    forgotten: Option<Instant>,
    health: Health,
    /// Whether the disk was full the last time.
    full: bool,
    /// Why nothing may be written any more.
    broken: Option<String>,
}

/// What a group changes of what the writer knows, once it is durable.
#[derive(Default)]
struct Draft {
    tails: HashMap<SessionId, Option<Tail>>,
    litter: Vec<LifeKey>,
    /// Whether the first of the sessions that are due was folded.
    folded: bool,
    /// Whether the first of the lives that have ended has no rows any more.
    swept: bool,
}

impl Writer {
    pub(super) fn new(
        mut db: Connection,
        upkeep: Upkeep,
        mut tails: HashMap<SessionId, Tail>,
        litter: VecDeque<LifeKey>,
        health: Health,
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
        Ok(Self { db, upkeep, tails, due, litter, log_pages, forgotten: None, health, full: false, broken: None })
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
                Ok(Job::Touch(touches)) => self.chore("saving when sessions were used", |db, _| touch(db, &touches)),
                Err(RecvTimeoutError::Timeout) => self.tidy(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // So that all is in one file while nobody has it open. Nothing depends on it.
        self.checkpoint("TRUNCATE");
    }

    fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        if let Some(cause) = &self.broken {
            return Err(CommitError::NotApplied { cause: cause.clone() });
        }
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
            append_event(&transaction, append, &self.tails, &self.litter, draft)?;
        }
        // One fold for each group keeps up, because a fold takes more events away than a group brings.
        if let Some(id) = self.due.front() {
            fold_one(&transaction, id, &self.tails, draft)?;
            draft.folded = true;
        }
        if let Some(life) = self.litter.front() {
            draft.swept = sweep(&transaction, life, LITTER_ROWS)?;
        }
        transaction.commit()
    }

    /// Takes over what a group has changed.
    fn settle(&mut self, draft: Draft) {
        let Draft { tails, litter, folded, swept } = draft;
        if swept {
            self.litter.pop_front();
        }
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
        let cause = fault::cause(doing, error);
        self.health.failed(&cause);
        if fault::is_certainly_not_applied(error) && self.db.is_autocommit() {
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
        } else if !self.litter.is_empty() || log >= self.upkeep.checkpoint_pages || forget {
            QUIET
        } else {
            FORGETTING
        }
    }

    fn tidy(&mut self) {
        if self.full {
            self.chore("trying whether there is space again", |db, _| {
                execute(db, "REPLACE INTO meta VALUES ('last trouble', ?1)", params![now()]).map(drop)
            });
        }
        if self.full || self.broken.is_some() {
            return;
        }
        if let Some(life) = self.litter.front().cloned() {
            self.chore("removing what has ended", |db, draft| {
                draft.swept = sweep(db, &life, LITTER_ROWS * 16)?;
                Ok(())
            });
        }
        if self.forgotten.is_none_or(|last| last.elapsed() >= FORGETTING) {
            self.forgotten = Some(Instant::now());
            self.chore("forgetting ended sessions", |db, _| forget(db));
        }
        if self.log_pages.load(Ordering::Relaxed) >= self.upkeep.checkpoint_pages {
            self.checkpoint("PASSIVE");
        }
    }

    /// Does in a transaction of its own what no writer waits for.
    fn chore(&mut self, doing: &str, work: impl FnOnce(&Transaction<'_>, &mut Draft) -> rusqlite::Result<()>) {
        if self.broken.is_some() {
            return;
        }
        let mut draft = Draft::default();
        let attempt = self.db.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            work(&transaction, &mut draft)?;
            transaction.commit()
        });
        match attempt {
            Ok(()) => self.settle(draft),
            Err(error) => self.report(doing, &error),
        }
    }

    /// Copies the log into the tables, and starts it anew. An error other than a full disk is a failed fsync: the
    /// kernel may have dropped what it could not write, and asking again would not tell.
    fn checkpoint(&mut self, mode: &str) {
        if self.broken.is_some() {
            return;
        }
        match self.db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(2)) {
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

/// Writes one event, and what it means for the id's row.
fn append_event(
    db: &Connection,
    append: &Append,
    tails: &HashMap<SessionId, Tail>,
    litter: &VecDeque<LifeKey>,
    draft: &mut Draft,
) -> rusqlite::Result<()> {
    let event = &append.event;
    let life = LifeKey { session: append.session.clone(), incarnation: event.position.incarnation };
    if let Body::Created { .. } = event.body {
        begin(db, &life, litter, draft)?;
    }
    put_event(db, &life, event)?;
    let tail = match (&append.after, &event.body) {
        (Slot::Live(state), Body::Created { .. } | Body::Written(_)) => {
            let before = draft.tails.remove(&append.session).unwrap_or_else(|| tails.get(&append.session).cloned());
            let before = before.filter(|before| before.state.incarnation == life.incarnation);
            let new =
                || Tail { state: Arc::clone(state), folded: 0, events: 0, bytes: 0, reconcile: false, queued: false };
            let mut tail = before.unwrap_or_else(new);
            tail.state = Arc::clone(state);
            tail.events += 1;
            tail.bytes += event.encoded_len();
            Some(tail)
        }
        (Slot::Ended(ended), Body::Deleted | Body::Expired) => {
            end(db, &life, *ended)?;
            draft.litter.push(life);
            None
        }
        // The state and its event do not belong together, which the store never does.
        (Slot::Vacant | Slot::Live(_) | Slot::Ended(_), _) => return Err(rusqlite::Error::InvalidQuery),
    };
    draft.tails.insert(append.session.clone(), tail);
    Ok(())
}

pub(super) fn put_event(db: &Connection, life: &LifeKey, event: &Event) -> rusqlite::Result<()> {
    let body = event.encode();
    let crc = crc("events", life, RowKey::Number(event.position.revision), &body);
    // A revision that is there already would be a fork: the key refuses it.
    execute(
        db,
        "INSERT INTO events (session, incarnation, revision, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![&*life.session, life.incarnation.0, signed(event.position.revision), body, crc],
    )?;
    Ok(())
}

/// A life begins: from this row on it is the id's newest.
fn begin(db: &Connection, life: &LifeKey, litter: &VecDeque<LifeKey>, draft: &Draft) -> rusqlite::Result<()> {
    // An incarnation that was used long before must not meet what is left of it.
    if litter.contains(life) || draft.litter.contains(life) {
        while !sweep(db, life, usize::MAX)? {}
    }
    put_session(db, life, 0, None, &[])
}

fn end(db: &Connection, life: &LifeKey, ended: EndedSlot) -> rusqlite::Result<()> {
    let EndedSlot { position, at, how } = ended;
    let body = Ended { revision: position.revision, at, how }.encode();
    put_session(db, life, position.revision, Some(at.0), &body)?;
    execute(
        db,
        "INSERT OR IGNORE INTO litter (session, incarnation) VALUES (?1, ?2)",
        params![&*life.session, life.incarnation.0],
    )?;
    execute(db, "DELETE FROM touches WHERE session = ?1", params![&*life.session])?;
    Ok(())
}

/// Folds a session if it still lives.
fn fold_one(
    db: &Connection,
    id: &SessionId,
    tails: &HashMap<SessionId, Tail>,
    draft: &mut Draft,
) -> rusqlite::Result<()> {
    let tail = draft.tails.remove(id).unwrap_or_else(|| tails.get(id).cloned());
    if let Some(tail) = &tail {
        fold(db, &tail.state, tail.folded, tail.reconcile)?;
    }
    draft.tails.insert(id.clone(), tail.map(|tail| Tail::folded(tail.state)));
    Ok(())
}

/// Removes rows of a life that has ended. Says whether there are none left.
pub(super) fn sweep(db: &Connection, life: &LifeKey, most: usize) -> rusqlite::Result<bool> {
    let mut lives =
        db.prepare_cached("SELECT 1 FROM sessions WHERE session = ?1 AND incarnation = ?2 AND ended IS NULL")?;
    // A life of the same name has begun, which has removed what was left of the old one.
    let mut done = lives.exists(params![&*life.session, life.incarnation.0])?;
    if !done {
        done = true;
        for (table, key) in
            [("events", "revision"), ("history", "name, version"), ("variables", "name"), ("writes", "revision")]
        {
            let sql = format!(
                "DELETE FROM {table} WHERE session = ?1 AND incarnation = ?2 AND ({key}) IN
                 (SELECT {key} FROM {table} WHERE session = ?1 AND incarnation = ?2 LIMIT ?3)"
            );
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            done &= execute(db, &sql, params![&*life.session, life.incarnation.0, limit])? < most;
        }
    }
    if done {
        let all = params![&*life.session, life.incarnation.0];
        execute(db, "DELETE FROM litter WHERE session = ?1 AND incarnation = ?2", all)?;
    }
    Ok(done)
}

fn touch(db: &Connection, touches: &[Touch]) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("REPLACE INTO touches (session, incarnation, touched) VALUES (?1, ?2, ?3)")?;
    for touch in touches {
        put.execute(params![&*touch.session, touch.incarnation.0, signed(touch.at.0)])?;
    }
    Ok(())
}

/// Forgets the sessions that ended long ago.
pub(super) fn forget(db: &Connection) -> rusqlite::Result<()> {
    let remembered = i64::try_from(EndedSlot::REMEMBERED.as_micros()).unwrap_or(i64::MAX);
    execute(db, "DELETE FROM sessions WHERE ended <= ?1", params![now() - remembered])?;
    Ok(())
}

/// Microseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
