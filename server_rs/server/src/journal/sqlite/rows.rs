//! Rows and their checksums: SQLite notices a torn page, but not a bit that has turned in a value.

use rusqlite::{Connection, Row, ToSql};
use snakepit_core::session::{Incarnation, SessionId};

use crate::journal::record::{Record, Unreadable};

/// One life of a session: what every row's key begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LifeKey {
    pub(super) session: SessionId,
    pub(super) incarnation: Incarnation,
}

/// The rest of a row's key, for its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowKey<'a> {
    Number(u64),
    Name(&'a str),
    Version(&'a str, u64),
}

/// The checksum of a row: of its table, its key and its body.
pub(super) fn crc(table: &str, life: &LifeKey, key: RowKey<'_>, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let (name, number) = match key {
        RowKey::Number(number) => ("", number),
        RowKey::Name(name) => (name, 0),
        RowKey::Version(name, version) => (name, version),
    };
    for part in [table, &life.session, name] {
        crc.update(part.as_bytes());
        crc.update(&[0]);
    }
    crc.update(&life.incarnation.0);
    crc.update(&number.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// The record in a row whose last two columns are its body and checksum, from column `at` on.
pub(super) fn record<R: Record>(
    table: &str,
    life: &LifeKey,
    key: RowKey<'_>,
    row: &Row<'_>,
    at: usize,
) -> Result<R, Damage> {
    let body = row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from)?;
    let found: u32 = row.get(at + 1)?;
    if found != crc(table, life, key, body) {
        return Err(Damage::Checksum);
    }
    Ok(R::decode(body)?)
}

/// Why a row cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is missing")]
    Missing,
    #[error("its checksum is wrong")]
    Checksum,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Key(#[from] snakepit_core::error::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Executes a statement that is kept prepared.
pub(super) fn execute(db: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    db.prepare_cached(sql)?.execute(parameters)
}

/// A count as SQLite has it: with a sign.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
