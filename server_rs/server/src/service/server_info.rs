use std::sync::Arc;

use snakepit_proto::{
    API_VERSION,
    v1::{Durability, GetServerInfoRequest, GetServerInfoResponse, Limits, server_service_server::ServerService},
};
use tonic::{Request, Response, Status};

use crate::{
    journal,
    service::{context::Serving, convert},
};

pub(super) struct ServerInfo(pub(super) Arc<Serving>);

#[tonic::async_trait]
impl ServerService for ServerInfo {
    async fn get_server_info(
        &self,
        _request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let limits = self.0.store.limits();
        let durability = match self.0.store.durability() {
            journal::Durability::Ephemeral => Durability::Ephemeral,
            journal::Durability::Disk => Durability::Disk,
        };
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            api_version: API_VERSION,
            durability: durability.into(),
            insecure: self.0.insecure,
            heartbeat_interval: convert::duration(self.0.heartbeat),
            read_only_cause: self.0.store.health().trouble().unwrap_or_default().to_string(),
            limits: Some(Limits {
                value_bytes: limits.value_bytes,
                session_value_bytes: limits.session_value_bytes,
                variables_per_session: limits.variables_per_session,
                sessions: limits.sessions,
                batch_operations: limits.batch_operations,
                batch_bytes: limits.batch_bytes,
                message_bytes: limits.message_bytes,
                streams_per_connection: limits.streams_per_connection,
                watchers_per_session: limits.watchers_per_session,
                tools_per_session: limits.tools_per_session,
                queued_calls_per_tool: limits.queued_calls_per_tool,
                tool_schema_bytes: limits.tool_schema_bytes,
                requests_per_second: limits.requests_per_second,
            }),
        }))
    }
}
