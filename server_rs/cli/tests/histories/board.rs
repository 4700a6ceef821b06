//! Who waits for what, so that a run that stands still can say why.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

/// How long a run may stand still.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
pub struct Board {
    waiting: Mutex<BTreeMap<String, String>>,
    /// How much has happened.
    steps: AtomicU64,
    calls: AtomicU64,
}

impl Board {
    pub fn waits(&self, who: &str, what: impl Into<String>) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(who.to_owned(), what.into());
    }

    /// Something has happened.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended.
    pub fn called(&self, who: &str) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.done(who);
    }

    /// How many calls have ended.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn done(&self, who: &str) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().remove(who);
    }

    /// Returns when nothing has happened for long, with what everybody waits for.
    pub async fn stands_still(&self) -> String {
        let mut seen = 0;
        loop {
            tokio::time::sleep(PATIENCE).await;
            let steps = self.steps.load(Ordering::Relaxed);
            if steps == seen {
                let waiting = self.waiting.lock();
                let lines: Vec<_> = waiting.iter().map(|(who, what)| format!("    {who}: {what}")).collect();
                return format!("nothing has happened for {PATIENCE:?}; there wait\n{}", lines.join("\n"));
            }
            seen = steps;
        }
    }
}
