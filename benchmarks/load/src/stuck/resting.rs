//! A watcher that stops reading, and reads again when it is told to.

use std::collections::BTreeMap;

use snakepit_proto::{
    DOMAIN,
    v1::{WatchMode, WatchVariablesResponse, watch_variables_response::Event as Told},
};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{PATIENCE, SESSION, live::following};
use crate::{
    Outcome, failure,
    server::Server,
    session::{Session, number},
};

/// One watcher, on a connection of its own that has HTTP/2's smallest usual window.
pub(crate) struct Resting {
    session: Session,
    stream: Streaming<WatchVariablesResponse>,
    state: BTreeMap<String, u64>,
    /// Up to where it was told.
    pub(crate) revision: u64,
    /// Messages read.
    pub(crate) messages: u64,
    /// Changes read since the newest snapshot.
    pub(crate) since_snapshot: u64,
}

/// How the stream of every change went on.
pub(crate) enum End {
    /// So many changes, then it was told that the rest is not kept.
    Compacted {
        /// Changes.
        read: u64,
        /// The oldest revision that was kept then.
        oldest: String,
    },
    /// All changes.
    All,
}

impl Resting {
    /// Opens it and reads one message, no more.
    pub(crate) async fn open(server: &Server, mode: WatchMode) -> Outcome<Self> {
        let session = Session::open(&server.connect_narrow().await?, SESSION.to_owned()).await?;
        let stream = session.watch(mode, 0).await?;
        let state = BTreeMap::new();
        let mut resting = Self { session, stream, state, revision: 0, messages: 0, since_snapshot: 0 };
        resting.next().await?;
        Ok(resting)
    }

    /// Reads until it has the latest state as of a revision, and returns that.
    pub(crate) async fn catch_up(&mut self, newest: u64) -> Outcome<BTreeMap<String, u64>> {
        while self.revision < newest {
            self.next().await?;
        }
        Ok(self.state.clone())
    }

    /// Reads every change until it has all, or is told that it cannot have them; then it resumes with a snapshot.
    pub(crate) async fn read_on(&mut self, newest: u64) -> Outcome<End> {
        let first = self.revision;
        while self.revision < newest {
            let Err(problem) = self.next().await else { continue };
            let status = problem.downcast::<Status>()?;
            let details = status.get_details_error_info();
            let told = details.filter(|it| it.domain == DOMAIN && it.reason == "COMPACTED");
            let (Some(told), Code::OutOfRange) = (told, status.code()) else { return Err(status.into()) };
            let oldest = told.metadata.get("oldest").cloned().unwrap_or_default();
            let read = self.revision - first;
            self.stream = self.session.watch(WatchMode::Every, 0).await?;
            self.next().await?;
            self.since_snapshot = 0;
            return Ok(End::Compacted { read, oldest });
        }
        Ok(End::All)
    }

    /// Reads every change up to a revision.
    pub(crate) async fn go_on(&mut self, newest: u64) -> Outcome<()> {
        while self.revision < newest {
            self.next().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Outcome<()> {
        let message = timeout(PATIENCE, self.stream.message()).await??;
        let message = message.ok_or_else(|| failure("the server has ended a stuck watcher"))?;
        self.messages += 1;
        match message.event {
            Some(Told::Latest(latest)) => {
                if latest.full {
                    self.state.clear();
                }
                for variable in latest.changed {
                    self.state.insert(variable.name, number(variable.value));
                }
            }
            Some(Told::Snapshot(_)) => {}
            Some(Told::Changes(changes)) => {
                following(&changes, message.revision, self.revision)?;
                self.since_snapshot += 1;
            }
            Some(Told::Heartbeat(_)) if message.revision == self.revision => {}
            other => return Err(failure(format!("after revision {}: {other:?}", self.revision))),
        }
        self.revision = message.revision;
        Ok(())
    }
}
