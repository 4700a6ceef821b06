//! A session for tests: decides and applies at once, and keeps every event.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::*;
use crate::{
    config::{Limits, Windows},
    value::Value,
    variable::{Author, Constraints, FloatConstraints, Name, Spec, Timestamp, Type},
};

pub(crate) struct Session {
    pub id: SessionId,
    pub slot: Slot,
    pub now: Timestamp,
    pub admin: bool,
    pub limits: Limits,
    pub windows: Windows,
    pub events: Vec<Arc<Event>>,
}

impl Session {
    pub(crate) fn vacant() -> Self {
        Self {
            id: SessionId::parse("s").unwrap(),
            slot: Slot::Vacant,
            now: Timestamp(1_000_000),
            admin: true,
            limits: Limits::default(),
            windows: Windows::default(),
            events: Vec::new(),
        }
    }

    pub(crate) fn live() -> Self {
        let mut session = Self::vacant();
        session.run(&create(1)).unwrap();
        session
    }

    pub(crate) fn with_windows(windows: Windows) -> Self {
        let mut session = Self { windows, ..Self::vacant() };
        session.run(&create(1)).unwrap();
        session
    }

    pub(crate) fn run(&mut self, command: &Command) -> Result<Answer, Refused> {
        let author = Author { name: "ann".into(), verified: true };
        let context = Context { now: self.now, author, admin: self.admin, limits: &self.limits };
        match decide(&self.id, &self.slot, command, &context)? {
            Decision::Answer(answer) => Ok(answer),
            Decision::Commit { event, answer } => {
                let event = Arc::new(event);
                self.slot = apply(&self.id, &self.slot, &event, &self.windows);
                self.events.push(event);
                Ok(answer)
            }
        }
    }

    pub(crate) fn write(&mut self, operations: Vec<Operation>) -> Result<Written, Refused> {
        self.write_with(None, operations)
    }

    pub(crate) fn write_as(&mut self, key: Idempotency, operations: Vec<Operation>) -> Result<Written, Refused> {
        self.write_with(Some(key), operations)
    }

    fn write_with(&mut self, idempotency: Option<Idempotency>, operations: Vec<Operation>) -> Result<Written, Refused> {
        let write = Write { incarnation: None, operations, reason: "why".into(), idempotency, encoded_len: 0 };
        match self.run(&Command::Write(write))? {
            Answer::Written(written) => Ok(written),
            other => panic!("{other:?}"),
        }
    }

    /// One operation that has to succeed.
    pub(crate) fn act(&mut self, name: &str, action: Action) -> Outcome {
        self.write(vec![operation(name, action)]).unwrap().outcomes[0].clone()
    }

    /// Why one operation is refused.
    pub(crate) fn refusal(&mut self, name: &str, action: Action) -> crate::error::Error {
        self.write(vec![operation(name, action)]).unwrap_err().error
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        match &self.slot {
            Slot::Live(state) => state,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Value {
        self.state().variable(name).unwrap().value.clone()
    }

    pub(crate) fn version(&self, name: &str) -> Option<u64> {
        self.state().variable(name).map(|variable| variable.version)
    }
}

pub(crate) fn incarnation(n: u8) -> Incarnation {
    Incarnation([n; 16])
}

pub(crate) fn create(n: u8) -> Command {
    let ttl = Some(Duration::from_mins(1));
    Command::Create(Create { incarnation: incarnation(n), ttl, metadata: BTreeMap::new() })
}

pub(crate) fn operation(name: &str, action: Action) -> Operation {
    Operation { name: Name::parse(name).unwrap(), expected_version: None, action }
}

pub(crate) fn expecting(version: u64, name: &str, action: Action) -> Operation {
    Operation { expected_version: Some(version), ..operation(name, action) }
}

pub(crate) fn key(key: &str, fingerprint: u8) -> Idempotency {
    Idempotency { client: "c".into(), key: key.into(), fingerprint: [fingerprint; 32] }
}

pub(crate) fn plain(ty: Type) -> Spec {
    Spec::new(ty, Constraints::None)
}

pub(crate) fn up_to(max: f64) -> Spec {
    let limits = FloatConstraints { min: Some(0.0), max: Some(max), ..FloatConstraints::default() };
    Spec::new(Type::Float, Constraints::Float(limits))
}

pub(crate) fn register(spec: Spec, value: impl Into<Value>) -> Action {
    Action::Register { spec: Arc::new(spec), value: value.into(), replace: false }
}

pub(crate) fn replace(spec: Spec, value: impl Into<Value>) -> Action {
    Action::Register { spec: Arc::new(spec), value: value.into(), replace: true }
}

pub(crate) fn set(value: impl Into<Value>) -> Action {
    Action::Set(value.into())
}
