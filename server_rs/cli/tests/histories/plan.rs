//! What clients do, at random: each kind of history has more of something.

use std::{collections::BTreeMap, ops::Range};

use fastrand::Rng;
use snakepit_proto::v1::{
    AppendOperation, CollectionConstraints, Constraints, DeleteOperation, FloatConstraints, IncrementOperation,
    IntegerConstraints, ListValue, Operation, RegisterOperation, RollbackOperation, SetOperation, StringConstraints,
    Value, VariableSpec, VariableType, constraints::Kind as Limits, operation::Action, value::Kind,
};

/// The variables there may be: few, so that clients meet.
pub const NAMES: [&str; 4] = ["number", "text", "list", "ratio"];

/// What a client may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Get,
    Sync,
    Versions,
    List,
    /// One operation.
    Single,
    /// One operation that expects the version last seen.
    CompareAndSet,
    Batch,
    /// A batch with an operation that has to be refused.
    BadBatch,
    /// A committed write once more, under its key.
    Repeat,
    /// Another write under the key of a committed one.
    Misuse,
}

/// A kind of history: its name, how often each step is taken, how long texts are, and how many variables it has.
#[derive(Debug)]
pub struct Profile {
    pub kind: &'static str,
    steps: &'static [(u32, Step)],
    /// How often each action is chosen: set, increment or append, delete, register, roll back.
    actions: [u32; 5],
    pub text: usize,
    pub names: usize,
    /// Of 100 calls, how many are given a few milliseconds only.
    pub hasty: u32,
    /// How many steps each client takes; chosen for all of a history.
    pub length: Range<usize>,
}

/// The action that brings a variable back.
const REGISTER: usize = 3;

use Step::{BadBatch, Batch, CompareAndSet, Get, List, Misuse, Repeat, Single, Sync, Versions};

const PROFILES: [Profile; 6] = [
    Profile {
        kind: "mixed",
        steps: &[
            (16, Get),
            (4, List),
            (15, Sync),
            (5, Versions),
            (25, Single),
            (15, CompareAndSet),
            (12, Batch),
            (4, BadBatch),
            (3, Repeat),
            (1, Misuse),
        ],
        actions: [30, 30, 15, 15, 10],
        text: 8,
        names: 4,
        hasty: 4,
        length: 7..12,
    },
    Profile {
        kind: "compare and set",
        steps: &[(15, Get), (10, Sync), (10, Single), (60, CompareAndSet), (5, Batch)],
        actions: [60, 25, 5, 5, 5],
        text: 8,
        names: 2,
        hasty: 3,
        length: 7..12,
    },
    Profile {
        kind: "batches",
        steps: &[(15, Get), (10, Sync), (10, Single), (45, Batch), (20, BadBatch)],
        actions: [30, 25, 15, 20, 10],
        text: 8,
        names: 4,
        hasty: 3,
        length: 7..12,
    },
    Profile {
        kind: "lives of variables",
        steps: &[(12, Get), (5, List), (15, Sync), (10, Versions), (40, Single), (10, CompareAndSet), (10, Batch)],
        actions: [15, 5, 30, 35, 15],
        text: 8,
        names: 2,
        hasty: 3,
        length: 7..12,
    },
    Profile {
        kind: "retries",
        steps: &[(15, Get), (10, Sync), (35, Single), (10, CompareAndSet), (10, Batch), (12, Repeat), (8, Misuse)],
        actions: [25, 55, 8, 8, 4],
        text: 8,
        names: 3,
        hasty: 20,
        length: 7..12,
    },
    Profile {
        kind: "large",
        steps: &[(10, Get), (10, Sync), (60, Single), (10, CompareAndSet), (10, Batch)],
        actions: [75, 10, 5, 5, 5],
        text: 3_000,
        names: 3,
        hasty: 3,
        length: 7..12,
    },
];

/// So many revisions that the server holds only the newest in memory, folds the session, and forgets old versions.
const LONG: Profile = Profile {
    kind: "long",
    steps: &[
        (8, Get),
        (2, List),
        (10, Sync),
        (2, Versions),
        (50, Single),
        (10, CompareAndSet),
        (15, Batch),
        (3, Repeat),
    ],
    actions: [60, 25, 4, 6, 5],
    text: 2_000,
    names: 3,
    hasty: 2,
    length: 100..420,
};
/// One in so many is long.
const LONG_EVERY: u64 = 150;

/// Whether the history of this seed is a long one.
pub fn is_long(seed: u64) -> bool {
    seed % LONG_EVERY == 7
}

