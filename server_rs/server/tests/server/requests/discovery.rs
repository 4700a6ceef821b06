//! What a stranger's client finds out: reflection, health, server facts.

use futures_util::stream;
use snakepit_core::config::Limits;
use snakepit_proto::v1::{Durability, GetServerInfoRequest, server_service_client::ServerServiceClient};
use snakepit_server::{journal::testing::gated, server::Server};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::setup::*;

#[tokio::test]
async fn the_server_says_what_it_is_and_accepts() {
    let limits = Limits { sessions: 7, ..Limits::default() };
    let heartbeat = std::time::Duration::from_millis(1_500);
    let server = TestServer::of(Server::builder().limits(limits).heartbeat(heartbeat)).await;
    let mut client = ServerServiceClient::new(server.connect().await);
    let info = client.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.version.as_str(), info.api_version), (env!("CARGO_PKG_VERSION"), 1));
    assert_eq!((info.durability(), info.insecure), (Durability::Ephemeral, false));
    assert_eq!(info.heartbeat_interval, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    let told = info.limits.unwrap();
    assert_eq!((told.sessions, told.value_bytes, told.message_bytes), (7, 16 << 20, 32 << 20));
}

#[tokio::test]
async fn durability_is_what_the_journal_promises() {
    let (home, _gate) = gated();
    let server = TestServer::of(Server::builder().journal(home)).await;
    let mut client = ServerServiceClient::new(server.connect().await);
    let info = client.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.durability(), Durability::Disk);
}

#[tokio::test]
async fn every_service_is_healthy_and_stops_being_so() {
    let server = TestServer::start().await;
    let mut client = HealthClient::new(server.connect().await);
    for service in ["", "SessionService", "VariableService", "ServerService"] {
        let service = if service.is_empty() { String::new() } else { format!("snakepit_bridge.v1.{service}") };
        let answer = client.check(HealthCheckRequest { service }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.tell_to_stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_lists_the_services_and_knows_their_files() {
    let server = TestServer::start().await;
    let mut client = ServerReflectionClient::new(server.connect().await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("snakepit_bridge.v1.VariableService".into())),
    ];
    let mut answers = client.server_reflection_info(stream::iter(questions)).await.unwrap().into_inner();
    let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["SessionService", "VariableService", "ServerService"] {
        assert!(names.contains(&&*format!("snakepit_bridge.v1.{service}")), "{names:?}");
    }
    let file = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(file, MessageResponse::FileDescriptorResponse(file) if !file.file_descriptor_proto.is_empty()));
}
