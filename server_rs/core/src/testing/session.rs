//! A session for tests: decides and applies at once, and keeps every event.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    config::{Limits, Windows},
    session::{
        Action, Answer, Command, Context, Create, Decision, Event, Idempotency, Incarnation, Operation, Outcome,
        Refused, SessionId, Slot, State, Write, Written, apply, decide,
    },
    value::Value,
    variable::{Author, Constraints, FloatConstraints, Name, Spec, Timestamp, Type},
};

pub struct Session {
    pub id: SessionId,
    pub slot: Slot,
    pub now: Timestamp,
    /// How much of the time until now was not lived.
    pub suspended: Duration,
    pub admin: bool,
    pub read_secret: bool,
    pub limits: Limits,
    pub windows: Windows,
    pub events: Vec<Arc<Event>>,
}

impl Session {
    pub fn vacant() -> Self {
        Self {
            id: SessionId::parse("s").unwrap(),
            slot: Slot::Vacant,
            now: Timestamp(1_000_000),
            suspended: Duration::ZERO,
            admin: true,
            read_secret: true,
            limits: Limits::default(),
            windows: Windows::default(),
            events: Vec::new(),
        }
    }

    pub fn live() -> Self {
        let mut session = Self::vacant();
        session.run(&create(1)).unwrap();
        session
    }

    pub fn with_windows(windows: Windows) -> Self {
        let mut session = Self { windows, ..Self::vacant() };
        session.run(&create(1)).unwrap();
        session
    }

    pub fn run(&mut self, command: &Command) -> Result<Answer, Refused> {
        let author = Author { name: "ann".into(), verified: true };
        let lived = Timestamp(self.now.0.saturating_sub(u64::try_from(self.suspended.as_micros()).unwrap_or(u64::MAX)));
        let (admin, read_secret) = (self.admin, self.read_secret);
        let context = Context { now: self.now, lived, author, admin, read_secret, limits: &self.limits };
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

    pub fn write(&mut self, operations: Vec<Operation>) -> Result<Written, Refused> {
        self.write_with(None, operations)
    }

    pub fn write_as(&mut self, key: Idempotency, operations: Vec<Operation>) -> Result<Written, Refused> {
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
    pub fn act(&mut self, name: &str, action: Action) -> Outcome {
        self.write(vec![operation(name, action)]).unwrap().outcomes[0].clone()
    }

    /// Why one operation is refused.
    pub fn refusal(&mut self, name: &str, action: Action) -> crate::error::Error {
        self.write(vec![operation(name, action)]).unwrap_err().error
    }

    pub fn state(&self) -> &Arc<State> {
        match &self.slot {
            Slot::Live(state) => state,
            other => panic!("{other:?}"),
        }
    }

    pub fn value(&self, name: &str) -> Value {
        self.state().variable(name).unwrap().value.clone()
    }

    pub fn version(&self, name: &str) -> Option<u64> {
        self.state().variable(name).map(|variable| variable.version)
    }
}

pub fn incarnation(n: u8) -> Incarnation {
    Incarnation([n; 16])
}

pub fn create(n: u8) -> Command {
    let ttl = Some(Duration::from_secs(60));
    Command::Create(Create { incarnation: incarnation(n), ttl, metadata: BTreeMap::new() })
}

pub fn operation(name: &str, action: Action) -> Operation {
    Operation { name: Name::parse(name).unwrap(), expected_version: None, action }
}

pub fn expecting(version: u64, name: &str, action: Action) -> Operation {
    Operation { expected_version: Some(version), ..operation(name, action) }
}

pub fn key(key: &str, fingerprint: u8) -> Idempotency {
    Idempotency { client: "c".into(), key: key.into(), fingerprint: [fingerprint; 32] }
}

pub fn plain(ty: Type) -> Spec {
    Spec::new(ty, Constraints::None)
}

pub fn up_to(max: f64) -> Spec {
    let limits = FloatConstraints { min: Some(0.0), max: Some(max), ..FloatConstraints::default() };
    Spec::new(Type::Float, Constraints::Float(limits))
}

pub fn register(spec: Spec, value: impl Into<Value>) -> Action {
    Action::Register { spec: Arc::new(spec), value: value.into(), replace: false }
}

pub fn replace(spec: Spec, value: impl Into<Value>) -> Action {
    Action::Register { spec: Arc::new(spec), value: value.into(), replace: true }
}

pub fn set(value: impl Into<Value>) -> Action {
    Action::Set(value.into())
}