impl Profile {
    /// The kind of the history of this seed.
    pub fn choose(seed: u64, random: &mut Rng) -> &'static Self {
        if is_long(seed) { &LONG } else { &PROFILES[random.usize(..PROFILES.len())] }
    }

    pub fn step(&self, random: &mut Rng) -> Step {
        self.steps[weighted(random, self.steps.iter().map(|(weight, _)| *weight))].1
    }

    pub fn name(&self, random: &mut Rng) -> &'static str {
        NAMES[random.usize(..self.names)]
    }

    /// Some of the names, each at most once, at least so many.
    pub fn some_names(&self, random: &mut Rng, least: usize) -> Vec<String> {
        let mut names = NAMES[..self.names].to_vec();
        random.shuffle(&mut names);
        names.truncate(random.usize(least.min(self.names)..=self.names));
        names.into_iter().map(str::to_owned).collect()
    }

    /// An operation that may well be refused, for all that the client knows. What it takes for gone it mostly registers.
    pub fn operation(&self, random: &mut Rng, name: &str, seen: &BTreeMap<String, u64>) -> Operation {
        let gone = seen.get(name) == Some(&0) && random.u8(..4) > 0;
        let action = match if gone { REGISTER } else { weighted(random, self.actions) } {
            0 => Action::Set(SetOperation { value: Some(self.value(random, name)) }),
            1 => grow(random, name),
            2 => Action::Delete(DeleteOperation {}),
            REGISTER => Action::Register(RegisterOperation {
                spec: Some(spec(name, random.u8(..8) == 0)),
                value: Some(self.value(random, name)),
                replace: random.u8(..3) == 0,
            }),
            _ => {
                let newest = seen.get(name).copied().unwrap_or_default();
                Action::Rollback(RollbackOperation { version: random.u64(0..=newest + 1) })
            }
        };
        Operation { name: name.into(), expected_version: None, action: Some(action) }
    }

    /// The same on each of some names; now and then with an expected version.
    pub fn batch(&self, random: &mut Rng, seen: &BTreeMap<String, u64>) -> Vec<Operation> {
        let names = self.some_names(random, 2);
        let operation = |name: &String| {
            let expected = (random.u8(..4) == 0).then(|| seen.get(name).copied().unwrap_or_default());
            Operation { expected_version: expected, ..self.operation(random, name, seen) }
        };
        names.iter().map(operation).collect()
    }

    /// A batch whose last operation can never be carried out, after others that might.
    pub fn bad_batch(&self, random: &mut Rng, seen: &BTreeMap<String, u64>) -> Vec<Operation> {
        let mut operations = self.batch(random, seen);
        let name = operations[0].name.clone();
        let wrong = match random.u8(..3) {
            0 => Operation { name: "nowhere".into(), ..self.operation(random, &name, seen) },
            // The first one's name again.
            1 => self.operation(random, &name, seen),
            _ => {
                let set = Action::Set(SetOperation { value: Some(Value { kind: Some(Kind::BoolValue(true)) }) });
                let last = operations.pop().unwrap();
                Operation { name: last.name, expected_version: None, action: Some(set) }
            }
        };
        operations.push(wrong);
        if let Some(Action::Register(_)) = operations.last().and_then(|it| it.action.as_ref()) {
            operations.last_mut().unwrap().action = Some(Action::Delete(DeleteOperation {}));
        }
        operations
    }

    fn value(&self, random: &mut Rng, name: &str) -> Value {
        // Of another type now and then, and now and then the same as before.
        let name = if random.u8(..30) == 0 { self.name(random) } else { name };
        let kind = match name {
            "number" => Kind::Int64Value(random.i64(0..12)),
            "text" => {
                let letter = char::from(b'a' + random.u8(..6));
                Kind::StringValue(String::from(letter).repeat(random.usize(self.text / 2..=self.text)))
            }
            "list" => Kind::ListValue(ListValue { items: items(random) }),
            _ => Kind::DoubleValue(f64::from(random.u8(..24)) / 2.0),
        };
        Value { kind: Some(kind) }
    }
}

/// Registers some of the variables.
pub fn first(profile: &Profile, random: &mut Rng) -> Vec<Operation> {
    let names = profile.some_names(random, 2);
    let register = |name: &String| {
        let (spec, value) = (Some(spec(name, false)), Some(profile.value(random, name)));
        let action = Some(Action::Register(RegisterOperation { spec, value, replace: false }));
        Operation { name: name.clone(), expected_version: None, action }
    };
    names.iter().map(register).collect()
}

fn weighted(random: &mut Rng, weights: impl IntoIterator<Item = u32> + Clone) -> usize {
    let sum: u32 = weights.clone().into_iter().sum();
    let mut left = random.u32(..sum);
    let chosen = weights.into_iter().position(|weight| match left.checked_sub(weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    chosen.unwrap_or_default()
}

fn items(random: &mut Rng) -> Vec<Value> {
    (0..random.usize(1..3)).map(|_| Value { kind: Some(Kind::Int64Value(random.i64(0..9))) }).collect()
}

fn grow(random: &mut Rng, name: &str) -> Action {
    match name {
        "list" if random.u8(..12) > 0 => Action::Append(AppendOperation { items: items(random) }),
        "ratio" if random.bool() => {
            let amount = Some(Value { kind: Some(Kind::DoubleValue(f64::from(random.u8(1..6)) / 2.0)) });
            Action::Increment(IncrementOperation { amount })
        }
        _ => {
            let amount = Some(Value { kind: Some(Kind::Int64Value(random.i64(-2..6))) });
            Action::Increment(IncrementOperation { amount })
        }
    }
}

/// What a variable is: one of two specs for each name.
fn spec(name: &str, other: bool) -> VariableSpec {
    let (ty, limits) = match name {
        "number" => {
            (VariableType::Integer, Limits::Integer(IntegerConstraints { min: Some(-5), max: Some(90), step: None }))
        }
        "text" => {
            (VariableType::String, Limits::String(StringConstraints { max_length: Some(2_900), ..Default::default() }))
        }
        "list" => {
            (VariableType::List, Limits::Collection(CollectionConstraints { max_items: Some(12), max_depth: None }))
        }
        _ => (
            VariableType::Float,
            Limits::Float(FloatConstraints { min: Some(0.0), max: Some(40.0), ..Default::default() }),
        ),
    };
    let constraints = (!other).then_some(Constraints { kind: Some(limits) });
    VariableSpec { r#type: ty.into(), constraints, ..Default::default() }
}
