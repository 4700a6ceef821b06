use snakepit_server::{
    client::{Announce, ConnectError, Connected, channel},
    proto::variable_service_client::VariableServiceClient,
};

use super::Failure;

/// A client of a server's variables.
pub(super) type Client = VariableServiceClient<Connected>;

/// Connects to the server at `address`, given as HOST:PORT.
pub(super) async fn connect(address: &str) -> Result<Client, Failure> {
    let channel = channel(address).await.map_err(|error| match error {
        ConnectError::Address { .. } => Failure::failed(error.to_string()),
        ConnectError::Unreachable { address, cause } => Failure::unreachable(&address, &cause),
    })?;
    Ok(VariableServiceClient::with_interceptor(channel, Announce).max_decoding_message_size(usize::MAX))
}
