//! Requests that make sense, to be harmed.

use std::collections::HashMap;

use proptest::prelude::*;
use prost::{Message, bytes::Bytes};
use snakepit_core::{
    session::{Action, Command, Write},
    testing::{commands::steps, values::value as any_value},
    value::Value,
};
use snakepit_proto::{
    convert as wire,
    v1::{
        AppendOperation, CallToolRequest, CancelCallRequest, CreateSessionRequest, DeleteOperation,
        DeleteSessionRequest, DispatchChunk, DispatchFailure, DispatchResult, DrainWorker, GetCallRequest,
        GetSessionRequest, GetToolRequest, GetVariablesRequest, IncrementOperation, ListSessionsRequest,
        ListToolsRequest, ListVariableVersionsRequest, ListVariablesRequest, MapEntry, MapValue, OfferTools, Operation,
        RegisterOperation, RetryPolicy, RollbackOperation, ServeToolsRequest, SetOperation, StreamToolRequest,
        SyncVariablesRequest, ToolFailure, ToolSpec, WatchVariablesRequest, WithdrawTools, WorkerHeartbeat,
        WorkerHello, WriteVariablesRequest, operation::Action as Asked, serve_tools_request::Event as Said,
    },
};

/// The session that most requests are about.
pub(super) const SESSION: &str = "s";
/// Its life.
pub(super) const LIFE: [u8; 16] = [7; 16];

const SCHEMAS: [&str; 4] = [
    "",
    r#"{"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"type": ["string", "null"]}}}"#,
    r##"{"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "array", "items":
        {"$ref": "#/$defs/t"}, "maxItems": 3}}}"##,
    r#"{"type": "object", "patternProperties": {"^a+$": {"anyOf": [{"const": 1}, {"enum": ["x", null]}]}},
        "additionalProperties": false, "minProperties": 1}"#,
];

fn session() -> BoxedStrategy<String> {
    prop::sample::select(vec![SESSION, SESSION, SESSION, SESSION, "t", "u", ""]).prop_map(Into::into).boxed()
}

fn life() -> BoxedStrategy<Bytes> {
    prop::sample::select(vec![vec![], vec![], LIFE.to_vec(), [8; 16].to_vec()]).prop_map(Bytes::from).boxed()
}

fn name() -> BoxedStrategy<String> {
    prop::sample::select(vec!["a", "a", "b", "c", "d", "e", "f.g-h"]).prop_map(Into::into).boxed()
}

fn names() -> BoxedStrategy<Vec<String>> {
    prop::collection::vec(name(), 0..4).boxed()
}

fn span() -> BoxedStrategy<Option<prost_types::Duration>> {
    let seconds = prop::sample::select(vec![0, 1, 5, 60, 86_400, -1, i64::MAX, i64::MIN]);
    prop::option::weighted(0.5, (seconds, prop::sample::select(vec![0, 1, 999_999_999, -1, i32::MIN])))
        .prop_map(|span| span.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos }))
        .boxed()
}

fn labels() -> BoxedStrategy<HashMap<String, String>> {
    prop::collection::hash_map("[a-c]", "[a-c]{0,3}", 0..3).boxed()
}

fn paging() -> BoxedStrategy<(String, u32, String)> {
    let pattern = prop::sample::select(vec!["", "", "*", "a*", "[a-", "?", "\u{e9}*"]);
    let token = prop::sample::select(vec!["", "", "a", "3", "YQ", "djE6YQ", "=="]);
    (pattern, 0..4_u32, token).prop_map(|(pattern, size, token)| (pattern.into(), size, token.into())).boxed()
}

/// Session, life, a value of any kind, and perhaps client and key.
type Circumstances = (String, Bytes, Value, Option<(u8, u8)>);

