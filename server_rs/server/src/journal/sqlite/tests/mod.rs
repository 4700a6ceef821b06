#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod damage;
mod logs;
mod reopening;
mod resting;
mod tails;

use tokio::runtime;

use super::*;

/// Commits a group and waits for it.
fn commit(disk: &mut Disk, group: &[Append]) -> Result<(), CommitError> {
    runtime::Builder::new_current_thread().build().unwrap().block_on(disk.commit(group))
}
