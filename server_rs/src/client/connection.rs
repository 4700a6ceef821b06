use std::{error::Error as _, time::Duration};

use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::server::API_VERSION;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection that tells the server which protocol it speaks.
pub type Connected = InterceptedService<Channel, Announce>;

/// Tells the server which protocol this client speaks.
#[derive(Clone, Copy, Debug)]
pub struct Announce;

impl Interceptor for Announce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("snakepit-api-version", MetadataValue::from(API_VERSION));
        Ok(request)
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("{address:?} is no address ({problem}); it takes HOST:PORT")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers there.
    #[error("no answer from a server at {address} ({cause})")]
    Unreachable {
        /// Where.
        address: String,
        /// As the system says.
        cause: String,
    },
}

/// Connects to the server at `address`, given as HOST:PORT.
pub async fn channel(address: &str) -> Result<Channel, ConnectError> {
    let wrong = |problem: String| ConnectError::Address { address: address.to_owned(), problem };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| wrong(error.to_string()))?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        ConnectError::Unreachable { address: address.to_owned(), cause }
    })
}
