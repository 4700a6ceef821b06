//! The gRPC services: parse, call the store, answer.

pub(crate) mod context;
mod convert;
mod hello;
#[cfg(test)]
mod hostile;
pub(crate) mod middleware;
mod page;
mod server_info;
mod session;
mod tool;
mod variable;
mod watch;
mod worker;

use std::sync::Arc;

use futures_util::FutureExt as _;
use snakepit_proto::v1::{
    DESCRIPTORS, server_service_server::ServerServiceServer, session_service_server::SessionServiceServer,
    tool_service_server::ToolServiceServer, variable_service_server::VariableServiceServer,
};
use tonic::{server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

use context::Serving;
use middleware::{auth::Gate, metrics::Measured, rate_limit::Pace};
use server_info::ServerInfo;
use session::Sessions;
use tool::Tools;
use variable::Variables;

/// Everything this server answers: its own services behind the gate; health and reflection, which tell nothing of what
/// it holds, in front of it.
pub(crate) fn routes(serving: &Arc<Serving>) -> Routes {
    let limit = usize::try_from(serving.store.limits().message_bytes).unwrap_or(usize::MAX);
    let sessions = SessionServiceServer::new(Sessions(Arc::clone(serving))).max_decoding_message_size(limit);
    let variables = VariableServiceServer::new(Variables(Arc::clone(serving))).max_decoding_message_size(limit);
    let server = ServerServiceServer::new(ServerInfo(Arc::clone(serving))).max_decoding_message_size(limit);
    let tools = ToolServiceServer::new(Tools(Arc::clone(serving))).max_decoding_message_size(limit);
    let health = HealthReporter::new();
    report(&health, ServingStatus::Serving);
    let rpcs = &serving.metrics.rpcs;
    let pace = Arc::new(Pace::new(serving.store.limits().requests_per_second));
    let routes = Routes::new(Measured::new(Gate::new(sessions, serving, &pace), rpcs))
        .add_service(Measured::new(Gate::new(variables, serving, &pace), rpcs))
        .add_service(Measured::new(Gate::new(tools, serving, &pace), rpcs))
        .add_service(Measured::new(Gate::new(server, serving, &pace), rpcs))
        .add_service(tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(health.clone()),
        ));
    let stopping = serving.stopping.clone();
    let mut writable = serving.store.health().subscribe();
    tokio::spawn(async move {
        loop {
            let works = writable.borrow_and_update().is_none();
            tell(&health, JOURNAL, if works { ServingStatus::Serving } else { ServingStatus::NotServing });
            tokio::select! {
                () = stopping.cancelled() => break,
                changed = writable.changed() => if changed.is_err() { stopping.cancelled().await },
            }
        }
        report(&health, ServingStatus::NotServing);
    });
    reflect(routes)
}

/// What the health service calls the journal: not serving while nothing can be written.
const JOURNAL: &str = "journal";

/// Reports all of this server's services at once. The reporter's lock is only ever held for a moment.
fn report(health: &HealthReporter, status: ServingStatus) {
    let names = [
        "",
        SessionServiceServer::<Sessions>::NAME,
        VariableServiceServer::<Variables>::NAME,
        ToolServiceServer::<Tools>::NAME,
        ServerServiceServer::<ServerInfo>::NAME,
    ];
    for name in names {
        tell(health, name, status);
    }
}

fn tell(health: &HealthReporter, name: &'static str, status: ServingStatus) {
    if health.set_service_status(name, status).now_or_never().is_none() {
        tracing::warn!(service = name, "its health could not be reported");
    }
}

fn reflect(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "serving without reflection");
            routes
        }
    }
}
