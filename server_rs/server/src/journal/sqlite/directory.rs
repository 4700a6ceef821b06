//! The directory that a journal lives in: who has it, whether what is in it is whole, and whether it is still there.
//!
//! A journal gets its name when it is whole: it is made under another one, synced, renamed, and the directory is synced
//! before SQLite's log is made beside it. So `journal.db` that is empty, or missing beside what belongs to it, is never
//! this server's doing, and is refused. A backup is made in the same way, under a name of its own: where it was not
//! finished, a server does not take the directory for a new one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::OpenError;

/// The journal's file in its directory. SQLite puts its log and its index beside it.
const JOURNAL: &str = "journal.db";
pub(super) const LOG: &str = "journal.db-wal";
/// SQLite's as well, for the moment of a switch to the log.
const ROLLBACK: &str = "journal.db-journal";
const INDEX: &str = "journal.db-shm";
/// How much of the log is certainly there: `log.rs` has it.
pub(super) const MARK: &str = "journal.db-mark";
/// A journal that is being made.
const NEW: &str = "journal.db-new";
/// A backup that is being made.
const PART: &str = "journal.db-part";
const LOCK: &str = "lock";

/// A directory that this process has to itself until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    journal: PathBuf,
    /// Locked as long as it is open; so it is released however the process ends.
    lock: File,
}

impl Directory {
    /// Takes the directory, and makes it and the journal if there is none. `fill` writes a new journal.
    pub(super) fn take(path: &Path, fill: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<Self, OpenError> {
        let taken = Self::claim(path)?;
        if !is_there(path)? {
            taken.put(NEW, fill)?;
        }
        Ok(taken)
    }

    /// Takes a directory that must not have a journal, and puts a copy there.
    pub(super) fn copy_to(path: &Path, fill: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<(), OpenError> {
        if is_whole(path)? {
            return Err(OpenError::Taken { directory: path.into() });
        }
        let taken = Self::claim(path)?;
        taken.put(PART, fill).inspect_err(|_| drop(fs::remove_file(path.join(PART))))
    }

    fn claim(path: &Path) -> Result<Self, OpenError> {
        make(path).map_err(|error| OpenError::Directory { directory: path.into(), error })?;
        Ok(Self { path: path.into(), journal: path.join(JOURNAL), lock: lock(path)? })
    }

    /// Makes the journal under another name, and gives it its own once it is whole and synced.
    fn put(&self, name: &str, fill: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<(), OpenError> {
        let failed = |error| OpenError::Directory { directory: self.path.clone(), error };
        let draft = self.path.join(name);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        // Made here, because SQLite would let others read it. Its other files follow this one's permissions.
        private().create_new(true).open(&draft).map_err(failed)?;
        fill(&draft)?;
        File::open(&draft).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&draft, &self.journal).and_then(|()| sync(&self.path)).map_err(failed)
    }

    /// The journal in a directory that is there, taken or not.
    pub(super) fn journal_in(path: &Path) -> Result<PathBuf, OpenError> {
        if is_there(path)? { Ok(path.join(JOURNAL)) } else { Err(OpenError::Missing { directory: path.into() }) }
    }

    /// Whether the journal is one file, which no server has.
    pub(super) fn is_at_rest(path: &Path) -> bool {
        ![LOG, ROLLBACK].into_iter().any(|name| path.join(name).exists())
    }

    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The journal's files, as they are now that they are open.
    pub(super) fn files(&self) -> io::Result<Files> {
        let of = |name| Ok((self.path.join(name), Identity::of(&fs::metadata(self.path.join(name))?)));
        let known = [JOURNAL, LOG, INDEX].into_iter().map(of).collect::<io::Result<_>>()?;
        Ok(Files { directory: self.path.clone(), lock: self.lock.try_clone()?, known })
    }
}

/// Whether there is a journal, and no unfinished backup in its place.
fn is_there(path: &Path) -> Result<bool, OpenError> {
    let there = is_whole(path)?;
    if !there && path.join(PART).exists() {
        let problem = "it holds a backup that was not finished: make it again".to_owned();
        return Err(OpenError::Incomplete { directory: path.into(), problem });
    }
    Ok(there)
}

/// Whether there is a journal. One without what belongs to it is refused: to SQLite it would be a new one.
fn is_whole(path: &Path) -> Result<bool, OpenError> {
    let incomplete = |problem: String| Err(OpenError::Incomplete { directory: path.into(), problem });
    match fs::metadata(path.join(JOURNAL)) {
        Ok(file) if !file.is_file() => incomplete(format!("{JOURNAL} is not a file")),
        Ok(file) if file.len() == 0 => incomplete(format!("{JOURNAL} has 0 bytes")),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match [LOG, INDEX, MARK].into_iter().find(|name| path.join(name).exists()) {
                Some(beside) => incomplete(format!("{JOURNAL} is missing, and its {beside} is there")),
                None => Ok(false),
            }
        }
        Err(error) => Err(OpenError::Directory { directory: path.into(), error }),
    }
}

/// What tells a file from another of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(file: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(file.dev(), file.ino())
    }

    /// Where files have no numbers, an open file cannot be removed or moved either.
    #[cfg(not(unix))]
    pub(super) fn of(_: &fs::Metadata) -> Self {
        Self(0, 0)
    }
}

/// The files of an open journal. The system lets others remove or move what is open: writes then go on, into nothing.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// A clone of the one that is locked: as soon as it has no name, the directory's content was removed.
    lock: File,
    known: Vec<(PathBuf, Identity)>,
}

impl Files {
    /// Why what is written would not be found again; none if the files are where they were.
    pub(super) fn trouble(&self) -> Option<String> {
        let is_gone = |(path, known): &&(PathBuf, Identity)| match fs::metadata(path) {
            Ok(file) => Identity::of(&file) != *known,
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        let (gone, _) = self.known.iter().find(is_gone)?;
        let shown = self.directory.display();
        let lock = self.lock.metadata().ok();
        let at_its_place = fs::metadata(self.directory.join(LOCK)).ok();
        Some(if lock.as_ref().is_some_and(is_removed) {
            format!("the data directory {shown} was removed: restart the server on a backup")
        } else if lock.as_ref().map(Identity::of) == at_its_place.as_ref().map(Identity::of) {
            format!("{} was removed or replaced: restart the server to see what is left", gone.display())
        } else {
            format!("the data directory {shown} was moved: move it back, or restart the server where it is now")
        })
    }
}

#[cfg(unix)]
fn is_removed(file: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) == 0
}

#[cfg(not(unix))]
fn is_removed(_: &fs::Metadata) -> bool {
    false
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

/// Options for a file that only this user reads.
pub(super) fn private() -> OpenOptions {
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
