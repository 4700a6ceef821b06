//! Whoever may not read secrets learns nothing of them, and cannot make one plain.
//!
//! Two servers hold sessions that differ in the values of their secrets and in nothing else. A token without
//! `read_secret` sends the same few requests to both, whatever they are. Every answer has to be the same, refusals,
//! versions, sizes and pages included, and so has everything that it can read afterwards. One bit that shows makes two
//! answers differ. The limits and windows are small, so that they are reached.

use std::{collections::BTreeMap, sync::LazyLock};

use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use regex::Regex;
use snakepit_core::config::{Limits, Windows};
use snakepit_proto::v1::{
    AppendOperation, CollectionConstraints, Constraints, CreateSessionRequest, FloatConstraints, GetVariablesRequest,
    IncrementOperation, ListValue, ListVariableVersionsRequest, ListVariablesRequest, Operation, RollbackOperation,
    SyncVariablesRequest, Value, VariableSpec, VariableType, WatchMode, WatchVariablesRequest, WriteVariablesRequest,
    constraints::Kind as Limit, operation::Action, value::Kind,
};
use snakepit_server::server::Server;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    setup::*,
};

/// Who has no `read_secret`, and everything else that they might use.
const ATTACKERS: [(&str, &str, &str); 3] =
    [("user", "read write", "*"), ("writer", "write call_tool", "*"), ("chief", "read write offer_tool admin", "*")];
const SECRETS: [&str; 5] = ["n", "f", "s", "l", "z"];
/// Secrets, one that was a secret, plain ones, and some that are not there.
const NAMES: [&str; 11] = ["n", "f", "s", "l", "z", "was", "p", "t", "u", "v", "w"];
/// As many requests as it may take.
const MOST: usize = 6;
const CASES: u32 = 64;

/// What one of the two servers has in its secrets.
struct World {
    number: [i64; 2],
    float: f64,
    text: String,
    list: Vec<i64>,
    null: Value,
    was: i64,
}

fn worlds() -> [World; 2] {
    let null = of(Kind::NullValue(0));
    [
        World { number: [5, 7], float: 1.5, text: "alpha".into(), list: vec![1], null, was: 3 },
        World { number: [-3, i64::MAX], float: 0.25, text: "b".repeat(400), list: vec![1, 2, 3], null: int(3), was: 4 },
    ]
}

fn limits() -> Limits {
    Limits {
        value_bytes: 2_000,
        session_value_bytes: 5_600,
        message_bytes: 5_000,
        variables_per_session: 12,
        ..Limits::default()
    }
}

fn windows() -> Windows {
    Windows {
        log_events: 14,
        log_bytes: 6_000,
        history_versions: 4,
        history_bytes: 2_600,
        deleted_names: 1,
        deleted_bytes: 2_000,
        ..Windows::default()
    }
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    of(Kind::ListValue(ListValue { items: items.into_iter().collect() }))
}

fn secret(name: &str) -> VariableSpec {
    let limited = |ty, limit| VariableSpec { constraints: Some(Constraints { kind: Some(limit) }), ..spec(ty) };
    let float = FloatConstraints { min: Some(0.0), max: Some(2.0), ..Default::default() };
    let short = CollectionConstraints { max_items: Some(4), ..Default::default() };
    let plain = match name {
        "f" => limited(VariableType::Float, Limit::Float(float)),
        "s" => spec(VariableType::String),
        "l" => limited(VariableType::List, Limit::Collection(short)),
        "z" => VariableSpec { nullable: true, ..spec(VariableType::Integer) },
        _ => spec(VariableType::Integer),
    };
    VariableSpec { secret: true, ..plain }
}

