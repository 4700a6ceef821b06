//! Who changed what, and who was refused: a file to which lines are added, and values never.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use serde::Serialize;

/// A file of JSON objects, one a line. Clones share it.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Held for one line at a time.
    file: Mutex<File>,
}

/// What is told of one request.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// Whose token or certificate it was; null: nobody's that is known.
    pub(crate) principal: Option<&'a str>,
    /// Whether that is known to be true.
    pub(crate) verified: bool,
    pub(crate) peer: Option<String>,
    /// What the client named it, or the server: no proof of anything.
    pub(crate) request_id: Option<&'a str>,
    pub(crate) rpc: &'a str,
    pub(crate) session: Option<&'a str>,
    /// Of variables, or of a tool.
    pub(crate) names: &'a [String],
    /// "ok", or the reason of the refusal.
    pub(crate) outcome: &'a str,
    /// Of the session, after a write.
    pub(crate) revision: Option<u64>,
}

#[derive(Serialize)]
struct Timed<'a> {
    time: String,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

impl AuditLog {
    /// Opens the file, made if it is not there; a sentence that says why that cannot be otherwise.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let file = Mutex::new(open(&path)?);
        Ok(Self(Arc::new(Inner { path, file })))
    }

    /// Goes on in a new file of the same name, if the old one was moved away. Otherwise with the old one.
    pub fn reopen(&self) {
        match open(&self.0.path) {
            Ok(file) => *self.0.file.lock() = file,
            Err(problem) => tracing::error!(%problem, "the audit log goes on in the file it has"),
        }
    }

    /// Adds a line, as one write that waits for no disk.
    pub(crate) fn add(&self, line: &Line<'_>) {
        let time = prost_types::Timestamp::from(SystemTime::now()).to_string();
        let text = serde_json::to_string(&Timed { time, line });
        let written =
            text.map_err(Into::into).and_then(|text| self.0.file.lock().write_all(format!("{text}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, "a line of the audit log is lost");
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditLog").field(&self.0.path).finish()
    }
}

fn open(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| format!("the audit log {} cannot be opened: {error}", path.display()))
}
