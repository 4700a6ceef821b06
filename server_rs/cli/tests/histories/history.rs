//! What is written down of a history while it happens: calls, watches, and the order in which they began and ended.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prost::bytes::Bytes;
use snakepit_proto::v1::{
    Change, Operation, OperationOutcome, SyncVariablesResponse, Variable, VariableVersion, WatchVariablesResponse,
    watch_variables_response::Event as Told,
};

pub use crate::violation::Violation;

/// A moment. Of two, the smaller one came first, whichever tasks they belong to.
pub type Tick = u64;

/// Now. No two moments are the same.
pub fn tick() -> Tick {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// A history: all that eight clients and some watchers did to one session, and what they were told.
#[derive(Debug, Default)]
pub struct History {
    pub session: String,
    pub incarnation: Bytes,
    /// Of this history, not of the run.
    pub seed: u64,
    pub kind: &'static str,
    pub calls: Vec<Call>,
    /// The first one begins at revision 1 and sees everything: it says what truly happened.
    pub watches: Vec<Watch>,
    /// The revision that was read last of all.
    pub last: u64,
}

/// A write, which may have been sent more than once. `tag` is unique, and travels as the reason: every event says
/// which write it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Write {
    pub tag: String,
    /// Who sends it; also the client id.
    pub author: String,
    /// The idempotency key; empty for none.
    pub key: String,
    pub operations: Vec<Operation>,
}

/// One rpc: of a write that is sent again, each time is a call.
#[derive(Clone, Debug)]
pub struct Call {
    pub began: Tick,
    pub ended: Tick,
    pub asked: Asked,
    pub told: Answer,
}

#[derive(Clone, Debug)]
pub enum Asked {
    Write(Arc<Write>),
    Get {
        names: Vec<String>,
        allow_missing: bool,
    },
    Sync {
        known: u64,
        names: Vec<String>,
        new_names: Vec<String>,
    },
    Versions {
        name: String,
    },
    /// A page of all variables, behind the one of that name, to which the token belongs.
    List {
        after: String,
        token: String,
        size: u32,
    },
}

impl Asked {
    /// What it waits for.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write(_) => "an answer to a write",
            Self::Get { .. } => "an answer to a read",
            Self::Sync { .. } => "an answer to a sync",
            Self::Versions { .. } => "an answer to a request for versions",
            Self::List { .. } => "an answer to a request for a list",
        }
    }
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// The server said something, at a revision.
    At { revision: u64, incarnation: Bytes, said: Said },
    /// Nobody knows whether it happened: why.
    Unknown(String),
    /// Certainly not applied; says nothing of the session.
    NotApplied(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Written(Vec<OperationOutcome>),
    Got {
        variables: Vec<Variable>,
        absent: Vec<String>,
    },
    Synced(Synced),
    Versions(Vec<VariableVersion>),
    /// A page, and whether there is another.
    Listed {
        variables: Vec<Variable>,
        token: Option<String>,
    },
    Refused(Refusal),
}

/// What a Sync says, in an order of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Synced {
    pub full: bool,
    pub changed: Vec<snakepit_proto::v1::VariableState>,
    pub absent: Vec<String>,
}

impl From<SyncVariablesResponse> for Synced {
    fn from(response: SyncVariablesResponse) -> Self {
        let SyncVariablesResponse { full, mut changed, mut absent, .. } = response;
        changed.sort_by(|a, b| a.name.cmp(&b.name));
        absent.sort();
        Self { full, changed, absent }
    }
}

/// A refusal, with the facts that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    pub facts: BTreeMap<String, String>,
}

impl Refusal {
    pub fn of<const N: usize>(reason: &str, facts: [(&str, &str); N]) -> Self {
        let facts = facts.into_iter().map(|(name, fact)| (name.to_owned(), fact.to_owned())).collect();
        Self { reason: reason.to_owned(), facts }
    }

    /// Whether this says at least what the other one does.
    pub fn says(&self, other: &Self) -> bool {
        self.reason == other.reason && other.facts.iter().all(|(name, fact)| self.facts.get(name) == Some(fact))
    }
}

/// A watch, with all the streams it took.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    pub latest: bool,
    pub slow: bool,
    /// Empty: all.
    pub names: Vec<String>,
    pub streams: Vec<Stream>,
}

/// One stream of a watch, from its opening until it broke.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub opened: Tick,
    /// The revision it resumed from; 0: it began with the state.
    pub known: u64,
    pub messages: Vec<Message>,
    /// How it ended.
    pub end: End,
}

#[derive(Clone, Debug, Default)]
pub enum End {
    /// The watcher had seen all it wanted.
    #[default]
    Done,
    /// The connection or the server went away.
    Lost,
    /// The server refused to go on.
    Refused(Refusal),
    /// Nothing came any more, although there was something to tell.
    Stuck,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub at: Tick,
    pub message: WatchVariablesResponse,
}

impl Message {
    pub fn revision(&self) -> u64 {
        self.message.revision
    }

    /// The changes of one revision, if that is what it tells.
    pub fn changes(&self) -> Option<&[Change]> {
        match &self.message.event {
            Some(Told::Changes(changes)) => Some(&changes.changes),
            _ => None,
        }
    }

    pub fn snapshot(&self) -> Option<&[Variable]> {
        match &self.message.event {
            Some(Told::Snapshot(snapshot)) => Some(&snapshot.variables),
            _ => None,
        }
    }

    pub fn latest(&self) -> Option<Synced> {
        match &self.message.event {
            Some(Told::Latest(sync)) => Some(sync.clone().into()),
            _ => None,
        }
    }

    pub fn is_heartbeat(&self) -> bool {
        matches!(self.message.event, Some(Told::Heartbeat(_)))
    }
}

impl Watch {
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.streams.iter().flat_map(|stream| &stream.messages)
    }

    /// Each revision that was delivered, with its changes, in the order of delivery.
    pub fn delivered(&self) -> impl Iterator<Item = (u64, &[Change])> {
        self.messages().filter_map(|message| Some((message.revision(), message.changes()?)))
    }

    /// The revision after which changes are due: the one that it began with.
    pub fn start(&self) -> Option<u64> {
        let stream = self.streams.iter().find(|stream| stream.known > 0 || !stream.messages.is_empty())?;
        if stream.known > 0 { Some(stream.known) } else { stream.messages.first().map(Message::revision) }
    }

    /// The revision up to which it has been told everything.
    pub fn bookmark(&self) -> u64 {
        let known = self.streams.iter().map(|stream| stream.known).max().unwrap_or_default();
        self.messages().map(Message::revision).max().unwrap_or_default().max(known)
    }
}

/// An event of the session, as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub revision: u64,
    pub changes: Vec<Change>,
}

impl Event {
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.changes.iter().filter_map(|change| change.variable.as_ref())
    }

    /// The tag of the write that made it.
    pub fn tag(&self) -> &str {
        self.variables().next().map_or("", |variable| &variable.reason)
    }
}