/// One request.
#[derive(Clone, Debug)]
enum Ask {
    /// With a key, one of the owner's or of their own.
    Write(Vec<Operation>, Option<u8>),
    Get(Vec<&'static str>),
    List,
    Versions(&'static str),
    Sync(u64, Vec<&'static str>),
    Watch(WatchMode, u64),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => prop::sample::select(&SECRETS[..]), 2 => prop::sample::select(&NAMES[..])]
}

fn number() -> impl Strategy<Value = Value> {
    let whole = prop_oneof![
        4 => -8i64..9,
        2 => prop::sample::select(vec![i64::MAX, i64::MIN, i64::MAX - 5, i64::MAX - 6, -i64::MAX]),
    ];
    let fraction = prop::sample::select(vec![0.0, 0.25, 0.5, 1.0, 1.5, 1.75, -0.25, -1.5, f64::NAN]);
    prop_oneof![whole.prop_map(int), fraction.prop_map(float)]
}

/// What the owner of the secrets has written in one of the worlds.
fn guess() -> impl Strategy<Value = String> {
    prop::sample::select(worlds().map(|world| world.text).to_vec())
}

/// A text that fills much of what there is room for.
fn long() -> impl Strategy<Value = Value> {
    let length = prop_oneof![1 => 0usize..6, 2 => Just(1_900), 3 => 0usize..1_990];
    length.prop_map(|length| text(&"x".repeat(length)))
}

fn value() -> impl Strategy<Value = Value> {
    let items = prop::collection::vec((1i64..4).prop_map(int), 0..4).prop_map(list);
    prop_oneof![4 => number(), 3 => long(), 2 => guess().prop_map(|guess| text(&guess)), 2 => items, 1 => Just(of(Kind::NullValue(0)))]
}

/// A value that the variable of that name may take.
fn fitting(name: &'static str) -> BoxedStrategy<Value> {
    let fits = match name {
        "s" => prop_oneof![2 => guess().prop_map(|guess| text(&guess)), 3 => long()].boxed(),
        "t" | "u" | "v" | "w" => long().boxed(),
        "f" => prop::sample::select(vec![0.25, 1.5, 1.0]).prop_map(float).boxed(),
        "l" => prop::sample::select(vec![1, 3]).prop_map(|count| list((1..=count).map(int))).boxed(),
        _ => prop::sample::select(vec![3, 4, 5, 7, -3, i64::MAX]).prop_map(int).boxed(),
    };
    prop_oneof![3 => fits, 1 => value()].boxed()
}

fn specs(name: &'static str) -> impl Strategy<Value = VariableSpec> {
    let float = FloatConstraints { max: Some(1.0), ..Default::default() };
    let tight = VariableSpec {
        constraints: Some(Constraints { kind: Some(Limit::Float(float)) }),
        secret: true,
        ..spec(VariableType::Float)
    };
    let usual = if matches!(name, "t" | "u" | "v" | "w") { spec(VariableType::String) } else { secret(name) };
    prop::sample::select(vec![
        usual,
        secret(name),
        VariableSpec { secret: false, ..secret(name) },
        spec(VariableType::String),
        tight,
    ])
}

fn an_operation() -> impl Strategy<Value = Operation> {
    let acts = |name: &'static str| {
        let register = (specs(name), fitting(name), any::<bool>()).prop_map(move |(spec, value, again)| {
            if again { replace(name, spec, value) } else { register_as(name, spec, value) }
        });
        let appended = prop::collection::vec((1i64..4).prop_map(int), 1..4);
        prop_oneof![
            4 => fitting(name).prop_map(move |value| set(name, value)),
            3 => number().prop_map(move |by| operation(name, Action::Increment(IncrementOperation { amount: Some(by) }))),
            2 => appended.prop_map(move |items| operation(name, Action::Append(AppendOperation { items }))),
            2 => Just(delete(name)),
            2 => (0u64..5).prop_map(move |version| operation(name, Action::Rollback(RollbackOperation { version }))),
            3 => register,
        ]
    };
    let expected = prop::option::weighted(0.15, 0u64..4);
    (name().prop_flat_map(acts), expected)
        .prop_map(|(operation, expected_version)| Operation { expected_version, ..operation })
}

fn ask() -> impl Strategy<Value = Ask> {
    let names = || prop::sample::subsequence(&NAMES[..], 1..=NAMES.len());
    // What the owner has written under a key, as far as it can be guessed.
    let repeat = guess().prop_map(|guess| Ask::Write(vec![set("s", text(&guess))], Some(0)));
    let modes = prop::sample::select(vec![WatchMode::Latest, WatchMode::Every]);
    prop_oneof![
        10 => (prop::collection::vec(an_operation(), 1..4), prop::option::weighted(0.3, 0u8..3))
            .prop_map(|(operations, key)| Ask::Write(operations, key)),
        1 => repeat,
        1 => names().prop_map(Ask::Get),
        1 => Just(Ask::List),
        1 => name().prop_map(Ask::Versions),
        2 => (0u64..12, names()).prop_map(|(known, names)| Ask::Sync(known, names)),
        2 => (modes, 0u64..12).prop_map(|(mode, known)| Ask::Watch(mode, known)),
    ]
}

/// A session in one of the worlds: the one as its owner has left it.
async fn begin(owner: &Holder, id: &str, world: &World) {
    let request = CreateSessionRequest { session_id: id.into(), incarnation: vec![7; 16].into(), ..Default::default() };
    owner.sessions().create_session(request).await.unwrap();
    let write = |operations: Vec<Operation>| async { owner.write(id, operations).await.unwrap() };
    write(vec![
        register_as("n", secret("n"), int(world.number[0])),
        register_as("f", secret("f"), float(world.float)),
        register_as("s", secret("s"), text("x")),
        register_as("l", secret("l"), list(world.list.iter().copied().map(int))),
        register_as("z", secret("z"), world.null.clone()),
        register_as("was", secret("was"), int(world.was)),
    ])
    .await;
    write(vec![
        set("n", int(world.number[1])),
        replace("was", spec(VariableType::Integer), int(0)),
        register("p", VariableType::Integer, int(1)),
        register("t", VariableType::String, text("t")),
        register("u", VariableType::String, text("u")),
    ])
    .await;
    let request = WriteVariablesRequest {
        session_id: id.into(),
        operations: vec![set("s", text(&world.text))],
        client_id: "c".into(),
        idempotency_key: "0".into(),
        ..Default::default()
    };
    owner.variables().write_variables(request).await.unwrap();
}

/// An answer in which nothing but its content is left.
fn shown<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    match answer {
        Ok(answer) => {
            static TIMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"Timestamp \{[^}]*\}").unwrap());
            TIMES.replace_all(&format!("{answer:?}"), "then").into_owned()
        }
        Err(status) => {
            let details = status.get_error_details();
            let facts = details.error_info().map(|info| {
                let facts: BTreeMap<_, _> = info.metadata.iter().collect();
                format!("{} {facts:?}", info.reason)
            });
            format!("refused: {:?} {:?} {facts:?}", status.code(), status.message())
        }
    }
}

