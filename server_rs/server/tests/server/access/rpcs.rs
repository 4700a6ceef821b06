//! Which rpcs a token opens. The rpcs are those of the descriptors, so that a new one cannot be forgotten.

use prost::{Message as _, bytes::Bytes};
use prost_types::{DescriptorProto, FileDescriptorSet};
use snakepit_proto::v1::DESCRIPTORS;
use tonic::{Code, Status};

use crate::support::{
    guarded::{ALL, Guarded, Holder},
    raw::{self, field},
    setup::*,
};

/// A method, and where its request names a session: the numbers of the fields that lead there.
struct Rpc {
    name: String,
    session: Option<Vec<u8>>,
}

impl Rpc {
    fn path(&self) -> String {
        format!("/snakepit_bridge.v1.{}", self.name)
    }

    /// A request that names this session, and no more.
    fn request(&self, session: &str) -> Bytes {
        let nested = |content: Vec<u8>, number: &u8| field(*number, &content);
        let path = self.session.iter().flatten().rev();
        path.fold(session.as_bytes().to_vec(), nested).into()
    }
}

fn rpcs() -> Vec<Rpc> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let files: Vec<_> = files.into_iter().filter(|file| file.package() == "snakepit_bridge.v1").collect();
    let messages: Vec<&DescriptorProto> = files.iter().flat_map(|file| &file.message_type).collect();
    let services = files.iter().flat_map(|file| &file.service);
    let rpcs: Vec<Rpc> = services
        .flat_map(|service| service.method.iter().map(move |method| (service, method)))
        .map(|(service, method)| Rpc {
            name: format!("{}/{}", service.name(), method.name()),
            session: session_in(&messages, method.input_type(), 2),
        })
        .collect();
    assert!(rpcs.len() >= 18, "{} rpcs", rpcs.len());
    rpcs
}

fn session_in(messages: &[&DescriptorProto], name: &str, depth: u8) -> Option<Vec<u8>> {
    let short = name.rsplit('.').next().unwrap();
    let message = messages.iter().find(|message| message.name() == short)?;
    let number = |field: &prost_types::FieldDescriptorProto| u8::try_from(field.number()).unwrap();
    if let Some(field) = message.field.iter().find(|field| field.name() == "session_id") {
        return Some(vec![number(field)]);
    }
    let mut inner = message.field.iter().filter(|field| depth > 1 && !field.type_name().is_empty());
    inner.find_map(|field| {
        let rest = session_in(messages, field.type_name(), depth - 1)?;
        Some([vec![number(field)], rest].concat())
    })
}

/// The reason for which a request is refused, or whatever else comes of it.
async fn reason(rpc: &Rpc, holder: Option<&Holder>, server: &Guarded, session: &str) -> Result<String, Status> {
    let answer = match holder {
        Some(holder) => raw::first(holder.carried.clone(), &rpc.path(), rpc.request(session)).await,
        None => raw::first(server.server.connect().await, &rpc.path(), rpc.request(session)).await,
    };
    let status = match answer {
        Ok(()) => return Ok("answered".into()),
        Err(status) => status,
    };
    assert_ne!(status.code(), Code::Unimplemented, "{} is in no table", rpc.name);
    let denied = matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
    if denied { Err(status) } else { Ok(format!("{:?}", status.code())) }
}

#[tokio::test]
async fn no_rpc_is_answered_without_a_token() {
    let server = Guarded::start(&[("all", ALL, "*")]).await;
    for rpc in rpcs() {
        let refused = refused(reason(&rpc, None, &server, "s").await);
        assert_eq!((refused.code, &*refused.reason), (Code::Unauthenticated, "UNAUTHENTICATED"), "{}", rpc.name);
        assert!(!refused.fact("role").is_empty());
    }
}

