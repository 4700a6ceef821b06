//! The home on disk: an SQLite journal in a directory of its own. docs/adr/0012 has its format and its invariants.

mod directory;
mod events;
mod log;
mod maintenance;
mod recovery;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
};

use snakepit_core::{
    config::{Upkeep, Windows},
    session::State,
    variable::Timestamp,
};
use tokio::sync::oneshot;

use super::{Append, CommitError, Durability, Events, Health, Home, HomeMetrics, Recovered, Touch};
use directory::Directory;
use events::Stored;
use log::Mark;
pub use maintenance::{Archived, Checked, ImportError, backup, check, compact, export, import};
use writer::{Job, Writer};

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves from the directory.
    #[error(
        "{} is in use{}; stop that server, or choose another directory",
        .directory.display(), by(.pid.as_ref())
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that has it, as far as that is known.
        pid: Option<u32>,
    },
    /// The directory cannot be used.
    #[error("cannot use the directory {}: {error}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no journal in the directory.
    #[error("{} has no journal", .directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// There is a journal already.
    #[error("{} has a journal already; choose another directory", .directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
    },
    /// Part of what belongs to a journal is gone, so that SQLite would take it for a new one.
    #[error(
        "the journal in {} is not whole: {problem}; nothing was changed: bring back what is missing, restore a backup, \
         or use another directory",
        .directory.display()
    )]
    Incomplete {
        /// The directory.
        directory: PathBuf,
        /// What is not whole.
        problem: String,
    },
    /// The file is something else.
    #[error("{} is no journal of a snakepit server", .journal.display())]
    NoJournal {
        /// The file.
        journal: PathBuf,
    },
    /// A later release wrote the journal.
    #[error(
        "{} has format {found}, and this release reads up to format {}; use the newer release that wrote it",
        .journal.display(), schema::FORMAT
    )]
    Newer {
        /// The file.
        journal: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The file system does not let SQLite keep its log.
    #[error(
        "{} is on a file system without what a write-ahead log needs (SQLite fell back to {mode}); use a local one",
        .journal.display()
    )]
    NoLog {
        /// The file.
        journal: PathBuf,
        /// What SQLite would do instead.
        mode: String,
    },
    /// Part of the journal cannot be read.
    #[error(
        "the journal in {} is damaged: {}{}; `snakepit data check` tells all of it, `snakepit data export` saves the \
         rest, and a backup may have what is lost",
        .directory.display(), first(.losses), more(.losses)
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// All that is lost.
        losses: Vec<Loss>,
    },
    /// What SQLite finds wrong with the file is more than a part of it.
    #[error("the journal cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Something in a journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", of_session(.session.as_deref()))]
pub struct Loss {
    /// Whose, if that is known.
    pub session: Option<String>,
    /// What is lost, and why.
    pub problem: String,
}

fn of_session(session: Option<&str>) -> String {
    session.map_or_else(String::new, |session| format!("session {session:?}: "))
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thoroughness {
    /// What a server has to know. Of the event log that is how far it reaches; who asks for its events is told if one
    /// cannot be read.
    Needed,
    /// All there is.
    All,
}

fn by(pid: Option<&u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

fn first(losses: &[Loss]) -> String {
    losses.first().map_or_else(String::new, Loss::to_string)
}

fn more(losses: &[Loss]) -> String {
    match losses.len() {
        0 | 1 => String::new(),
        several => format!(", and {} more", several - 1),
    }
}

impl recovery::Contents {
    /// The time that was lived until the newest of what is in it.
    fn lived(&self) -> Timestamp {
        self.sessions.iter().map(Recovered::lived).max().unwrap_or_default()
    }
}

/// Keeps events on disk: what was acknowledged survives a power cut.
#[derive(Debug)]
pub struct Disk {
    recovered: Vec<Recovered>,
    health: Health,
    metrics: HomeMetrics,
    events: Arc<Stored>,
    /// None only while this is dropped: the thread ends when nobody can ask it any more.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Takes the directory, makes it if there is none, and reads what is kept there. Blocks for as long as that takes.
    pub fn open(directory: &Path, windows: &Windows) -> Result<Self, OpenError> {
        Self::open_with(directory, windows, Upkeep::default())
    }

    /// The same, tidying itself up at other times.
    pub fn open_with(directory: &Path, windows: &Windows, upkeep: Upkeep) -> Result<Self, OpenError> {
        let taken = Directory::take(directory, schema::make)?;
        let failed = |error| OpenError::Directory { directory: directory.into(), error };
        log::check(directory)?;
        let mut db = schema::open(taken.journal())?;
        let mark = Mark::open(directory);
        // The log is there from here on, under a name that has to outlive a power cut. SQLite syncs it, too, when it
        // first syncs the log, but ignores whether that fails.
        directory::sync(directory).map_err(failed)?;
        let windows = windows.before_a_home_with_events();
        let mut contents = recovery::read(&db, &windows, Thoroughness::Needed);
        if contents.losses.is_empty() && schema::is_copy(&db)? {
            maintenance::begin_anew(&mut db, &contents, &windows)?;
            tracing::info!("this journal is a backup: each session in it begins a new incarnation");
            contents = recovery::read(&db, &windows, Thoroughness::Needed);
        }
        if !contents.losses.is_empty() {
            return Err(OpenError::Damaged { directory: directory.into(), losses: contents.losses });
        }
        let (health, metrics) = (Health::default(), HomeMetrics::of(taken.journal()));
        let lived = contents.lived();
        let events = Arc::new(Stored::of(taken.journal().into())?);
        let files = taken.files().map_err(failed)?;
        let kept = writer::Kept { db, mark, files };
        let (tails, litter) = (contents.tails, contents.litter);
        let writer = Writer::new(kept, upkeep, lived, tails, litter, health.clone(), metrics.clone())?;
        let (jobs, asked) = mpsc::channel();
        let thread = std::thread::Builder::new().name("snakepit-journal".into()).spawn(move || {
            writer.run(&asked);
            // After the last word to the journal, and not before.
            drop(taken);
        });
        let thread = Some(thread.map_err(failed)?);
        Ok(Self { recovered: contents.sessions, health, metrics, events, jobs: Some(jobs), thread })
    }

    /// How many sessions it has found, those included that have ended within a day. None once they are taken.
    pub fn len(&self) -> usize {
        self.recovered.len()
    }

    /// Whether it has found none.
    pub fn is_empty(&self) -> bool {
        self.recovered.is_empty()
    }

    /// Has the thread do something that nobody waits for.
    fn tell(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // If the thread has ended, the next write says so.
            let _ended = jobs.send(job);
        }
    }
}

impl Home for Disk {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn recovered(&mut self) -> Vec<Recovered> {
        std::mem::take(&mut self.recovered)
    }

    fn health(&self) -> Health {
        self.health.clone()
    }

    fn metrics(&self) -> HomeMetrics {
        self.metrics.clone()
    }

    fn events(&self) -> Option<Arc<dyn Events>> {
        Some(Arc::clone(&self.events) as Arc<dyn Events>)
    }

    fn rest(&mut self, states: Vec<Arc<State>>) {
        self.tell(Job::Rest(states));
    }

    fn touch(&mut self, touches: Vec<Touch>) {
        self.tell(Job::Touch(touches));
    }

    async fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        let ended = || CommitError::Unknown { cause: "the journal's thread has ended".into() };
        let (done, outcome) = oneshot::channel();
        let job = Job::Commit { group: group.to_vec(), done };
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // Until then the directory is not free.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread has panicked");
        }
    }
}
