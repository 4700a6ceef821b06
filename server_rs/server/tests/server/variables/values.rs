//! Values and specs come back as they were sent.

use snakepit_proto::{
    v1 as proto,
    v1::{
        BytesConstraints, ChoiceConstraints, CollectionConstraints, Constraints, Dtype, EmbeddingConstraints,
        FloatConstraints, IntegerConstraints, ListValue, MapEntry, MapValue, ModuleConstraints, NdArray,
        StringConstraints, TensorConstraints, Value, VariableSpec, VariableType, constraints::Kind as Limit,
        value::Kind,
    },
};

use crate::support::setup::*;

async fn comes_back(session: &TestSession, spec: VariableSpec, value: Value) {
    let name = unique("v");
    session.write([register_as(&name, spec.clone(), value.clone())]).await;
    let variable = session.get(&name).await.unwrap();
    assert_eq!((variable.spec.unwrap(), variable.value.unwrap()), (spec, value));
}

fn array(dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Value {
    of(Kind::NdarrayValue(NdArray { dtype: dtype.into(), shape: shape.to_vec(), data: data.into() }))
}

fn list(items: Vec<Value>) -> Value {
    of(Kind::ListValue(ListValue { items }))
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    let entry = |(key, value): (&str, Value)| MapEntry { key: key.into(), value: Some(value) };
    of(Kind::MapValue(MapValue { entries: entries.into_iter().map(entry).collect() }))
}

#[tokio::test]
async fn every_kind_of_value_comes_back_bit_by_bit() {
    let server = TestServer::start().await;
    let session = server.session().await;
    for whole in [0, (1 << 53) + 1, i64::MAX, i64::MIN] {
        comes_back(&session, spec(VariableType::Integer), int(whole)).await;
    }
    for number in [0.1, -0.0, f64::MAX, f64::MIN_POSITIVE] {
        comes_back(&session, spec(VariableType::Float), float(number)).await;
    }
    comes_back(&session, spec(VariableType::String), text("ünïcödé\n\u{0}")).await;
    comes_back(&session, spec(VariableType::Boolean), of(Kind::BoolValue(true))).await;
    comes_back(&session, spec(VariableType::Bytes), of(Kind::BytesValue(vec![0, 255, 128].into()))).await;
    comes_back(&session, spec(VariableType::Module), text("ChainOfThought")).await;
    let mixed = list(vec![int(1), float(1.0), of(Kind::NullValue(0)), map(vec![("b", int(1)), ("a", list(vec![]))])]);
    comes_back(&session, spec(VariableType::List), mixed.clone()).await;
    comes_back(&session, spec(VariableType::Map), map(vec![("z", mixed), ("a", int(2)), ("m", text(""))])).await;
    let nullable = VariableSpec { nullable: true, ..spec(VariableType::Integer) };
    comes_back(&session, nullable, of(Kind::NullValue(0))).await;
}

#[tokio::test]
async fn arrays_of_every_dtype_come_back_with_their_shape() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let sizes = [1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 8, 16];
    for (dtype, size) in (1..).map_while(|tag| Dtype::try_from(tag).ok()).zip(sizes) {
        let data = (0..6 * size).map(|byte| u8::from(byte % 2 == 0)).collect();
        comes_back(&session, spec(VariableType::Tensor), array(dtype, &[2, 3], data)).await;
        comes_back(&session, spec(VariableType::Tensor), array(dtype, &[], vec![1; size])).await;
        comes_back(&session, spec(VariableType::Tensor), array(dtype, &[0, 7], vec![])).await;
    }
    comes_back(&session, spec(VariableType::Embedding), array(Dtype::Float32, &[2], vec![1; 8])).await;
}

#[tokio::test]
async fn a_big_tensor_takes_about_its_raw_size_on_the_wire() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let data: Vec<u8> = (0..10_000).flat_map(|n| f64::from(n).sqrt().to_le_bytes()).collect();
    let tensor = array(Dtype::Float64, &[100, 100], data);
    assert!(prost::Message::encoded_len(&tensor) < 80_100);
    comes_back(&session, spec(VariableType::Tensor), tensor).await;
}

