use std::time::Duration;

use snakepit_core::error::innermost;
use snakepit_proto::API_VERSION;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::ClientTls;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How much a stream may have unread: what bounds the memory that one takes.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// All streams together: no further bound. The h2 crate ends a connection on which small frames are unread whose count,
/// by 256 bytes each, is half of this; they would all be of watches that nobody reads, and it would end all calls.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A connection that tells the server which protocol it speaks, and who does.
pub type Connected = InterceptedService<Channel, Announce>;

/// How a client shows who it is, and knows the server. By default it does neither.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    tls: Option<ClientTls>,
}

impl Credentials {
    /// With a token.
    pub fn token(self, token: &str) -> Result<Self, ConnectError> {
        let usable = token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.is_empty();
        let header = format!("Bearer {token}").parse::<MetadataValue<Ascii>>().ok().filter(|_| usable);
        let mut header = header.ok_or(ConnectError::Token)?;
        // Keeps it out of debug output, and of compression tables.
        header.set_sensitive(true);
        Ok(Self { token: Some(header), ..self })
    }

    /// With encryption.
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self { tls: Some(tls), ..self }
    }
}

/// Tells the server which protocol this client speaks, and whose token it has.
#[derive(Clone, Debug, Default)]
pub struct Announce {
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Announce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("snakepit-api-version", MetadataValue::from(API_VERSION));
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
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
    /// The token cannot be one.
    #[error("the token has to be of printable ASCII characters, without spaces")]
    Token,
    /// Server and client do not trust each other.
    #[error("no encrypted connection to {address}: {problem}")]
    Untrusted {
        /// Where.
        address: String,
        /// Why.
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
pub async fn connect(address: &str, credentials: &Credentials) -> Result<Connected, ConnectError> {
    let wrong = |problem: String| ConnectError::Address { address: address.to_owned(), problem };
    let untrusted = |problem: String| ConnectError::Untrusted { address: address.to_owned(), problem };
    let scheme = if credentials.tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|error| wrong(error.to_string()))?
        .connect_timeout(CONNECT_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true);
    if let Some(tls) = &credentials.tls {
        endpoint = endpoint.tls_config(tls.config()).map_err(|error| untrusted(innermost(&error)))?;
    }
    let channel = endpoint.connect().await.map_err(|error| {
        let cause = innermost(&error);
        if credentials.tls.is_some() && (cause.contains("certificate") || cause.contains("alert")) {
            return untrusted(cause);
        }
        ConnectError::Unreachable { address: address.to_owned(), cause }
    })?;
    Ok(Connected::new(channel, Announce { token: credentials.token.clone() }))
}