/// The writes of a session that a naive client would make, one after the other.
pub(super) fn writes() -> BoxedStrategy<Vec<Vec<u8>>> {
    let named = prop::option::weighted(0.3, (0..3_u8, 0..3_u8));
    let request = (session(), life(), any_value(), named);
    (steps(), prop::collection::vec(request, 85))
        .prop_map(|(steps, requests)| {
            let writes = steps.into_iter().filter_map(|step| match step.command {
                Command::Write(write) if !write.operations.is_empty() => Some(write),
                Command::Write(_) | Command::Create(_) | Command::Delete { .. } | Command::Expire => None,
            });
            let request = |(write, (session_id, incarnation, other, named)): (Write, Circumstances)| {
                let operations = write.operations.into_iter().map(|operation| {
                    let action = match operation.action {
                        Action::Register { spec, value, replace } => Asked::Register(RegisterOperation {
                            spec: Some(wire::spec::encode(&spec)),
                            value: Some(wire::value::encode(&value)),
                            replace,
                        }),
                        Action::Set(value) => {
                            let value = if named.is_some() { &value } else { &other };
                            Asked::Set(SetOperation { value: Some(wire::value::encode(value)) })
                        }
                        Action::Increment(amount) => {
                            Asked::Increment(IncrementOperation { amount: Some(wire::value::encode(&amount)) })
                        }
                        Action::Append(items) => {
                            Asked::Append(AppendOperation { items: items.iter().map(wire::value::encode).collect() })
                        }
                        Action::Delete => Asked::Delete(DeleteOperation {}),
                        Action::Rollback { version } => Asked::Rollback(RollbackOperation { version }),
                    };
                    Operation {
                        name: operation.name.to_string(),
                        expected_version: operation.expected_version,
                        action: Some(action),
                    }
                });
                let (client_id, idempotency_key) =
                    named.map_or_else(Default::default, |(client, key)| (client.to_string(), key.to_string()));
                let operations = operations.collect();
                let (reason, author) = ("why".into(), "ann".into());
                WriteVariablesRequest {
                    session_id,
                    incarnation,
                    operations,
                    reason,
                    author,
                    client_id,
                    idempotency_key,
                }
                .encode_to_vec()
            };
            writes.zip(requests).map(request).collect()
        })
        .boxed()
}

fn arguments() -> BoxedStrategy<Option<MapValue>> {
    let entry =
        ("[abt]", any_value()).prop_map(|(key, value)| MapEntry { key, value: Some(wire::value::encode(&value)) });
    prop::option::of(prop::collection::vec(entry, 0..3).prop_map(|entries| MapValue { entries })).boxed()
}

fn call() -> BoxedStrategy<CallToolRequest> {
    (session(), life(), name(), arguments(), "[a-c]{0,1}", span(), span())
        .prop_map(|(session_id, incarnation, tool, arguments, call_id, timeout, default_timeout)| CallToolRequest {
            session_id,
            incarnation,
            tool,
            arguments,
            call_id,
            timeout,
            default_timeout,
            author: String::new(),
        })
        .boxed()
}

/// A request other than a write, and the method that it is for.
pub(super) fn request() -> BoxedStrategy<(&'static str, Vec<u8>)> {
    fn of<M: Message>(
        method: &'static str,
        message: impl Strategy<Value = M> + 'static,
    ) -> BoxedStrategy<(&'static str, Vec<u8>)> {
        message.prop_map(move |message| (method, message.encode_to_vec())).boxed()
    }
    let life_of = || (session(), life());
    let revision = || prop::sample::select(vec![0, 0, 1, 3, 9, u64::MAX]);
    let create = (session(), life(), span(), labels()).prop_map(|(session_id, incarnation, ttl, metadata)| {
        CreateSessionRequest { session_id, incarnation, ttl, metadata: metadata.into_iter().collect() }
    });
    let get = (life_of(), names(), any::<bool>()).prop_map(|((session_id, incarnation), names, allow_missing)| {
        GetVariablesRequest { session_id, incarnation, names, allow_missing }
    });
    let list = (life_of(), paging()).prop_map(|((session_id, incarnation), (pattern, page_size, page_token))| {
        ListVariablesRequest { session_id, incarnation, pattern, page_size, page_token }
    });
    let versions =
        (life_of(), name(), paging()).prop_map(|((session_id, incarnation), name, (_, page_size, page_token))| {
            ListVariableVersionsRequest { session_id, incarnation, name, page_size, page_token }
        });
    let sync = (life_of(), revision(), names(), names()).prop_map(
        |((session_id, incarnation), known_revision, names, new_names)| SyncVariablesRequest {
            session_id,
            incarnation,
            known_revision,
            names,
            new_names,
        },
    );
    let watch =
        (life_of(), revision(), names(), names(), paging(), 0..4).prop_map(
            |((session_id, incarnation), known_revision, names, new_names, (pattern, ..), mode)| {
                WatchVariablesRequest { session_id, incarnation, mode, names, pattern, known_revision, new_names }
            },
        );
    let tools = (life_of(), paging()).prop_map(|((session_id, incarnation), (pattern, page_size, page_token))| {
        ListToolsRequest { session_id, incarnation, pattern, page_size, page_token }
    });
    let tool = (life_of(), name()).prop_map(|((session_id, incarnation), tool)| GetToolRequest {
        session_id,
        incarnation,
        tool,
    });
    let cancel = (life_of(), "[a-c]").prop_map(|((session_id, incarnation), call_id)| CancelCallRequest {
        session_id,
        incarnation,
        call_id,
        author: String::new(),
    });
    let record = (life_of(), "[a-c]").prop_map(|((session_id, incarnation), call_id)| GetCallRequest {
        session_id,
        incarnation,
        call_id,
    });
    let sessions =
        paging().prop_map(|(pattern, page_size, page_token)| ListSessionsRequest { pattern, page_size, page_token });
    prop_oneof![
        3 => of("SessionService/CreateSession", create),
        1 => of("SessionService/GetSession", session().prop_map(|session_id| GetSessionRequest { session_id })),
        1 => of("SessionService/ListSessions", sessions),
        1 => of("SessionService/DeleteSession", life_of()
            .prop_map(|(session_id, incarnation)| DeleteSessionRequest { session_id, incarnation })),
        2 => of("VariableService/GetVariables", get),
        2 => of("VariableService/ListVariables", list),
        2 => of("VariableService/ListVariableVersions", versions),
        4 => of("VariableService/SyncVariables", sync),
        4 => of("VariableService/WatchVariables", watch),
        1 => of("ToolService/ListTools", tools),
        1 => of("ToolService/GetTool", tool),
        3 => of("ToolService/CallTool", call()),
        2 => of("ToolService/StreamTool", call().prop_map(|call| StreamToolRequest { call: Some(call) })),
        1 => of("ToolService/CancelCall", cancel),
        1 => of("ToolService/GetCall", record),
        1 => of("ServerService/GetServerInfo", Just(())),
    ]
    .boxed()
}

