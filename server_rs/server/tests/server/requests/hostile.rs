//! Payloads that no well-meaning client sends: each is refused with a reason, and the server lives.

use snakepit_proto::v1::{
    AppendOperation, DeleteOperation, Dtype, ListValue, MapEntry, MapValue, NdArray, Operation, RegisterOperation,
    Value, VariableSpec, VariableType, WatchMode, WatchVariablesRequest, operation::Action, value::Kind,
};
use tonic::Code;

use crate::support::{
    raw::{self, field},
    setup::*,
};

const WRITE: &str = "/snakepit_bridge.v1.VariableService/WriteVariables";

/// The bytes of a value of lists, or of maps, so many levels deep.
fn nested(levels: usize, maps: bool) -> Vec<u8> {
    let mut value = vec![1 << 3, 0];
    for _ in 0..levels {
        value = if maps { field(8, &field(1, &field(2, &value))) } else { field(7, &field(1, &value)) };
    }
    value
}

/// The bytes of a request that sets `name` to the value of these bytes.
fn set_bytes(session: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let operation = [field(1, name.as_bytes()), field(4, &field(1, value))].concat();
    [field(1, session.as_bytes()), field(3, &operation)].concat()
}

#[tokio::test]
async fn values_nest_30_levels_and_come_back_as_they_were() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let empty = [of(Kind::ListValue(ListValue::default())), of(Kind::MapValue(MapValue::default()))];
    for (name, ty, empty, maps) in
        [("list", VariableType::List, empty[0].clone(), false), ("map", VariableType::Map, empty[1].clone(), true)]
    {
        session.write([register(name, ty, empty)]).await;
        let mut watch = session.watch(session.watch_of(WatchMode::Every)).await.unwrap();
        let snapshot = watch.message().await.unwrap().unwrap();
        raw::call(&session.channel, WRITE, set_bytes(&session.id, name, &nested(30, maps))).await.unwrap();
        let expected: Value = prost::Message::decode(&*nested(30, maps)).unwrap();
        assert_eq!(Some(session.value(name).await), expected.kind);
        let change = watch.message().await.unwrap().unwrap();
        assert_eq!(change.revision, snapshot.revision + 1, "the deepest message, a watch's change, can be read");
    }
}

#[tokio::test]
async fn deeper_nesting_is_refused_however_deep() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.write([register("list", VariableType::List, of(Kind::ListValue(ListValue::default())))]).await;
    for maps in [false, true] {
        for levels in [31, 100, 1_000, 10_000] {
            let bytes = set_bytes(&session.id, "list", &nested(levels, maps));
            let refused = refused(raw::call(&session.channel, WRITE, bytes).await);
            assert_eq!((refused.code, &*refused.reason), (Code::InvalidArgument, "INVALID_REQUEST"), "{levels}");
        }
    }
    assert_eq!(session.value("list").await, Kind::ListValue(ListValue::default()));
}

#[tokio::test]
async fn appending_cannot_nest_deeper_than_setting() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.write([register("list", VariableType::List, of(Kind::ListValue(ListValue::default())))]).await;
    let item = |levels| -> Value { prost::Message::decode(&*nested(levels, true)).unwrap() };
    let append = |levels| operation("list", Action::Append(AppendOperation { items: vec![item(levels)] }));
    session.write([append(29)]).await;
    assert_eq!(session.refused([append(30)]).await.fact("field"), "items");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let pickle = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x93.";
    let not_utf8 = field(1, b"\xff\xfe");
    let truncated = &field(1, b"demo")[..3];
    for bytes in [&pickle[..], &not_utf8, truncated, &[0xff; 64]] {
        let refused = refused(raw::call(&session.channel, WRITE, bytes.to_vec()).await);
        assert_eq!((refused.code, &*refused.reason), (Code::InvalidArgument, "INVALID_REQUEST"), "{bytes:?}");
        assert_eq!(refused.fact("field"), "message");
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_with_the_limit() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let bytes = set_bytes(&session.id, "n", &field(5, &vec![b'x'; 33 * 1024 * 1024]));
    let refused = refused(raw::call(&session.channel, WRITE, bytes).await);
    assert_eq!((refused.code, &*refused.reason), (Code::ResourceExhausted, "LIMIT_EXCEEDED"));
    assert_eq!((refused.fact("limit"), refused.fact("max")), ("message_bytes", "33554432"));
    session.integers(["n"]).await;
}

