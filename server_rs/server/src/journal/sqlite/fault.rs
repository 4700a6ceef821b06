//! What an error of SQLite says about what was written.

use rusqlite::{Error, ErrorCode};

/// Whether nothing was written for certain: SQLite rolls back what finds no space, and a lock that it does not get.
/// An I/O error tells less, and after a failed fsync nobody knows what the kernel has kept.
pub(super) fn is_certainly_not_applied(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What failed, for people.
pub(super) fn cause(doing: &str, error: &Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has locked the journal for writing".into()
        }
        Some(_) | None => format!("{doing} failed: {}", described(error)),
    }
}

fn described(error: &Error) -> String {
    match error.sqlite_error() {
        Some(code) => format!("{error} (SQLite error {})", code.extended_code),
        None => error.to_string(),
    }
}
