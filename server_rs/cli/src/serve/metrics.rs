use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::Failure;

/// Where the server tells how it fares.
#[derive(Debug, clap::Args)]
pub(crate) struct MetricsFlags {
    /// Tell there, over HTTP, how the server fares: /metrics for Prometheus, /livez and /readyz. Nobody is asked who they
    /// are, so an address that is not this machine's own takes --insecure. Port 0 takes any free one.
    #[arg(long, env = "SNAKEPIT_METRICS_LISTEN", value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
}

impl MetricsFlags {
    /// The listener and where it is, if there is to be one.
    pub(crate) async fn bind(&self, insecure: bool) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
        // An empty variable is how some say that they want none.
        let Some(listen) = self.metrics_listen.as_deref().filter(|listen| !listen.is_empty()) else { return Ok(None) };
        let looked_up = tokio::net::lookup_host(listen).await;
        let addresses: Vec<SocketAddr> = looked_up
            .map_err(|error| {
                Failure::failed(format!("cannot tell metrics on {listen:?}: {error}; it takes HOST:PORT"))
            })?
            .collect();
        if !insecure && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(Failure::failed(format!(
                "metrics on {listen} are open to other machines, and nobody is asked there who they are: use \
                 --metrics-listen 127.0.0.1:PORT, with a proxy in front for others, or accept with --insecure that anyone \
                 who reaches it can read how the server fares"
            )));
        }
        let cannot = |error: io::Error| {
            let advice = if error.kind() == io::ErrorKind::AddrInUse {
                "; another server may tell its own there: choose another address with --metrics-listen HOST:PORT (port \
                 0: any free one)"
            } else {
                ""
            };
            Failure::failed(format!("cannot tell metrics on {listen}: {error}{advice}"))
        };
        let listener = TcpListener::bind(&addresses[..]).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Some((listener, address)))
    }
}
