//! What can be done with a journal besides serving from it: check, back up, compact, export and import.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, TransactionBehavior, backup::Backup, params};
use snakepit_core::{
    config::Windows,
    session::{Incarnation, Kept, SessionId, Slot, State},
    variable::Timestamp,
};

use super::{
    Loss, OpenError, Thoroughness,
    directory::Directory,
    log::{self, Mark},
    recovery::{self, Contents},
    rows::LifeKey,
    schema,
    write::{Tail, fold, forget, now, sweep},
};

/// What a journal holds, and what of it cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Live sessions.
    pub sessions: u64,
    /// Their variables.
    pub variables: u64,
    /// The kept versions of these, and of deleted names.
    pub versions: u64,
    /// Sessions that have ended within a day.
    pub ended: u64,
    /// All that is lost.
    pub losses: Vec<Loss>,
}

/// All that can be read of the journal in a directory, whether a server has it or not. Changes nothing.
fn look(directory: &Path) -> Result<Contents, OpenError> {
    let journal = Directory::journal_in(directory)?;
    if Directory::is_at_rest(directory) {
        let found = read_all(directory, schema::look_at_rest(&journal)?);
        // A server that has begun meanwhile has made a log.
        if Directory::is_at_rest(directory) {
            return found;
        }
    }
    read_all(directory, schema::look(&journal)?)
}

fn read_all(directory: &Path, mut db: Connection) -> Result<Contents, OpenError> {
    let mut losses = log::losses(directory)?;
    // One transaction: a server may write meanwhile.
    let db = db.transaction()?;
    let mut contents = recovery::read(&db, &Windows::default(), Thoroughness::All);
    losses.append(&mut contents.losses);
    Ok(Contents { losses, ..contents })
}

/// Reads all of the journal in a directory, whether a server has it or not.
pub fn check(directory: &Path) -> Result<Checked, OpenError> {
    let contents = look(directory)?;
    let mut checked = Checked { losses: contents.losses, ..Checked::default() };
    for kept in &contents.sessions {
        match &kept.slot {
            Slot::Live(state) => {
                checked.sessions += 1;
                checked.variables += state.len() as u64;
                checked.versions += state.version_count() as u64;
            }
            Slot::Ended(_) => checked.ended += 1,
            Slot::Vacant => {}
        }
    }
    Ok(checked)
}

/// Folds every session and gives free space back. Returns the bytes of the journal before and after. Needs the
/// directory to itself.
pub fn compact(directory: &Path) -> Result<(u64, u64), OpenError> {
    Directory::journal_in(directory)?;
    let taken = Directory::take(directory, schema::make)?;
    log::check(directory)?;
    let mut db = schema::open(taken.journal())?;
    let contents = recovery::read(&db, &Windows::default(), Thoroughness::All);
    let lived = contents.lived();
    let Contents { tails, litter, losses, .. } = contents;
    if !losses.is_empty() {
        return Err(OpenError::Damaged { directory: directory.into(), losses });
    }
    let before = size(directory)?;
    let all = db.transaction()?;
    for tail in tails.values() {
        fold(&all, tail)?;
    }
    for life in &litter {
        sweep(&all, life, usize::MAX)?;
    }
    forget(&all, lived)?;
    all.commit()?;
    db.execute_batch("VACUUM")?;
    let mode = if Mark::open(directory).clear() { "TRUNCATE" } else { "PASSIVE" };
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    Ok((before, size(directory)?))
}

fn size(directory: &Path) -> Result<u64, OpenError> {
    let failed = |error| OpenError::Directory { directory: directory.into(), error };
    let files = fs::read_dir(directory).map_err(failed)?;
    files.map(|file| Ok(file?.metadata()?.len())).sum::<Result<u64, _>>().map_err(failed)
}

/// Copies the journal in a directory, as it is at one moment, into another directory, which must not have one. A server
/// may go on writing meanwhile.
pub fn backup(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let journal = Directory::journal_in(directory)?;
    log::check(directory)?;
    let from = schema::look(&journal)?;
    Directory::copy_to(to, |file| {
        let mut copy = Connection::open(file)?;
        Backup::new(&from, &mut copy)?.run_to_completion(i32::MAX, std::time::Duration::ZERO, None)?;
        schema::mark_copy(&copy)?;
        copy.close().map_err(|(_, error)| error.into())
    })
}