#[tokio::test]
async fn what_is_unset_or_unknown_is_refused_by_its_field() {
    let server = TestServer::start().await;
    let session = server.session().await;
    session.integers(["n"]).await;
    let register = |spec, value| Action::Register(RegisterOperation { spec, value, replace: false });
    let typed = |ty| Some(VariableSpec { r#type: ty, ..Default::default() });
    let array = |dtype, shape: &[u64], data: &[u8]| {
        of(Kind::NdarrayValue(NdArray { dtype, shape: shape.to_vec(), data: data.to_vec().into() }))
    };
    let entry = |value| MapEntry { key: "k".into(), value };
    let map = |entries| of(Kind::MapValue(MapValue { entries }));
    let set = |value| set("n", value);
    let cases = [
        ("action", Operation { name: "n".into(), ..Default::default() }),
        ("spec", operation("m", register(None, Some(int(1))))),
        ("type", operation("m", register(typed(0), Some(int(1))))),
        ("type", operation("m", register(typed(99), Some(int(1))))),
        ("value", operation("m", register(typed(2), None))),
        ("value", set(Value { kind: None })),
        ("value", set(of(Kind::ListValue(ListValue { items: vec![Value { kind: None }] })))),
        ("value", set(map(vec![entry(None)]))),
        ("value", set(map(vec![entry(Some(int(1))), entry(Some(int(2)))]))),
        ("value", set(array(0, &[], b""))),
        ("value", set(array(99, &[], b""))),
        ("value", set(array(Dtype::Float64.into(), &[2, 2], &[0; 31]))),
        ("value", set(array(Dtype::Float64.into(), &[u64::MAX, u64::MAX], b""))),
        ("value", set(array(Dtype::Bool.into(), &[2], &[0, 2]))),
        ("name", operation("", Action::Delete(DeleteOperation {}))),
        ("name", operation(&"n".repeat(129), Action::Delete(DeleteOperation {}))),
        ("name", operation("n\u{0}", Action::Delete(DeleteOperation {}))),
    ];
    for (field, operation) in cases {
        let refused = session.refused([operation.clone()]).await;
        assert_eq!((&*refused.reason, refused.fact("field")), ("INVALID_REQUEST", field), "{operation:?}");
        assert_eq!(refused.fact("operation"), "0");
    }
    for mode in [0, 99] {
        let request = WatchVariablesRequest { mode, ..session.watch_of(WatchMode::Latest) };
        assert_eq!(refused(session.watch(request).await).fact("field"), "mode");
    }
    assert_eq!(session.get("n").await.unwrap().version, 1);
}

#[tokio::test]
async fn labels_are_limited_on_sessions_and_variables() {
    let server = TestServer::start().await;
    let mut session = server.session().await;
    let labels = |count: usize| (0..count).map(|label| (label.to_string(), String::new())).collect();
    let with = |count| VariableSpec { metadata: labels(count), ..spec(VariableType::Integer) };
    session.write([register_as("n", with(64), int(1))]).await;
    assert_eq!(session.refused([register_as("m", with(65), int(1))]).await.fact("field"), "metadata");
    let request = snakepit_proto::v1::CreateSessionRequest {
        session_id: unique("s"),
        incarnation: incarnation().into(),
        metadata: labels(65),
        ..Default::default()
    };
    assert_eq!(refused(session.sessions.create_session(request).await).fact("field"), "metadata");
}
