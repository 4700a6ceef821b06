//! Random commands, dense enough to collide: few names, few lives, few keys, small values.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use crate::{
    config::{Limits, Windows},
    session::{Action, Answer, Command, Operation, Refused, Slot, Write},
    testing::session::{Session, create, incarnation, key, operation, register},
    value::Value,
    variable::{CollectionConstraints, Constraints, FloatConstraints, IntegerConstraints, Spec, Timestamp, Type},
};

pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A command and its circumstances.
#[derive(Clone, Debug)]
pub struct Step {
    /// How far the clock moves before it, in seconds.
    pub passed: i64,
    pub admin: bool,
    pub command: Command,
}

pub fn limits() -> Limits {
    Limits { variables_per_session: 4, batch_operations: 3, value_bytes: 100, ..Limits::default() }
}

/// One spec per kind that the model knows; its description is that kind's number.
pub fn spec(kind: usize) -> Arc<Spec> {
    let float = |min, max| FloatConstraints { min, max, ..FloatConstraints::default() };
    let integer = |min, max| Constraints::Integer(IntegerConstraints { min, max, step: None });
    let free_float = FloatConstraints { allow_nan: true, allow_infinity: true, ..float(None, None) };
    let short = CollectionConstraints { max_items: Some(3), max_depth: Some(1) };
    let (ty, constraints) = match kind {
        0 => (Type::Float, Constraints::Float(float(Some(0.0), Some(2.0)))),
        1 => (Type::Float, Constraints::Float(free_float)),
        2 => (Type::Integer, integer(Some(-5), Some(5))),
        3 | 6 => (Type::Integer, Constraints::None),
        4 => (Type::List, Constraints::Collection(short)),
        5 => (Type::String, Constraints::None),
        _ => (Type::Integer, integer(Some(2), Some(1))),
    };
    let description = kind.to_string();
    Arc::new(Spec { description, nullable: kind == 3, read_only: kind == 6, ..Spec::new(ty, constraints) })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0i64..3).prop_map(Value::Int),
        4 => (-6i64..7).prop_map(Value::Int),
        1 => prop::sample::select(vec![i64::MAX, i64::MIN, (1 << 53) + 1]).prop_map(Value::Int),
        4 => prop::sample::select(vec![0.0, -0.0, 0.5, 1.0, 2.0, 2.5, f64::NAN, f64::INFINITY]).prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
        2 => prop::sample::select(vec![0, 1, 98, 99]).prop_map(|length| Value::from(&*"x".repeat(length))),
        2 => items().prop_map(Value::from_iter),
    ]
}

fn items() -> impl Strategy<Value = Vec<Value>> {
    let item = prop_oneof![9 => (0i64..7).prop_map(Value::Int), 1 => Just(Value::from_iter([]))];
    prop::collection::vec(item, 0..3)
}

/// A kind of spec and, mostly, a value that it takes.
fn registration() -> impl Strategy<Value = (usize, Value)> {
    let of = |kinds: &'static [usize], value: BoxedStrategy<Value>| (prop::sample::select(kinds), value);
    prop_oneof![
        2 => (0..8usize, value()),
        4 => of(&[0, 1, 1], (0i64..3).prop_map(Value::Int).boxed()),
        4 => of(&[2, 3, 3, 6], (-5i64..6).prop_map(Value::Int).boxed()),
        2 => of(&[4], items().prop_map(Value::from_iter).boxed()),
        1 => of(&[5], Just("x".into()).boxed()),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (registration(), prop::bool::weighted(0.2))
            .prop_map(|((kind, value), replace)| Action::Register { spec: spec(kind), value, replace }),
        6 => value().prop_map(Action::Set),
        3 => value().prop_map(Action::Increment),
        2 => items().prop_map(Action::Append),
        2 => Just(Action::Delete),
        2 => (0u64..9).prop_map(|version| Action::Rollback { version }),
    ]
}

