//! What the services share.

use std::time::Duration;

use snakepit_core::access::Principal;
use tokio_util::sync::CancellationToken;

use crate::{access::TokenFile, audit::AuditLog, metrics::Metrics, store::Store, tool::hub::Hub};

/// What the services share.
pub(crate) struct Serving {
    /// The sessions.
    pub(crate) store: Store,
    /// The tools.
    pub(crate) tools: Hub,
    /// Who calls.
    pub(crate) access: Access,
    /// What is counted of what they ask.
    pub(crate) metrics: Metrics,
    /// Where it is told who changed what.
    pub(crate) audit: Option<AuditLog>,
    /// How often a quiet watch says that it lives.
    pub(crate) heartbeat: Duration,
    /// Whether strangers can reach this server.
    pub(crate) insecure: bool,
    /// Ends watches when the server stops.
    pub(crate) stopping: CancellationToken,
}

/// How it is found out who calls.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// It is not: everyone is this.
    Everyone(Principal),
    /// By a token of this file.
    Tokens(TokenFile),
}

impl Access {
    /// Follows what may change of it. Never ends.
    pub(crate) async fn follow(&self) {
        match self {
            Self::Everyone(_) => std::future::pending().await,
            Self::Tokens(file) => file.follow().await,
        }
    }
}