/// Gives each session of a journal that is a copy a new incarnation, with its revision and versions as they are: clients
/// of the original may have seen more than was copied. All of them or none.
pub(super) fn begin_anew(db: &mut Connection, contents: &Contents, windows: &Windows) -> Result<(), OpenError> {
    let all = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for tail in contents.tails.values() {
        let state = &tail.state;
        let before = LifeKey { session: state.id.clone(), incarnation: state.incarnation };
        let incarnation = Incarnation(std::array::from_fn(|_| fastrand::u8(..)));
        let kept = Kept { incarnation, ..state.keep() };
        let state = State::restore(&state.id, kept, windows).map_err(|problem| OpenError::Damaged {
            directory: db_directory(&all),
            losses: vec![Loss { session: Some(before.session.to_string()), problem }],
        })?;
        fold(&all, &Tail { folded: 0, ..Tail::folded(Arc::new(state)) })?;
        all.execute(
            "UPDATE touches SET incarnation = ?3 WHERE session = ?1 AND incarnation = ?2",
            params![&*before.session, before.incarnation.0, incarnation.0],
        )?;
        sweep(&all, &before, usize::MAX)?;
    }
    schema::unmark_copy(&all)?;
    Ok(all.commit()?)
}

fn db_directory(db: &Connection) -> PathBuf {
    db.path().and_then(|file| Path::new(file).parent()).map_or_else(PathBuf::new, Into::into)
}

/// A live session with its variables and histories.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Its id.
    pub session: SessionId,
    /// What is kept of it; without events and writes.
    pub kept: Kept,
}

/// Why sessions cannot be put into a journal. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a session of that id.
    #[error("session {session:?} is there already; import into another directory, or leave it out")]
    Exists {
        /// The id.
        session: String,
    },
    /// It does not fit together.
    #[error("session {session:?}: {problem}")]
    Inconsistent {
        /// The id.
        session: String,
        /// What does not.
        problem: String,
    },
    /// It could not be written.
    #[error("the sessions could not be written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// All live sessions of the journal in a directory, by id, whether a server has it or not; and what cannot be read.
pub fn export(directory: &Path) -> Result<(Vec<Archived>, Vec<Loss>), OpenError> {
    let contents = look(directory)?;
    let live = contents.sessions.into_iter().filter_map(|kept| match kept.slot {
        Slot::Live(state) => Some(Archived { session: kept.session, kept: state.keep() }),
        Slot::Vacant | Slot::Ended(_) => None,
    });
    Ok((live.collect(), contents.losses))
}

/// Puts sessions into the journal in a directory, which is made if there is none; all of them or none. Needs the
/// directory to itself.
pub fn import(directory: &Path, sessions: Vec<Archived>) -> Result<(), ImportError> {
    let taken = Directory::take(directory, schema::make)?;
    log::check(directory)?;
    let mut db = schema::open(taken.journal())?;
    let contents = recovery::read(&db, &Windows::default(), Thoroughness::All);
    if !contents.losses.is_empty() {
        let (directory, losses) = (directory.into(), contents.losses);
        return Err(OpenError::Damaged { directory, losses }.into());
    }
    let all = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // A life that comes back must not meet what is left of it.
    for life in &contents.litter {
        sweep(&all, life, usize::MAX)?;
    }
    // Its ttl begins with the next start, whatever the clock was that it comes from.
    let lived = contents.lived().max(Timestamp(if contents.sessions.is_empty() { now().unsigned_abs() } else { 0 }));
    for Archived { session, kept } in sessions {
        let kept = Kept { last_lived: lived, ..kept };
        if contents.tails.contains_key(&session) {
            return Err(ImportError::Exists { session: session.to_string() });
        }
        let state = kept
            .of_elsewhere()
            .and_then(|kept| State::restore(&session, kept, &Windows::default()))
            .map_err(|problem| ImportError::Inconsistent { session: session.to_string(), problem })?;
        fold(&all, &Tail { folded: 0, ..Tail::folded(Arc::new(state)) })?;
    }
    all.commit()?;
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}
