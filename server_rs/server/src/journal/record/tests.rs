#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use snakepit_core::{
    session::{Body, Change, ChangeKind, End, Event, Original, Position, RecordKind, Slot, VersionRecord},
    testing::{
        commands::{run, steps},
        values::value as any_value,
    },
    value::Dtype,
    variable::*,
};

use super::*;

fn constraints() -> impl Strategy<Value = Constraints> {
    let float = (any::<[Option<f64>; 3]>(), any::<[bool; 4]>()).prop_map(|([min, max, step], flags)| {
        let [exclusive_min, exclusive_max, allow_nan, allow_infinity] = flags;
        FloatConstraints { min, max, exclusive_min, exclusive_max, step, allow_nan, allow_infinity }
    });
    let integer = any::<[Option<i64>; 3]>().prop_map(|[min, max, step]| IntegerConstraints { min, max, step });
    let texts = || prop::collection::vec(".{0,9}", 0..4);
    let string = (any::<[Option<u64>; 2]>(), prop::option::of(".{0,9}"), texts()).prop_map(
        |([min_length, max_length], pattern, one_of)| {
            let pattern = pattern.map(Pattern::new);
            StringConstraints { min_length, max_length, pattern, one_of }
        },
    );
    let dtype = || prop::option::of(prop::sample::select(vec![Dtype::Bool, Dtype::Float16, Dtype::Complex128]));
    prop_oneof![
        Just(Constraints::None),
        float.prop_map(Constraints::Float),
        integer.prop_map(Constraints::Integer),
        string.prop_map(Constraints::String),
        prop::collection::vec(any_value(), 0..3).prop_map(|choices| Constraints::Choice(ChoiceConstraints { choices })),
        texts().prop_map(|modules| Constraints::Module(ModuleConstraints { modules })),
        (any::<Option<u64>>(), dtype())
            .prop_map(|(dimensions, dtype)| Constraints::Embedding(EmbeddingConstraints { dimensions, dtype })),
        (any::<Vec<i64>>(), dtype()).prop_map(|(shape, dtype)| Constraints::Tensor(TensorConstraints { shape, dtype })),
        any::<[Option<u64>; 2]>()
            .prop_map(|[max_items, max_depth]| Constraints::Collection(CollectionConstraints { max_items, max_depth })),
        any::<Option<u64>>().prop_map(|max_length| Constraints::Bytes(BytesConstraints { max_length })),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let types = vec![
        Type::Float,
        Type::Integer,
        Type::String,
        Type::Boolean,
        Type::Choice,
        Type::Module,
        Type::Embedding,
        Type::Tensor,
        Type::List,
        Type::Map,
        Type::Bytes,
    ];
    let labels = prop::collection::btree_map(".{0,5}", ".{0,5}", 0..3);
    (prop::sample::select(types), constraints(), ".{0,9}", labels, any::<[bool; 3]>()).prop_map(
        |(ty, constraints, description, metadata, [nullable, secret, read_only])| Spec {
            ty,
            constraints,
            description,
            metadata,
            nullable,
            secret,
            read_only,
        },
    )
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z_][A-Za-z0-9_.-]{0,20}".prop_map(|name| Name::parse(&name).unwrap())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<u64>(), 0..3_000_000_u64].prop_map(Timestamp)
}

fn author() -> impl Strategy<Value = Author> {
    (".{0,9}", any::<bool>()).prop_map(|(name, verified)| Author { name: name.into(), verified })
}

fn idempotency() -> impl Strategy<Value = Idempotency> {
    (".{0,9}", ".{0,9}", any::<[u8; 32]>()).prop_map(|(client, key, fingerprint)| Idempotency {
        client: client.into(),
        key: key.into(),
        fingerprint,
    })
}

fn outcomes() -> impl Strategy<Value = Arc<[Outcome]>> {
    let outcome = (name(), any::<bool>(), any::<u64>(), prop::option::of(any_value()))
        .prop_map(|(name, changed, version, value)| Outcome { name, changed, version, value: value.map(Box::new) });
    prop::collection::vec(outcome, 0..3).prop_map(Into::into)
}