#[tokio::test]
async fn a_role_opens_its_rpcs_and_no_other() {
    let users = ["ServerService/GetServerInfo", "SessionService/CreateSession", "SessionService/GetSession"];
    let tools = ["ToolService/ListTools", "ToolService/GetTool"];
    let reading = [
        "SessionService/ListSessions",
        "VariableService/GetVariables",
        "VariableService/ListVariables",
        "VariableService/ListVariableVersions",
        "VariableService/SyncVariables",
        "VariableService/WatchVariables",
    ];
    let calling = ["ToolService/CallTool", "ToolService/StreamTool", "ToolService/CancelCall", "ToolService/GetCall"];
    let opened: [(&str, Vec<&str>); 6] = [
        ("read", [&users[..], &tools, &reading].concat()),
        ("write", [&users[..], &["VariableService/WriteVariables"]].concat()),
        ("call_tool", [&users[..], &tools, &calling].concat()),
        ("offer_tool", [&users[..], &tools, &["ToolService/ServeTools"]].concat()),
        ("read_secret", vec![users[0]]),
        ("admin", vec![users[0], "SessionService/DeleteSession"]),
    ];
    let tokens: Vec<_> = opened.iter().map(|(role, _)| (*role, *role, "*")).collect();
    let server = Guarded::start(&tokens).await;
    server.holder("write").await.open("s").await.unwrap();
    for (role, opened) in opened {
        let holder = server.holder(role).await;
        for rpc in rpcs() {
            match reason(&rpc, Some(&holder), &server, "s").await {
                Ok(_) => assert!(opened.contains(&&*rpc.name), "{role} opens {}", rpc.name),
                Err(status) => {
                    assert!(!opened.contains(&&*rpc.name), "{role} does not open {}: {status}", rpc.name);
                    let refused = refused::<()>(Err(status));
                    assert_eq!((refused.code, &*refused.reason), (Code::PermissionDenied, "PERMISSION_DENIED"));
                    assert!(!refused.fact("role").is_empty() && refused.fact("role") != role);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_a_token_is_not_for_is_refused_whether_it_is_there_or_not() {
    let server = Guarded::start(&[("all", ALL, "*"), ("mine", ALL, "mine-* shared")]).await;
    let (all, mine) = (server.holder("all").await, server.holder("mine").await);
    for session in ["theirs", "mine-1"] {
        assert!(all.open(session).await.unwrap());
    }
    let mut without = Vec::new();
    for rpc in rpcs() {
        if rpc.session.is_none() {
            without.push(rpc.name);
            continue;
        }
        let outside = ["theirs", "nowhere", "Mine-1", "shared2"];
        let mut told = Vec::new();
        for session in outside {
            let refused = refused(reason(&rpc, Some(&mine), &server, session).await);
            assert_eq!((&*refused.reason, refused.fact("session")), ("PERMISSION_DENIED", session), "{}", rpc.name);
            told.push((refused.code, refused.facts.len(), refused.fact("role").to_owned()));
        }
        assert!(told.windows(2).all(|two| two[0] == two[1]), "{}: {told:?}", rpc.name);
        reason(&rpc, Some(&mine), &server, "mine-1").await.unwrap();
    }
    // A new rpc that names no session is looked at by whoever adds it here.
    without.sort();
    assert_eq!(without, ["ServerService/GetServerInfo", "SessionService/ListSessions"]);
}

#[tokio::test]
async fn a_worker_for_all_sessions_takes_a_token_for_all() {
    let server = Guarded::start(&[("some", ALL, "a* b*"), ("all", ALL, "x *")]).await;
    let rpc = rpcs().into_iter().find(|rpc| rpc.name == "ToolService/ServeTools").unwrap();
    let hello = Bytes::from(field(1, &[field(3, b"worker"), vec![5 << 3, 1]].concat()));
    let some = raw::first(server.holder("some").await.carried, &rpc.path(), hello.clone()).await;
    let refused = refused(some);
    assert_eq!((&*refused.reason, refused.fact("session")), ("PERMISSION_DENIED", "*"));
    let all = raw::first(server.holder("all").await.carried, &rpc.path(), hello).await;
    all.unwrap();
}
