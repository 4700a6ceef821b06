//! Homes that are slow or fail, for tests of everything that stands on a journal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Append, CommitError, Durability, Home};

/// A home whose every commit waits until the test decides it: see [`gated`].
#[derive(Debug)]
pub struct Gated {
    groups: mpsc::UnboundedSender<Group>,
}

/// A group that waits at a [`Gated`] home.
#[derive(Debug)]
pub struct Group {
    /// What is to be committed.
    pub appends: Vec<Append>,
    decided: oneshot::Sender<Result<(), CommitError>>,
}

impl Group {
    /// Lets the commit end this way.
    pub fn settle(self, outcome: Result<(), CommitError>) {
        // The server under test may have gone.
        let _gone = self.decided.send(outcome);
    }
}

/// The other side of a [`Gated`] home: the groups that wait, in order.
pub type Gate = mpsc::UnboundedReceiver<Group>;

/// A home that holds each group until the test settles it.
pub fn gated() -> (Gated, Gate) {
    let (groups, gate) = mpsc::unbounded_channel();
    (Gated { groups }, gate)
}

impl Home for Gated {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    async fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        let (decided, outcome) = oneshot::channel();
        let lost = || CommitError::Unknown { cause: "the test dropped the gate".into() };
        self.groups.send(Group { appends: group.to_vec(), decided }).map_err(|_| lost())?;
        outcome.await.map_err(|_| lost())?
    }
}

/// A home that takes its time and, while its switch is on, fails.
#[derive(Debug)]
pub struct Faulty {
    /// How long each commit takes.
    pub delay: Duration,
    /// How commits fail while [`Faulty::failing`] is set.
    pub error: CommitError,
    /// The switch.
    pub failing: Arc<AtomicBool>,
}

impl Home for Faulty {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    async fn commit(&mut self, _group: &[Append]) -> Result<(), CommitError> {
        tokio::time::sleep(self.delay).await;
        if self.failing.load(Ordering::SeqCst) { Err(self.error.clone()) } else { Ok(()) }
    }
}
