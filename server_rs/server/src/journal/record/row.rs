use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message as _;
use snakepit_core::{
    session::{self, End, Original, RecordKind, State, VersionRecord},
    variable::{Spec, Timestamp},
};
use snakepit_proto::{convert as wire, journal as kept, v1 as proto};

use super::{
    Record, Unreadable, author, given, idempotency, lived, message, not_lived, outcomes, read_idempotency,
    read_outcomes, time, ttl, value,
};

/// What a live session is at its fold, apart from its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct Life {
    pub(in crate::journal) created_at: Timestamp,
    pub(in crate::journal) ttl: Option<Duration>,
    pub(in crate::journal) metadata: Arc<BTreeMap<String, String>>,
    pub(in crate::journal) last_event: Timestamp,
    pub(in crate::journal) last_lived: Timestamp,
    pub(in crate::journal) forgotten: session::Forgotten,
    /// How many variables, and how many names with a history: what has to be there.
    pub(in crate::journal) variables: u64,
    pub(in crate::journal) names: u64,
    /// The bytes of each event of the log.
    pub(in crate::journal) event_sizes: Vec<u32>,
}

impl Life {
    pub(in crate::journal) fn of(state: &State) -> Self {
        Self {
            created_at: state.created_at,
            ttl: state.ttl,
            metadata: Arc::clone(&state.metadata),
            last_event: state.last_event,
            last_lived: state.last_lived,
            forgotten: state.forgotten(),
            variables: state.len() as u64,
            names: state.history_count() as u64,
            event_sizes: state.event_sizes().collect(),
        }
    }
}

impl Record for Life {
    fn encode(&self) -> Vec<u8> {
        let session = kept::Session {
            created_at: Some(wire::timestamp(self.created_at)),
            ttl: self.ttl.and_then(wire::duration),
            metadata: (*self.metadata).clone(),
            last_event: Some(wire::timestamp(self.last_event)),
            forgotten_revision: self.forgotten.revision,
            forgotten_version: self.forgotten.version,
            variable_count: self.variables,
            name_count: self.names,
            event_bytes: self.event_sizes.clone(),
            not_lived: not_lived(self.last_event, self.last_lived),
        };
        session.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let session: kept::Session = message(bytes)?;
        let last_event = time(session.last_event)?;
        Ok(Self {
            created_at: time(session.created_at)?,
            ttl: ttl(session.ttl)?,
            metadata: Arc::new(session.metadata),
            last_event,
            last_lived: lived(last_event, session.not_lived),
            forgotten: session::Forgotten { revision: session.forgotten_revision, version: session.forgotten_version },
            variables: session.variable_count,
            names: session.name_count,
            event_sizes: session.event_bytes,
        })
    }
}

/// How a session ended. Its life is in the row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct Ended {
    pub(in crate::journal) revision: u64,
    pub(in crate::journal) at: Timestamp,
    pub(in crate::journal) lived: Timestamp,
    pub(in crate::journal) how: End,
}

impl Record for Ended {
    fn encode(&self) -> Vec<u8> {
        let expired = match self.how {
            End::Expired => true,
            End::Deleted => false,
        };
        let ended = kept::Ended {
            revision: self.revision,
            time: Some(wire::timestamp(self.at)),
            expired,
            not_lived: not_lived(self.at, self.lived),
        };
        ended.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let ended: kept::Ended = message(bytes)?;
        let how = if ended.expired { End::Expired } else { End::Deleted };
        let at = time(ended.time)?;
        Ok(Self { revision: ended.revision, at, lived: lived(at, ended.not_lived), how })
    }
}

impl Record for Spec {
    fn encode(&self) -> Vec<u8> {
        wire::spec::encode(self).encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(wire::spec::parse(Some(message::<proto::VariableSpec>(bytes)?))?)
    }
}

impl Record for VersionRecord {
    fn encode(&self) -> Vec<u8> {
        let version = proto::VariableVersion {
            version: self.version,
            revision: self.revision,
            kind: wire::record_kind(self.kind).into(),
            value: self.value.as_ref().map(wire::value::encode),
            updated_at: Some(wire::timestamp(self.time)),
            updated_by: Some(wire::author(&self.author)),
            reason: self.reason.to_string(),
            redacted: false,
        };
        kept::Version { version: Some(version), secret: self.secret }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let kept::Version { version, secret } = message(bytes)?;
        let version = given("a version", version)?;
        let kind = match version.kind() {
            proto::ChangeKind::Registered => RecordKind::Registered,
            proto::ChangeKind::Set => RecordKind::Set,
            proto::ChangeKind::Deleted => RecordKind::Deleted,
            proto::ChangeKind::Unspecified => {
                return Err(Unreadable(format!("{} is no kind of change", version.kind)));
            }
        };
        let value = version.value.map(|given| value(Some(given))).transpose()?;
        if value.is_none() != (kind == RecordKind::Deleted) {
            return Err(Unreadable("a deletion has no value, and every other version has one".into()));
        }
        Ok(Self {
            version: version.version,
            revision: version.revision,
            kind,
            value,
            secret,
            time: time(version.updated_at)?,
            author: author(version.updated_by)?,
            reason: version.reason.into(),
        })
    }
}

impl Record for Original {
    fn encode(&self) -> Vec<u8> {
        let write = kept::Write {
            idempotency: Some(idempotency(&self.idempotency)),
            time: Some(wire::timestamp(self.time)),
            outcomes: outcomes(&self.outcomes),
            revision: self.revision,
            not_lived: not_lived(self.time, self.lived),
        };
        write.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let write: kept::Write = message(bytes)?;
        let time = time(write.time)?;
        Ok(Self {
            idempotency: read_idempotency(given("an idempotency key", write.idempotency)?)?,
            outcomes: read_outcomes(write.outcomes)?,
            time,
            lived: lived(time, write.not_lived),
            revision: write.revision,
        })
    }
}
