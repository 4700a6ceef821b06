//! The tables of a journal, and which journals this server can read.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig, params};
use snakepit_fault::injected;

use super::OpenError;

/// The format that this server writes. Raised when an older server would misread what is written.
pub(super) const FORMAT: i64 = 1;

/// See docs/adr/0012 for what they hold and when.
const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE sessions (
        session TEXT PRIMARY KEY, incarnation BLOB NOT NULL, folded INTEGER NOT NULL, ended INTEGER,
        body BLOB NOT NULL, crc INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX ended ON sessions (ended) WHERE ended IS NOT NULL;
    CREATE TABLE events (
        session TEXT, incarnation BLOB, revision INTEGER, body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (session, incarnation, revision)
    ) WITHOUT ROWID;
    CREATE TABLE variables (
        session TEXT, incarnation BLOB, name TEXT, body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (session, incarnation, name)
    ) WITHOUT ROWID;
    CREATE TABLE history (
        session TEXT, incarnation BLOB, name TEXT, version INTEGER, body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (session, incarnation, name, version)
    ) WITHOUT ROWID;
    CREATE TABLE writes (
        session TEXT, incarnation BLOB, revision INTEGER, body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (session, incarnation, revision)
    ) WITHOUT ROWID;
    CREATE TABLE touches (
        session TEXT PRIMARY KEY, incarnation BLOB NOT NULL, touched INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE litter (session TEXT, incarnation BLOB, PRIMARY KEY (session, incarnation)) WITHOUT ROWID;
";

/// A row of `meta` that says: a copy of another journal, which may have gone on since.
const COPY: &str = "copy";

/// Makes a new journal of an empty file. Nobody relies on it before it is synced, so it needs no log.
pub(super) fn make(file: &Path) -> Result<(), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(file, flags)?;
    db.execute_batch("PRAGMA journal_mode = off; PRAGMA synchronous = off")?;
    let new = db.transaction()?;
    new.execute_batch(TABLES)?;
    new.execute("INSERT INTO meta VALUES ('format', ?1)", [FORMAT])?;
    new.execute("INSERT INTO meta VALUES ('made by', ?1)", [concat!("snakepit ", env!("CARGO_PKG_VERSION"))])?;
    new.commit()?;
    db.close().map_err(|(_, error)| error.into())
}

/// Says in a journal that it is a copy; and takes its log into it, so that it is one file.
pub(super) fn mark_copy(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA journal_mode = delete", [], |_| Ok(()))?;
    db.execute("REPLACE INTO meta VALUES (?1, ?2)", params![COPY, super::write::now()]).map(drop)
}

/// Whether a journal is a copy that no server has served from.
pub(super) fn is_copy(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) FROM meta WHERE key = ?1", [COPY], |row| row.get::<_, i64>(0)).map(|rows| rows > 0)
}

/// It is a journal of its own from now on.
pub(super) fn unmark_copy(db: &Connection) -> rusqlite::Result<()> {
    db.execute("DELETE FROM meta WHERE key = ?1", [COPY]).map(drop)
}

/// The journal in this file, for its one writer.
pub(super) fn open(journal: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(journal, flags)?;
    // An error of a checkpoint has to be seen by who runs it, so nobody else runs one.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    let mode = keep_log(&db)?;
    if mode != "wal" {
        return Err(OpenError::NoLog { journal: journal.into(), mode });
    }
    db.pragma_update(None, "synchronous", if injected!(AcknowledgeBeforeFsync) { "normal" } else { "full" })?;
    db.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    format(&db, journal)?;
    Ok(db)
}

/// Has changes go to a write-ahead log; returns where they go. SQLite gives its answer before it has written the
/// change, and tells after it if that failed: then they would go to a rollback journal, which loses the last commit in
/// a power cut. So the answer is not all that is asked for.
fn keep_log(db: &Connection) -> rusqlite::Result<String> {
    let mut change = db.prepare("PRAGMA journal_mode = wal")?;
    let mut answers = change.query([])?;
    let mut mode = String::new();
    while let Some(answer) = answers.next()? {
        mode = answer.get(0)?;
    }
    Ok(mode)
}

/// The journal in this file, to look at while it may be in use.
pub(super) fn look(journal: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    looking(Connection::open_with_flags(journal, flags)?, journal)
}

/// The journal in this file, to look at while nobody has it and it has no log: SQLite would make one.
pub(super) fn look_at_rest(journal: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::Directory { directory: journal.parent().unwrap_or(journal).into(), error };
    let path = journal.canonicalize().map_err(failed)?;
    let escaped = path.as_os_str().as_encoded_bytes().iter().map(|byte| match byte {
        b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(*byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    let uri = format!("file:{}?immutable=1", escaped.collect::<String>());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    looking(Connection::open_with_flags(uri, flags)?, journal)
}

fn looking(db: Connection, journal: &Path) -> Result<Connection, OpenError> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    format(&db, journal)?;
    Ok(db)
}

/// Refuses a file that this release cannot read.
fn format(db: &Connection, journal: &Path) -> Result<(), OpenError> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        // An older release made the tables in the log. If they are not there, the log is gone, or its beginning.
        return Err(OpenError::Incomplete {
            directory: journal.parent().unwrap_or(journal).into(),
            problem: "the journal has no tables: its write-ahead log is gone or cut off".into(),
        });
    }
    let ours: i64 = db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |row| row.get(0))?;
    if ours == 0 {
        return Err(OpenError::NoJournal { journal: journal.into() });
    }
    let found: Option<i64> =
        db.query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0)).optional()?;
    match found {
        Some(1..=FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(OpenError::Newer { journal: journal.into(), found }),
        Some(_) | None => Err(OpenError::NoJournal { journal: journal.into() }),
    }
}
