//! Sessions taken out of a journal, and put into one.

use std::{path::Path, sync::Arc};

use rusqlite::TransactionBehavior;

use super::{
    Loss, OpenError, chores::sweep, directory::Directory, fold::fold, reader::Thoroughness, recovery, schema,
    tail::Tail,
};
use crate::{
    config::Windows,
    session::{Kept, SessionId, Slot, State},
};

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
    let mut db = schema::look(&Directory::journal_in(directory)?)?;
    // One transaction: a server may write meanwhile.
    let db = db.transaction()?;
    let contents = recovery::read(&db, &Windows::default(), Thoroughness::All);
    let live = contents.sessions.into_iter().filter_map(|kept| match kept.slot {
        Slot::Live(state) => Some(Archived { session: kept.session, kept: state.keep() }),
        Slot::Vacant | Slot::Ended(_) => None,
    });
    Ok((live.collect(), contents.losses))
}

/// Puts sessions into the journal in a directory, which is made if there is none; all of them or none. Needs the
/// directory to itself.
pub fn import(directory: &Path, sessions: Vec<Archived>) -> Result<(), ImportError> {
    let taken = Directory::take(directory)?;
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
    for Archived { session, kept } in sessions {
        if contents.tails.contains_key(&session) {
            return Err(ImportError::Exists { session: session.to_string() });
        }
        let state = State::restore(&session, kept, &Windows::default())
            .map_err(|problem| ImportError::Inconsistent { session: session.to_string(), problem })?;
        fold(&all, &Tail { folded: 0, ..Tail::folded(Arc::new(state)) })?;
    }
    all.commit()?;
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}
