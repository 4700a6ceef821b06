use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;
use snakepit_core::{
    config::Windows,
    session::SessionId,
    testing::{
        commands::windows,
        fuzz::{config, edge, harmed},
    },
};
use snakepit_proto::v1::{
    CreateSessionRequest, GetVariablesRequest, Operation, RegisterOperation, SetOperation, Value, VariableSpec,
    VariableType, WriteVariablesRequest, operation::Action, value::Kind,
};
use tokio::time::timeout;
use tonic::Code;

use super::{Services, frame, half_open, is_told, runtime, seeds, whole};

/// A session that nobody else means.
const BYSTANDER: &str = "somebody-elses-session";
/// How many hostile requests one case sends.
const REQUESTS: u32 = 16;

fn create(id: &str, incarnation: [u8; 16]) -> Vec<u8> {
    let incarnation = incarnation.to_vec().into();
    CreateSessionRequest { session_id: id.into(), incarnation, ..CreateSessionRequest::default() }.encode_to_vec()
}

fn write(action: Action) -> Vec<u8> {
    let operation = Operation { name: "n".into(), expected_version: None, action: Some(action) };
    let operations = vec![operation];
    WriteVariablesRequest { session_id: BYSTANDER.into(), operations, ..WriteVariablesRequest::default() }
        .encode_to_vec()
}

fn integer(number: i64) -> Value {
    Value { kind: Some(Kind::Int64Value(number)) }
}

impl Services {
    /// A call that has to succeed, however long the clock runs.
    async fn served(&self, method: &str, message: &[u8]) {
        let status = timeout(Duration::from_secs(86_400), self.call(method, whole(frame(message)))).await.unwrap();
        let status = status.unwrap();
        assert_eq!(status.code(), Code::Ok, "{method}: {status:?}");
    }

