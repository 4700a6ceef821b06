use std::sync::Arc;

use prost::{Message as _, bytes::Bytes};
use snakepit_core::{
    session::{Body, Change, ChangeKind, Event, Position},
    variable::Name,
};
use snakepit_fault::injected;
use snakepit_proto::{
    convert as wire, journal as kept,
    journal::{changed::Kind, event::Body as Kept},
};

use super::{
    Record, Unreadable, author, given, idempotency, incarnation, lived, message, not_lived, outcomes, read_idempotency,
    read_outcomes, time, ttl, value,
};

impl Record for Event {
    fn encode(&self) -> Vec<u8> {
        let body = match &self.body {
            Body::Created { ttl, metadata } => {
                Kept::Created(kept::Created { ttl: ttl.and_then(wire::duration), metadata: (**metadata).clone() })
            }
            Body::Written(changes) => Kept::Written(kept::Written { changes: changes.iter().map(changed).collect() }),
            Body::Deleted => Kept::Deleted(kept::Deleted {}),
            Body::Expired => Kept::Expired(kept::Expired {}),
        };
        let event = kept::Event {
            incarnation: Bytes::copy_from_slice(&self.position.incarnation.0),
            revision: self.position.revision,
            time: Some(wire::timestamp(self.time)),
            author: Some(wire::author(&self.author)),
            reason: self.reason.to_string(),
            idempotency: self.idempotency.as_ref().filter(|_| !injected!(ForgetKey)).map(idempotency),
            outcomes: outcomes(&self.outcomes),
            body: Some(body),
            not_lived: not_lived(self.time, self.lived),
        };
        event.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let event: kept::Event = message(bytes)?;
        let body = match given("what happened", event.body)? {
            Kept::Created(created) => Body::Created { ttl: ttl(created.ttl)?, metadata: Arc::new(created.metadata) },
            Kept::Written(written) => {
                Body::Written(written.changes.into_iter().map(read_changed).collect::<Result<_, _>>()?)
            }
            Kept::Deleted(_) => Body::Deleted,
            Kept::Expired(_) => Body::Expired,
        };
        let (time, not_lived) = (time(event.time)?, event.not_lived);
        Ok(Self {
            position: Position { incarnation: incarnation(&event.incarnation)?, revision: event.revision },
            time,
            lived: lived(time, not_lived),
            author: author(event.author)?,
            reason: event.reason.into(),
            idempotency: event.idempotency.map(read_idempotency).transpose()?,
            outcomes: read_outcomes(event.outcomes)?,
            body,
        })
    }
}

fn changed(change: &Change) -> kept::Changed {
    let kind = match &change.kind {
        ChangeKind::Registered { spec, value } => Kind::Registered(kept::Registered {
            spec: Some(wire::spec::encode(spec)),
            value: Some(wire::value::encode(value)),
        }),
        ChangeKind::Set { value } => Kind::Set(kept::Set { value: Some(wire::value::encode(value)) }),
        ChangeKind::Deleted => Kind::Removed(kept::Removed {}),
    };
    kept::Changed { name: change.name.to_string(), version: change.version, kind: Some(kind) }
}

fn read_changed(change: kept::Changed) -> Result<Change, Unreadable> {
    let kind = match given("a change", change.kind)? {
        Kind::Registered(registered) => ChangeKind::Registered {
            spec: wire::spec::parse(registered.spec)?.shared(),
            value: value(registered.value)?,
        },
        Kind::Set(set) => ChangeKind::Set { value: value(set.value)? },
        Kind::Removed(_) => ChangeKind::Deleted,
    };
    Ok(Change { name: Name::parse(&change.name)?.interned(), version: change.version, kind })
}
