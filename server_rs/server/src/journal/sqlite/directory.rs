//! The directory that a journal lives in, and who has it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::OpenError;

/// The journal's file in its directory. SQLite puts its log and its index beside it.
const JOURNAL: &str = "journal.db";
const LOCK: &str = "lock";

/// A directory that this process has to itself until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    journal: PathBuf,
    /// Locked as long as it is open; so it is released however the process ends.
    _lock: File,
}

impl Directory {
    /// Takes the directory, and makes it if there is none.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Directory { directory: path.into(), error };
        make(path).map_err(failed)?;
        let lock = lock(path)?;
        let journal = path.join(JOURNAL);
        // Made here, because SQLite would let others read it. Its other files follow this one's permissions.
        match private().create_new(true).open(&journal) {
            Ok(_) => sync(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { journal, _lock: lock })
    }

    /// The journal in a directory that is there, taken or not.
    pub(super) fn journal_in(path: &Path) -> Result<PathBuf, OpenError> {
        let journal = path.join(JOURNAL);
        if journal.is_file() { Ok(journal) } else { Err(OpenError::Missing { directory: path.into() }) }
    }

    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}

/// Makes what was created in a directory outlive a power cut.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A lock of its own, so that `sqlite3` may look at the journal meanwhile.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |error| OpenError::Directory { directory: directory.into(), error };
    let mut file = private().create(true).truncate(false).open(directory.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who is only said for the message: it may be gone by the time it is read.
            let _unsaid = file.read_to_string(&mut holder);
            return Err(OpenError::InUse { directory: directory.into(), pid: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let pid = std::process::id();
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{pid}")).map_err(failed)?;
    Ok(file)
}
