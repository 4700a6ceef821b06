//! The server: built, given a listener, and run until it is told to stop.

mod incoming;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use snakepit_core::{
    access::Principal,
    config::{Limits, Windows},
    error::Error,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::TokenFile,
    audit::AuditLog,
    journal::{Home, Memory},
    metrics::Metrics,
    monitoring,
    service::{
        self,
        context::{Access, Serving},
    },
    store::{Clock, Store},
    tls::ServerTls,
    tool::{BreakerPolicy, Tool, hub::Hub},
};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a graceful stop waits for clients that do not let go.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A session server. See [`Server::builder`].
#[derive(Debug)]
pub struct Server;

impl Server {
    /// A server that keeps its sessions in memory, with default limits. Change what should differ, then
    /// [`serve`](Builder::serve).
    pub fn builder() -> Builder<Memory> {
        if let Some(fault) = snakepit_fault::chosen() {
            tracing::error!(?fault, "THIS SERVER HAS AN INJECTED FAULT and makes mistakes: it is only for tests");
        }
        Builder {
            home: Memory,
            limits: Limits::default(),
            windows: Windows::default(),
            access: Access::Everyone(Principal::anonymous()),
            heartbeat: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(1),
            breaker: BreakerPolicy::default(),
            tools: Vec::new(),
            tls: None,
            audit: None,
            metrics: None,
            insecure: false,
            wall_clock: SystemTime::now,
        }
    }
}

/// Why a server could not be run, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A native tool cannot be offered: its name or its schema is none, or there are two of one name.
    #[error("a native tool cannot be offered: {0}")]
    Tool(#[from] Error),
    /// The connections failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// A server to be.
#[derive(Clone, Debug)]
pub struct Builder<H> {
    home: H,
    limits: Limits,
    windows: Windows,
    access: Access,
    heartbeat: Duration,
    sweep_interval: Duration,
    breaker: BreakerPolicy,
    tools: Vec<Tool>,
    tls: Option<ServerTls>,
    audit: Option<AuditLog>,
    metrics: Option<Arc<TcpListener>>,
    insecure: bool,
    wall_clock: fn() -> SystemTime,
}

impl<H: Home> Builder<H> {
    /// Where events become durable.
    #[must_use]
    pub fn journal<Other: Home>(self, home: Other) -> Builder<Other> {
        let Self { home: _, limits, windows, access, heartbeat, sweep_interval, breaker, tools, .. } = self;
        let Self { tls, audit, metrics, insecure, wall_clock, .. } = self;
        Builder {
            home,
            limits,
            windows,
            access,
            heartbeat,
            sweep_interval,
            breaker,
            tools,
            tls,
            audit,
            metrics,
            insecure,
            wall_clock,
        }
    }

    /// What the server accepts.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// How much of the past sessions keep.
    #[must_use]
    pub fn windows(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// Who every caller is, whatever they say.
    #[must_use]
    pub fn principal(self, principal: Principal) -> Self {
        Self { access: Access::Everyone(principal), ..self }
    }

    /// Answers those alone who have a token of this file, which is looked at for as long as the server runs.
    #[must_use]
    pub fn tokens(self, file: TokenFile) -> Self {
        Self { access: Access::Tokens(file), ..self }
    }

    /// How often a quiet watch says that it lives. 5 seconds unless told otherwise.
    #[must_use]
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }

    /// How often expired sessions are looked for. They are refused at once all the same.
    #[must_use]
    pub fn sweep_interval(self, sweep_interval: Duration) -> Self {
        Self { sweep_interval, ..self }
    }

    /// When a tool's calls stop going to a worker that fails, and when they go there again.
    #[must_use]
    pub fn breaker(self, breaker: BreakerPolicy) -> Self {
        Self { breaker, ..self }
    }

    /// Offers an async function of this program to every session: see [`Tool::new`].
    #[must_use]
    pub fn tool<A, F, R, T, E>(self, name: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.native_tool(Tool::new(name, function))
    }

    /// Offers a tool that this program runs itself to every session.
    #[must_use]
    pub fn native_tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Tells there who changed what, and who was refused.
    #[must_use]
    pub fn audit(self, log: AuditLog) -> Self {
        Self { audit: Some(log), ..self }
    }

    /// Tells there how the server fares, over HTTP: `/metrics` for Prometheus, `/livez` and `/readyz`. To whoever asks:
    /// docs/metrics.md says what. The caller binds, so it knows the address.
    #[must_use]
    pub fn metrics(self, listener: TcpListener) -> Self {
        Self { metrics: Some(Arc::new(listener)), ..self }
    }

    /// Reads this clock at the start instead of the system's, for the times that people are told.
    #[must_use]
    pub fn wall_clock(self, wall_clock: fn() -> SystemTime) -> Self {
        Self { wall_clock, ..self }
    }

    /// Encrypts.
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Says that strangers can reach this server, for clients that ask.
    #[must_use]
    pub fn insecure(self, insecure: bool) -> Self {
        Self { insecure, ..self }
    }

    /// Serves until `shutdown` resolves, then stops: refuses what is new, finishes what has begun, ends watches so
    /// that they can be resumed. The caller binds, so it knows the address.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let streams = u32::try_from(self.limits.streams_per_connection).unwrap_or(u32::MAX);
        let store = Store::beginning_at((self.wall_clock)(), self.home, self.limits, self.windows);
        let tools = Hub::start(store.limits(), self.breaker, Clock::start());
        tools.host(self.tools, store.limits().tool_schema_bytes)?;
        let (stopping, access) = (CancellationToken::new(), self.access);
        let serving = Arc::new(Serving {
            store: store.clone(),
            tools: tools.clone(),
            access: access.clone(),
            audit: self.audit,
            metrics: Metrics::default(),
            heartbeat: self.heartbeat,
            insecure: self.insecure,
            stopping: stopping.clone(),
        });
        let mut transport = tonic::transport::Server::builder();
        if let Some(tls) = &self.tls {
            transport = transport.tls_config(tls.config())?;
        }
        let served = transport
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(streams)
            .layer(service::middleware::request_info::Known)
            .add_routes(service::routes(&serving))
            .serve_with_incoming_shutdown(incoming::accept(listener), stopping.clone().cancelled_owned());
        let sweep_interval = self.sweep_interval;
        let sweep = async {
            let mut ticks = tokio::time::interval(sweep_interval);
            loop {
                ticks.tick().await;
                store.sweep().await;
                tools.sweep();
            }
        };
        let monitoring = monitoring::serve(self.metrics.as_deref(), &serving);
        let stop = async {
            shutdown.await;
            tracing::info!("stopping");
            stopping.cancel();
            tokio::time::sleep(STOP_WITHIN).await;
            tracing::warn!("some clients did not let go; stopping without them");
        };
        tokio::select! {
            ended = served => Ok(ended?),
            () = stop => Ok(()),
            () = sweep => Ok(()),
            () = access.follow() => Ok(()),
            () = monitoring => Ok(()),
        }
    }
}