    /// A session of a bystander, and one for the hostile.
    async fn open(&self) {
        self.served("SessionService/CreateSession", &create(seeds::SESSION, seeds::LIFE)).await;
        self.served("SessionService/CreateSession", &create(BYSTANDER, [1; 16])).await;
        let spec = VariableSpec { r#type: VariableType::Integer.into(), ..VariableSpec::default() };
        let register = RegisterOperation { spec: Some(spec), value: Some(integer(0)), replace: false };
        self.served("VariableService/WriteVariables", &write(Action::Register(register))).await;
    }

    /// Sends what is hostile. Whatever it asks for ends, or tells something, within a time that a request can name.
    async fn suffer(&self, method: &str, body: tonic::body::Body) {
        // A call that nobody answers may take as long as it asked for; its caller gives up.
        if let Ok(Some(status)) = timeout(Duration::from_secs(300), self.call(method, body)).await {
            assert!(is_told(&status), "{method}: {status:?}");
        }
    }

    /// Whether all is well afterwards: the bystander is served, no watch is left, and every event replays.
    async fn check(&self, windows: &Windows) {
        for number in [1, 2] {
            let set = Action::Set(SetOperation { value: Some(integer(number)) });
            self.served("VariableService/WriteVariables", &write(set)).await;
        }
        let names = vec!["n".into()];
        let get = GetVariablesRequest { session_id: BYSTANDER.into(), names, ..GetVariablesRequest::default() };
        self.served("VariableService/GetVariables", &get.encode_to_vec()).await;
        // What was begun and dropped is gone once its task has run.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let store = &self.serving.store;
        for view in store.sessions(None) {
            let id: &SessionId = &view.state.id;
            let watches = [store.watch(id).await, store.watch(id).await];
            assert!(watches.iter().all(Result::is_ok), "a watch of {id} was left open");
        }
        let events = self.witness.check(windows);
        assert!(events >= 5, "at least those of the bystander");
    }
}

/// Requests, some of them harmed, in the order in which they are sent.
fn requests() -> BoxedStrategy<Vec<(&'static str, Vec<u8>)>> {
    let writes = seeds::writes().prop_flat_map(|writes| {
        let harmed: Vec<_> = writes.into_iter().take(11).map(|write| harmed(Just(write)).boxed()).collect();
        harmed.prop_map(|writes| {
            writes.into_iter().map(|write| ("VariableService/WriteVariables", write)).collect::<Vec<_>>()
        })
    });
    let other = seeds::request().prop_flat_map(|(method, bytes)| (Just(method), harmed(Just(bytes))));
    let others = prop::collection::vec((any::<prop::sample::Index>(), other), REQUESTS as usize);
    (writes, others)
        .prop_map(|(mut requests, others)| {
            for (place, request) in others {
                if requests.len() < REQUESTS as usize {
                    requests.insert(place.index(requests.len() + 1), request);
                }
            }
            requests
        })
        .boxed()
}

/// What a frame says of itself, and whether anything comes after it.
fn frames() -> BoxedStrategy<(&'static str, Vec<u8>, bool)> {
    let request = prop_oneof![
        (Just("VariableService/WriteVariables"), seeds::writes().prop_map(|mut writes| writes.swap_remove(0))),
        seeds::request(),
        (Just("ToolService/ServeTools"), seeds::hello()),
    ];
    let flag = prop::sample::select(vec![0, 0, 1, 2, 255]);
    let length = prop_oneof![
        3 => edge().prop_map(|length| u32::try_from(length).unwrap_or(u32::MAX)),
        1 => 0..40_u32,
    ];
    let harm = (flag, prop::option::of(length), 0..3_usize, prop::bool::weighted(0.2), any::<bool>());
    (request, harm)
        .prop_map(|((method, message), (flag, length, more, torn, open))| {
            let mut frames = frame(&message);
            frames[0] = flag;
            if let Some(length) = length {
                frames[1..5].copy_from_slice(&length.to_be_bytes());
            }
            frames.extend(frame(&message).repeat(more));
            if torn {
                frames.truncate(frames.len() / 2);
            }
            (method, frames, open)
        })
        .boxed()
}

proptest! {
    #![proptest_config(config(500, REQUESTS))]

    #[test]
    fn whatever_is_asked_a_bystander_is_served_and_every_event_replays(requests in requests(), windows in windows()) {
        runtime().block_on(async {
            let services = Services::start();
            services.open().await;
            for (method, bytes) in &requests {
                services.suffer(method, whole(frame(bytes))).await;
            }
            services.check(&windows).await;
        });
    }
}

proptest! {
    #![proptest_config(config(50, 8))]

    #[test]
    fn frames_that_lie_about_themselves_harm_nobody(
        frames in prop::collection::vec(frames(), 8), windows in windows(),
    ) {
        runtime().block_on(async {
            let services = Services::start();
            services.open().await;
            for (method, bytes, open) in frames {
                let body = if open { half_open(bytes) } else { whole(bytes) };
                services.suffer(method, body).await;
            }
            services.check(&windows).await;
        });
    }

    #[test]
    fn whatever_workers_say_a_bystander_is_served(
        workers in prop::collection::vec((seeds::hello(), prop::collection::vec(harmed(seeds::said()), 1..6)), 1..4),
        others in requests(), windows in windows(), open in any::<bool>(),
    ) {
        runtime().block_on(async {
            let services = Services::start();
            services.open().await;
            let said = |(hello, said): &(Vec<u8>, Vec<Vec<u8>>)| {
                let said: Vec<u8> = std::iter::once(hello).chain(said).flat_map(|message| frame(message)).collect();
                if open { half_open(said) } else { whole(said) }
            };
            let workers = workers.iter().map(|worker| services.suffer("ToolService/ServeTools", said(worker)));
            let callers = async {
                for (method, bytes) in &others {
                    services.suffer(method, whole(frame(bytes))).await;
                }
            };
            tokio::join!(futures_util::future::join_all(workers), callers);
            services.check(&windows).await;
        });
    }
}