fn body() -> impl Strategy<Value = Body> {
    let ttl = prop::option::of((0..i64::MAX.unsigned_abs(), 0..1_000_000_000u32))
        .prop_map(|ttl| ttl.map(|(seconds, nanos)| Duration::new(seconds, nanos)));
    let kind = prop_oneof![
        (spec(), any_value()).prop_map(|(spec, value)| ChangeKind::Registered { spec: Arc::new(spec), value }),
        any_value().prop_map(|value| ChangeKind::Set { value }),
        Just(ChangeKind::Deleted),
    ];
    let change = (name(), any::<u64>(), kind).prop_map(|(name, version, kind)| Change { name, version, kind });
    prop_oneof![
        (ttl, prop::collection::btree_map(".{0,5}", ".{0,5}", 0..3))
            .prop_map(|(ttl, metadata)| Body::Created { ttl, metadata: Arc::new(metadata) }),
        prop::collection::vec(change, 0..4).prop_map(|changes| Body::Written(changes.into())),
        Just(Body::Deleted),
        Just(Body::Expired),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let position = (any::<[u8; 16]>(), any::<u64>())
        .prop_map(|(incarnation, revision)| Position { incarnation: Incarnation(incarnation), revision });
    (position, timestamp(), author(), ".{0,9}", prop::option::of(idempotency()), outcomes(), body()).prop_map(
        |(position, time, author, reason, idempotency, outcomes, body)| Event {
            position,
            time,
            // As much later or earlier as one likes.
            lived: Timestamp(time.0.abs_diff(position.revision >> 20)),
            author,
            reason: reason.into(),
            idempotency,
            outcomes,
            body,
        },
    )
}

fn version() -> impl Strategy<Value = VersionRecord> {
    let value = prop_oneof![
        Just((RecordKind::Deleted, None)),
        (prop::bool::ANY, any_value())
            .prop_map(|(set, value)| (if set { RecordKind::Set } else { RecordKind::Registered }, Some(value))),
    ];
    (any::<[u64; 2]>(), value, any::<bool>(), timestamp(), author(), ".{0,9}").prop_map(
        |([version, revision], (kind, value), secret, time, author, reason)| VersionRecord {
            version,
            revision,
            kind,
            value,
            secret,
            time,
            author,
            reason: reason.into(),
        },
    )
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(
        event in event(), spec in spec(), version in version(), idempotency in idempotency(), outcomes in outcomes(),
        time in timestamp(), revision in any::<u64>(), expired in any::<bool>(),
    ) {
        prop_assert_eq!(Event::decode(&event.encode()).unwrap().encoded_len(), event.encoded_len());
        prop_assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        prop_assert_eq!(Spec::decode(&spec.encode()).unwrap(), spec);
        prop_assert_eq!(VersionRecord::decode(&version.encode()).unwrap(), version);
        let lived = Timestamp(time.0.abs_diff(revision >> 20));
        let original = Original { idempotency, revision, outcomes, time, lived };
        prop_assert_eq!(Original::decode(&original.encode()).unwrap(), original);
        let ended = Ended { revision, at: time, lived, how: if expired { End::Expired } else { End::Deleted } };
        prop_assert_eq!(Ended::decode(&ended.encode()).unwrap(), ended);
    }

    #[test]
    fn sessions_and_their_events_are_read_as_they_were_written(steps in steps()) {
        run(&steps, |_, _, session| {
            if let Some(event) = session.events.last() {
                assert_eq!(Event::decode(&event.encode()).unwrap(), **event);
            }
            if let Slot::Live(state) = &session.slot {
                let life = Life::of(state);
                assert_eq!(Life::decode(&life.encode()).unwrap(), life);
            }
        });
    }

    #[test]
    fn what_is_no_record_is_damage_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), event in event()) {
        let _any = Event::decode(&bytes);
        let _any = VersionRecord::decode(&bytes);
        let _any = Life::decode(&bytes);
        let mut torn = event.encode();
        torn.truncate(torn.len() / 2);
        prop_assert!(Event::decode(&torn).map_or(true, |torn| torn != event));
    }
}