fn random_operation() -> impl Strategy<Value = Operation> {
    let name = prop::sample::select(vec!["a", "a", "a", "b", "b", "c", "c", "d", "e"]);
    (name, prop::option::weighted(0.1, 0u64..6), action())
        .prop_map(|(name, expected_version, action)| Operation { expected_version, ..operation(name, action) })
}

fn write() -> impl Strategy<Value = Command> {
    let batch = |sizes| prop::collection::vec(random_operation(), sizes);
    let operations = prop_oneof![20 => batch(1..2), 8 => batch(2..4), 2 => batch(0..5)];
    let life = prop::option::weighted(0.05, 0u8..4);
    let named = prop::option::weighted(0.3, (0u8..5, prop::bool::weighted(0.1)));
    (life, named, operations).prop_map(|(life, named, operations)| {
        Command::Write(Write {
            incarnation: life.map(incarnation),
            idempotency: named.map(|(name, other)| key(&name.to_string(), u8::from(other))),
            ..bare(operations)
        })
    })
}

fn bare(operations: Vec<Operation>) -> Write {
    Write { incarnation: None, operations, reason: "".into(), idempotency: None, encoded_len: 0 }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (0u8..4).prop_map(create),
        60 => write(),
        1 => prop::option::of(0u8..4).prop_map(|life| Command::Delete { incarnation: life.map(incarnation) }),
        1 => Just(Command::Expire),
    ]
}

/// A session's first command, and what else comes.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let passed = prop::sample::select(vec![0, 0, 0, 1, 1, -3, 200, 601, 13 * 3600]);
    let step = (passed, prop::bool::weighted(0.8), command()).prop_map(|(passed, admin, command)| Step {
        passed,
        admin,
        command,
    });
    prop::collection::vec(step, 1..80).prop_map(|mut steps| {
        // Something to work with: a float, an integer, a list and a text.
        let first = [("a", 1, 1.into()), ("b", 3, 1.into()), ("c", 4, Value::from_iter([])), ("d", 5, "x".into())];
        let operations = first.map(|(name, kind, value)| operation(name, register((*spec(kind)).clone(), value)));
        let writes = operations.map(|operation| Command::Write(bare(vec![operation])));
        let first = std::iter::once(create(0)).chain(writes);
        steps.splice(..0, first.map(|command| Step { passed: 0, admin: true, command }));
        steps
    })
}

pub fn windows() -> impl Strategy<Value = Windows> {
    (0usize..20, 0u64..3_000, 0usize..5, 0u64..500, 0usize..4, 0u64..500, 0usize..4).prop_map(
        |(log_events, log_bytes, history_versions, history_bytes, deleted_names, deleted_bytes, idempotency_writes)| {
            Windows {
                log_events,
                log_bytes,
                history_versions,
                history_bytes,
                deleted_names,
                deleted_bytes,
                idempotency_writes,
                idempotency_age: Duration::from_secs(10),
                ..Windows::default()
            }
        },
    )
}

/// Runs the steps. What each was answered, and the session after it.
pub fn run(steps: &[Step], mut each: impl FnMut(&Step, Result<Answer, Refused>, &mut Session)) -> Session {
    let mut session = Session { limits: limits(), now: Timestamp(1_000_000_000_000), ..Session::vacant() };
    for step in steps {
        session.now = Timestamp(session.now.0.checked_add_signed(step.passed * 1_000_000).unwrap());
        session.admin = step.admin;
        let result = session.run(&step.command);
        each(step, result, &mut session);
    }
    session
}

/// The variables of a slot: name to everything about it, as text.
pub fn content(slot: &Slot) -> BTreeMap<String, String> {
    match slot {
        Slot::Live(state) => state.variables().map(|it| (it.name.to_string(), format!("{it:?}"))).collect(),
        Slot::Vacant | Slot::Ended(_) => BTreeMap::new(),
    }
}
