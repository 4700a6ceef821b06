use std::time::Duration;

use snakepit_server::{proto::variable_service_client::VariableServiceClient, server::API_VERSION};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::Failure;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A client of a server's variables.
pub(super) type Client = VariableServiceClient<InterceptedService<Channel, Announce>>;

/// Tells the server which protocol this client speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announce;

impl Interceptor for Announce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("snakepit-api-version", MetadataValue::from(API_VERSION));
        Ok(request)
    }
}

/// Connects to the server at `address`, given as HOST:PORT.
pub(super) async fn connect(address: &str) -> Result<Client, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Failure::failed(format!("{address:?} is no address ({error}); it takes HOST:PORT")))?
        .connect_timeout(CONNECT_WITHIN);
    let channel = endpoint.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::unreachable(address, &cause)
    })?;
    Ok(VariableServiceClient::with_interceptor(channel, Announce).max_decoding_message_size(usize::MAX))
}