fn retry() -> BoxedStrategy<Option<RetryPolicy>> {
    let policy = (0..12_u32, span(), prop::sample::select(vec![0.0, 1.0, 2.0, f64::NAN, 1e300]), span());
    prop::option::weighted(0.3, policy)
        .prop_map(|policy| {
            policy.map(|(max_attempts, initial_backoff, multiplier, max_backoff)| RetryPolicy {
                max_attempts,
                initial_backoff,
                multiplier,
                max_backoff,
            })
        })
        .boxed()
}

fn offered() -> BoxedStrategy<ToolSpec> {
    (name(), prop::sample::select(SCHEMAS.to_vec()), any::<[bool; 2]>(), span(), retry(), 0..3_u32, labels())
        .prop_map(|(name, schema, [streaming, idempotent], timeout, retry, max_concurrency, metadata)| ToolSpec {
            name,
            description: String::new(),
            arguments_schema: schema.into(),
            result_schema: String::new(),
            streaming,
            idempotent,
            timeout,
            retry,
            max_concurrency,
            metadata: metadata.into_iter().collect(),
        })
        .boxed()
}

/// What a worker says first.
pub(super) fn hello() -> BoxedStrategy<Vec<u8>> {
    let session = prop::sample::select(vec![SESSION, SESSION, "", "t"]);
    let instance = prop::sample::select(vec!["", "one", "two"]);
    (session, life(), "[a-c]", 0..4_u32, instance, 0..4_u64)
        .prop_map(|(session_id, incarnation, worker_id, max_concurrency, instance, generation)| {
            let (session_id, label, instance) = (session_id.into(), String::new(), instance.into());
            let hello =
                WorkerHello { session_id, incarnation, worker_id, label, max_concurrency, instance, generation };
            ServeToolsRequest { event: Some(Said::Hello(hello)) }.encode_to_vec()
        })
        .boxed()
}

/// What a worker says then.
pub(super) fn said() -> BoxedStrategy<Vec<u8>> {
    let value = || any_value().prop_map(|value| Some(wire::value::encode(&value)));
    let dispatch = || 0..4_u64;
    let event = prop_oneof![
        6 => (any::<u64>(), prop::collection::vec(offered(), 0..4))
            .prop_map(|(request, tools)| Said::Offer(OfferTools { request, tools })),
        2 => (any::<u64>(), names()).prop_map(|(request, tools)| Said::Withdraw(WithdrawTools { request, tools })),
        3 => (dispatch(), value()).prop_map(|(dispatch, value)| Said::Result(DispatchResult { dispatch, value })),
        2 => (dispatch(), "[a-c]", any::<bool>()).prop_map(|(dispatch, message, retryable)| {
            let failure = ToolFailure { message, retryable, ..ToolFailure::default() };
            Said::Failure(DispatchFailure { dispatch, failure: Some(failure) })
        }),
        2 => (dispatch(), 0..3_u64, value())
            .prop_map(|(dispatch, sequence, value)| Said::Chunk(DispatchChunk { dispatch, sequence, value })),
        1 => Just(Said::Heartbeat(WorkerHeartbeat {})),
        1 => Just(Said::Drain(DrainWorker {})),
    ];
    event.prop_map(|event| ServeToolsRequest { event: Some(event) }.encode_to_vec()).boxed()
}
