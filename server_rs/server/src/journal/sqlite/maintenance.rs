//! What can be done with a journal besides serving from it.

use std::{fs, path::Path};

use rusqlite::{Connection, backup::Backup};

use super::{
    Loss, OpenError,
    chores::{forget, sweep},
    directory::{self, Directory},
    fold::fold,
    reader::Thoroughness,
    recovery::{self, Contents},
    schema,
};
use crate::{config::Windows, session::Slot};

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

/// Reads all of the journal in a directory, whether a server has it or not.
pub fn check(directory: &Path) -> Result<Checked, OpenError> {
    let mut db = schema::look(&Directory::journal_in(directory)?)?;
    // One transaction: a server may write meanwhile.
    let db = db.transaction()?;
    let contents = recovery::read(&db, &Windows::default(), Thoroughness::All);
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
    let taken = Directory::take(directory)?;
    let mut db = schema::open(taken.journal())?;
    let Contents { tails, litter, losses, .. } = recovery::read(&db, &Windows::default(), Thoroughness::All);
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
    forget(&all)?;
    all.commit()?;
    db.execute_batch("VACUUM")?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
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
    let from = schema::look(&Directory::journal_in(directory)?)?;
    if Directory::journal_in(to).is_ok() {
        return Err(OpenError::Taken { directory: to.into() });
    }
    let taken = Directory::take(to)?;
    let mut copy = Connection::open(taken.journal())?;
    Backup::new(&from, &mut copy)?.run_to_completion(i32::MAX, std::time::Duration::ZERO, None)?;
    copy.close().map_err(|(_, error)| error)?;
    directory::sync(to).map_err(|error| OpenError::Directory { directory: to.into(), error })
}
