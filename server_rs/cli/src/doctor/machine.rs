use std::{
    fs::{File, TryLockError},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use snakepit_proto::v1::Durability;
use snakepit_server::tls::Validity;

use crate::doctor::{Finding, server::Met};

const MIB: u64 = 1024 * 1024;
/// With less than this free, the next checkpoint or fold may find none.
const SCARCE: u64 = 64 * MIB;
const LITTLE: u64 = 1024 * MIB;

/// Checks what there is on this machine.
pub(super) fn check(directory: &Path, certificate: Option<&Path>, met: Option<&Met>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let journal = directory.join("journal.db");
    if journal.is_file() {
        findings.push(taken(directory, met));
        #[cfg(unix)]
        findings.push(disk(directory));
    } else if met.is_some_and(|met| met.on_this_machine && met.durability == Durability::Disk) {
        findings.push(Finding::warn(
            "data directory",
            format!("there is no journal in {}, so its disk was not checked", directory.display()),
            "say with --data-dir where the server keeps sessions",
        ));
    }
    findings.extend(certificate.map(valid));
    findings.extend(python());
    findings
}

/// Whether clients that check its dates accept a certificate, and will tomorrow.
fn valid(file: &Path) -> Finding {
    const CHECK: &str = "certificate";
    const SOON: Duration = Duration::from_secs(14 * 86_400);
    let (shown, now) = (file.display(), SystemTime::now());
    let found = match std::fs::read(file) {
        Ok(pem) => Validity::of_each(&pem),
        Err(error) => {
            let next = "say with --server-cert which certificate the server shows, or run this as its user";
            return Finding::warn(CHECK, format!("{shown} cannot be read: {error}"), next);
        }
    };
    if let Some(problem) = found.iter().find_map(|it| it.problem(&shown.to_string(), now)) {
        let (what, next) = problem.split_once(": ").unwrap_or((&problem, ""));
        return Finding::fail(CHECK, what, next);
    }
    match found.iter().min_by_key(|it| it.until()) {
        Some(first) if first.ends_within(SOON, now) => {
            let what = format!("{shown} is valid until {} only", first.until());
            Finding::warn(CHECK, what, "put a new one in its place and restart the server")
        }
        Some(first) => Finding::ok(CHECK, format!("{shown} is valid until {}", first.until())),
        None => {
            let next = "say with --server-cert which certificate the server shows";
            Finding::warn(CHECK, format!("there is no certificate in {shown}"), next)
        }
    }
}

/// Whether a server has the directory.
fn taken(directory: &Path, met: Option<&Met>) -> Finding {
    const CHECK: &str = "data directory";
    let shown = directory.display();
    let lock = match File::open(directory.join("lock")) {
        Ok(lock) => lock,
        Err(error) => {
            let next = "run this as the user that runs the server";
            return Finding::warn(CHECK, format!("{shown} cannot be looked into: {error}"), next);
        }
    };
    let serving = met.is_some_and(|met| met.on_this_machine && met.durability == Durability::Disk);
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) if met.is_none() => Finding::warn(
            CHECK,
            format!("a server has {shown}, but not at the address that was tried"),
            "its log says where it listens",
        ),
        Err(TryLockError::WouldBlock) => Finding::ok(CHECK, format!("a server has {shown}")),
        Ok(()) if serving => Finding::warn(
            CHECK,
            format!("no server has {shown}: the one that answers keeps sessions elsewhere"),
            "say with --data-dir where, to have its disk checked",
        ),
        Ok(()) => Finding::ok(CHECK, format!("no server has {shown}; `snakepit serve` can take it")),
        Err(TryLockError::Error(error)) => {
            Finding::warn(CHECK, format!("the lock of {shown} cannot be tried: {error}"), "see its permissions")
        }
    }
}

/// The room that there is for the journal.
#[cfg(unix)]
fn disk(directory: &Path) -> Finding {
    const CHECK: &str = "disk";
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |file| file.len());
    let journal = size("journal.db") + size("journal.db-wal");
    let free = match rustix::fs::statvfs(directory) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return Finding::warn(CHECK, format!("cannot tell how much is free: {error}"), "try `df`"),
    };
    let what = format!("{} MiB free; the journal takes {} MiB", free / MIB, journal.div_ceil(MIB));
    if free < SCARCE {
        Finding::fail(CHECK, what, "free some: a full disk refuses writes")
    } else if free < LITTLE.max(journal) {
        Finding::warn(CHECK, what, "free some before `snakepit data compact` or a backup, which take as much again")
    } else {
        Finding::ok(CHECK, what)
    }
}

/// The Python package that this machine's Python has, if any.
fn python() -> Option<Finding> {
    const CHECK: &str = "python";
    const ASK: &str = "from importlib.metadata import version; print(version('snakepit-bridge'))";
    let answer = |python| Command::new(python).args(["-c", ASK]).output().ok().filter(|it| it.status.success());
    let answer = ["python", "python3"].into_iter().find_map(answer)?;
    let there = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    Some(if there == env!("CARGO_PKG_VERSION") {
        Finding::ok(CHECK, format!("the package snakepit-bridge is {there}, like this client"))
    } else {
        Finding::warn(
            CHECK,
            format!("the package snakepit-bridge is {there}, this client {}", env!("CARGO_PKG_VERSION")),
            "install the same: the package brings its own `snakepit`",
        )
    })
}
