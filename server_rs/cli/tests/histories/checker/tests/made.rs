//! Histories that are right, made by hand, for tests to spoil.

use std::sync::Arc;

use prost_types::Timestamp;
use snakepit_proto::v1::{
    Changes, IncrementOperation, Operation, RegisterOperation, SetOperation, Value, VariableSpec, VariableType,
    WatchVariablesResponse, operation::Action, value::Kind, watch_variables_response::Event as Told,
};

use super::super::check;
use crate::{
    history::{Answer, Asked, Call, History, Message, Said, Stream, Tick, Watch, Write},
    model::{Model, Verdict},
};

const LIFE: &[u8] = b"the life";

/// A history that is right, made step by step.
#[derive(Default)]
pub struct Made {
    model: Option<Model>,
    now: Tick,
    pub calls: Vec<Call>,
    pub log: Vec<Message>,
}

pub fn int(value: i64) -> Value {
    Value { kind: Some(Kind::Int64Value(value)) }
}

pub fn operation(name: &str, action: Action) -> Operation {
    Operation { name: name.into(), expected_version: None, action: Some(action) }
}

pub fn register(name: &str, value: i64) -> Operation {
    let spec = Some(VariableSpec { r#type: VariableType::Integer.into(), ..Default::default() });
    operation(name, Action::Register(RegisterOperation { spec, value: Some(int(value)), replace: false }))
}

pub fn set(name: &str, value: i64) -> Operation {
    operation(name, Action::Set(SetOperation { value: Some(int(value)) }))
}

pub fn expecting(version: u64, operation: Operation) -> Operation {
    Operation { expected_version: Some(version), ..operation }
}

pub fn increment(name: &str) -> Operation {
    operation(name, Action::Increment(IncrementOperation { amount: Some(int(1)) }))
}

pub fn keyed(tag: &str, key: &str, operations: impl Into<Vec<Operation>>) -> Arc<Write> {
    Arc::new(Write { tag: tag.into(), author: "c".into(), key: key.into(), operations: operations.into() })
}

pub fn at(revision: u64, said: Said) -> Answer {
    Answer::At { revision, incarnation: LIFE.into(), said }
}

impl Made {
    /// Two variables, at revision 2.
    pub fn begin() -> Self {
        let mut made = Self { model: Some(Model::new()), ..Self::default() };
        made.write("first", "", [register("a", 0), register("b", 0)]);
        made
    }

    pub fn model(&mut self) -> &mut Model {
        self.model.as_mut().unwrap()
    }

    pub fn tick(&mut self) -> Tick {
        self.now += 10;
        self.now
    }

    /// Commits a write, and gives what its writer is told.
    pub fn commit(&mut self, write: &Arc<Write>) -> Answer {
        let model = self.model();
        let said = match model.verdict(write) {
            Verdict::Changes { mut changes, outcomes } => {
                let time = Timestamp { seconds: i64::try_from(model.revision).unwrap(), nanos: 0 };
                model.apply(write, &changes, &outcomes, Some(time));
                for variable in changes.iter_mut().filter_map(|it| it.variable.as_mut()) {
                    variable.updated_at = Some(time);
                }
                let (revision, event) = (model.revision, Some(Told::Changes(Changes { changes })));
                self.log.push(message(0, revision, event));
                Said::Written(outcomes)
            }
            Verdict::Nothing(outcomes) => Said::Written(outcomes),
            Verdict::Repeat { revision, outcomes } => return at(revision, Said::Written(outcomes)),
            Verdict::Refused(refusal) => Said::Refused(refusal),
        };
        at(self.model().revision, said)
    }

    pub fn push(&mut self, began: Tick, ended: Tick, asked: Asked, told: Answer) -> usize {
        self.calls.push(Call { began, ended, asked, told });
        self.calls.len() - 1
    }

    pub fn send(&mut self, write: Arc<Write>) -> usize {
        let told = self.commit(&write);
        let (began, ended) = (self.tick(), self.tick());
        self.push(began, ended, Asked::Write(write), told)
    }

    pub fn write(&mut self, tag: &str, key: &str, operations: impl Into<Vec<Operation>>) -> usize {
        self.send(keyed(tag, key, operations))
    }

    pub fn answer(&mut self, name: &str) -> (Asked, Answer) {
        let variables = self.model().variable(name).cloned().into_iter().collect::<Vec<_>>();
        let absent = if variables.is_empty() { vec![name.to_owned()] } else { Vec::new() };
        let told = at(self.model().revision, Said::Got { variables, absent });
        (Asked::Get { names: vec![name.into()], allow_missing: true }, told)
    }

    pub fn get(&mut self, name: &str) -> usize {
        let (asked, told) = self.answer(name);
        let (began, ended) = (self.tick(), self.tick());
        self.push(began, ended, asked, told)
    }

    pub fn sync(&mut self, known: u64) -> usize {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let told = at(self.model().revision, Said::Synced(self.model().sync(known, &names, &[])));
        let (began, ended) = (self.tick(), self.tick());
        self.push(began, ended, Asked::Sync { known, names, new_names: Vec::new() }, told)
    }

    pub fn history(mut self) -> History {
        let end = self.tick();
        for message in &mut self.log {
            message.at = end;
        }
        let stream = Stream { opened: end, known: 1, messages: self.log, ..Stream::default() };
        let last = self.model.map_or(1, |model| model.revision);
        let watches = vec![Watch { streams: vec![stream], ..Watch::default() }];
        let (session, incarnation) = ("s".into(), LIFE.into());
        History { session, incarnation, calls: self.calls, watches, last, ..History::default() }
    }

    pub fn broken(self) -> Vec<&'static str> {
        broken(&self.history())
    }
}

pub fn message(at: Tick, revision: u64, event: Option<Told>) -> Message {
    Message { at, message: WatchVariablesResponse { revision, incarnation: LIFE.into(), event, partial: false } }
}

/// The rules that the history breaks.
pub fn broken(history: &History) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(history).into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}