/// What a watch tells until it has come up to this revision.
async fn watched(holder: &Holder, id: &str, mode: WatchMode, known_revision: u64, up_to: u64) -> String {
    let request =
        WatchVariablesRequest { session_id: id.into(), mode: mode.into(), known_revision, ..Default::default() };
    let mut watch = match holder.variables().watch_variables(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return shown::<()>(Err(status)),
    };
    let mut told = String::new();
    loop {
        let message = watch.message().await;
        let unfinished = matches!(&message, Ok(Some(it)) if it.partial || it.revision < up_to);
        told += &shown(message);
        if !unfinished {
            return told;
        }
    }
}

impl Ask {
    async fn of(&self, holder: &Holder, owner: &Holder, id: &str) -> String {
        let (session_id, mut variables) = (id.to_owned(), holder.variables());
        match self.clone() {
            Self::Write(operations, key) => {
                let key = key.map(|key| key.to_string()).unwrap_or_default();
                let client_id = if key.is_empty() { String::new() } else { "c".into() };
                let request = WriteVariablesRequest {
                    session_id,
                    operations,
                    client_id,
                    idempotency_key: key,
                    ..Default::default()
                };
                shown(variables.write_variables(request).await.map(tonic::Response::into_inner))
            }
            Self::Get(names) => {
                let names = texts(&names);
                let request = GetVariablesRequest { session_id, names, allow_missing: true, ..Default::default() };
                shown(variables.get_variables(request).await.map(tonic::Response::into_inner))
            }
            Self::List => {
                let request = ListVariablesRequest { session_id, ..Default::default() };
                shown(variables.list_variables(request).await.map(tonic::Response::into_inner))
            }
            Self::Versions(name) => {
                let request = ListVariableVersionsRequest { session_id, name: name.into(), ..Default::default() };
                shown(variables.list_variable_versions(request).await.map(tonic::Response::into_inner))
            }
            Self::Sync(known_revision, names) => {
                let new_names = if known_revision == 0 { texts(&names) } else { Vec::new() };
                let names = texts(&names);
                let incarnation = vec![7; 16].into();
                let request = SyncVariablesRequest { session_id, incarnation, known_revision, names, new_names };
                shown(variables.sync_variables(request).await.map(tonic::Response::into_inner))
            }
            Self::Watch(mode, known) => {
                let up_to = owner.get(id, "p").await.map_or(0, |it| it.revision);
                watched(holder, id, mode, known, up_to.min(known)).await
            }
        }
    }
}