#[tokio::test]
async fn every_kind_of_constraint_comes_back() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let limited = |ty: VariableType, kind| VariableSpec {
        constraints: Some(Constraints { kind: Some(kind) }),
        description: "for people".into(),
        metadata: [("k".into(), "v".into())].into(),
        ..spec(ty)
    };
    let float_limits = FloatConstraints {
        min: Some(0.0),
        max: Some(2.0),
        exclusive_min: true,
        exclusive_max: true,
        step: Some(0.5),
        allow_nan: true,
        allow_infinity: true,
    };
    let integer_limits = IntegerConstraints { min: Some(i64::MIN), max: Some(i64::MAX), step: Some(1) };
    let string_limits = StringConstraints {
        min_length: Some(1),
        max_length: Some(9),
        pattern: Some("[a-z]+".into()),
        r#enum: texts(&["abc", "def"]),
    };
    let choices = vec![int(1), float(1.0), text("1"), of(Kind::BoolValue(true))];
    for (ty, kind, value) in [
        (VariableType::Float, Limit::Float(float_limits), float(0.5)),
        (VariableType::Integer, Limit::Integer(integer_limits), int(1)),
        (VariableType::String, Limit::String(string_limits), text("abc")),
        (VariableType::Choice, Limit::Choice(ChoiceConstraints { choices }), float(1.0)),
        (VariableType::Module, Limit::Module(ModuleConstraints { modules: texts(&["Predict"]) }), text("Predict")),
        (
            VariableType::Embedding,
            Limit::Embedding(EmbeddingConstraints { dimensions: Some(2), dtype: Dtype::Float32.into() }),
            array(Dtype::Float32, &[2], vec![0; 8]),
        ),
        (
            VariableType::Tensor,
            Limit::Tensor(TensorConstraints { shape: vec![-1, 2], dtype: Dtype::Bool.into() }),
            array(Dtype::Bool, &[1, 2], vec![0, 1]),
        ),
        (
            VariableType::List,
            Limit::Collection(CollectionConstraints { max_items: Some(2), max_depth: Some(1) }),
            list(vec![int(1)]),
        ),
        (
            VariableType::Bytes,
            Limit::Bytes(BytesConstraints { max_length: Some(1) }),
            of(Kind::BytesValue(vec![1].into())),
        ),
    ] {
        comes_back(&session, limited(ty, kind), value).await;
    }
    for flags in [
        VariableSpec { nullable: true, ..spec(VariableType::Float) },
        VariableSpec { secret: true, ..spec(VariableType::Float) },
        VariableSpec { read_only: true, ..spec(VariableType::Float) },
    ] {
        comes_back(&session, flags, float(1.0)).await;
    }
}

#[tokio::test]
async fn a_whole_number_up_to_2_to_the_53_becomes_a_float_and_no_float_a_whole_number() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.write([register("f", VariableType::Float, int(1 << 53))]).await;
    assert_eq!(session.value("f").await, float(2f64.powi(53)).kind.unwrap());
    assert_eq!(session.refused([set("f", int((1 << 53) + 1))]).await.reason, "TYPE_MISMATCH");
    session.integers(["n"]).await;
    for value in [float(1.0), of(Kind::BoolValue(true)), text("1"), of(Kind::NullValue(0))] {
        assert_eq!(session.refused([set("n", value)]).await.reason, "TYPE_MISMATCH");
    }
}

#[tokio::test]
async fn an_invalid_or_ruinous_pattern_is_refused_at_registration() {
    let server = TestServer::start().await;
    let session = server.session().await;
    for pattern in ["(", r"(?=x)", r"(a)\1", "x{1000}{1000}{1000}"] {
        let limits = StringConstraints { pattern: Some(pattern.into()), ..Default::default() };
        let constraints = Some(proto::Constraints { kind: Some(Limit::String(limits)) });
        let spec = VariableSpec { constraints, ..spec(VariableType::String) };
        let refused = session.refused([register_as("s", spec, text("x"))]).await;
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", "constraints.pattern"), "{pattern}");
    }
}
