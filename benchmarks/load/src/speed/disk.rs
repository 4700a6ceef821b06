//! The bare disk: what any write that is durable has to wait for.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use futures_util::future::BoxFuture;

use super::case::Operation;
use crate::Outcome;

/// Appends 4 KiB and has them reach the disk.
pub(super) struct Append {
    file: File,
    page: Vec<u8>,
}

impl Append {
    pub(super) fn new(path: &Path) -> Outcome<Self> {
        let page = std::iter::repeat_with(|| fastrand::u8(..)).take(4096).collect();
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)?, page })
    }
}

impl Operation for Append {
    // Blocks its thread, as it is meant to: nothing else runs meanwhile, and a hop to another thread would be measured.
    fn run(&mut self, _number: u64) -> BoxFuture<'_, Outcome<()>> {
        let done = self.file.write_all(&self.page).and_then(|()| self.file.sync_data());
        Box::pin(async move { Ok(done?) })
    }
}