/// All that a reader can see.
async fn everything(reader: &Holder, owner: &Holder, id: &str, revision: u64) -> Vec<String> {
    let mut asked = vec![Ask::List, Ask::Get(NAMES.to_vec())];
    asked.extend(NAMES.map(Ask::Versions));
    asked.extend([0, 1, revision].map(|known| Ask::Sync(known, NAMES.to_vec())));
    let mut seen = Vec::new();
    for ask in asked {
        seen.push(format!("{ask:?}: {}", ask.of(reader, owner, id).await));
    }
    let latest = [0, 1].map(|known| (WatchMode::Latest, known));
    for (mode, known) in (0..=revision).map(|known| (WatchMode::Every, known)).chain(latest) {
        let told = watched(reader, id, mode, known, revision).await;
        seen.push(format!("{mode:?} from {known}: {told}"));
    }
    seen
}

async fn revision(owner: &Holder, id: &str) -> u64 {
    let request = snakepit_proto::v1::GetSessionRequest { session_id: id.into() };
    owner.sessions().get_session(request).await.unwrap().into_inner().session.unwrap().revision
}

/// A server in one world, who owns its secrets, and who reads without them.
struct Side {
    server: Guarded,
    world: World,
    owner: Holder,
    reader: Holder,
}

async fn side(world: World) -> Side {
    let tokens = [&[("owner", ALL, "*"), ("reader", "read", "*")][..], &ATTACKERS].concat();
    let server = Guarded::of(Server::builder().limits(limits()).windows(windows()), &tokens).await;
    let (owner, reader) = (server.holder("owner").await, server.holder("reader").await);
    Side { server, world, owner, reader }
}

async fn same_to(attacker: &str, asks: &[Ask], sides: &[Side; 2]) -> Result<(), TestCaseError> {
    let id = unique("s");
    let mut attackers = Vec::new();
    for side in sides {
        begin(&side.owner, &id, &side.world).await;
        attackers.push(side.server.holder(attacker).await);
    }
    for ask in asks {
        let one = ask.of(&attackers[0], &sides[0].owner, &id).await;
        let other = ask.of(&attackers[1], &sides[1].owner, &id).await;
        prop_assert_eq!(one, other, "{} tells the worlds apart by {:?}", attacker, ask);
    }
    let now = revision(&sides[0].owner, &id).await;
    prop_assert_eq!(now, revision(&sides[1].owner, &id).await);
    let one = everything(&sides[0].reader, &sides[0].owner, &id, now).await;
    let other = everything(&sides[1].reader, &sides[1].owner, &id, now).await;
    for (one, other) in one.into_iter().zip(other) {
        prop_assert_eq!(one, other);
    }
    if attacker != "chief" {
        for name in SECRETS {
            let kept = sides[0].owner.get(&id, name).await.is_ok_and(|it| it.spec.unwrap().secret);
            prop_assert!(kept, "{} is no secret any more", name);
        }
    }
    let end = snakepit_proto::v1::DeleteSessionRequest { session_id: id, ..Default::default() };
    for side in sides {
        side.owner.sessions().delete_session(end.clone()).await.unwrap();
    }
    Ok(())
}

#[test]
fn secrets_of_other_values_make_no_difference_to_who_may_not_read_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let [one, other] = worlds();
    let sides = runtime.block_on(async { [side(one).await, side(other).await] });
    let attacker = prop::sample::select(ATTACKERS.map(|(name, _, _)| name).to_vec());
    let asked = (attacker, prop::collection::vec(ask(), 1..=MOST));
    let config = Config { cases: CASES, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let run =
        TestRunner::new(config).run(&asked, |(attacker, asks)| runtime.block_on(same_to(attacker, &asks, &sides)));
    if let Err(found) = run {
        panic!("{found}");
    }
}
