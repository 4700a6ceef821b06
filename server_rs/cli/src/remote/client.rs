use std::{fs, path::PathBuf};

use clap::builder::FalseyValueParser;
use snakepit_client::{self as client, ClientTls, ConnectError, Connected, Credentials};

use crate::Failure;

/// Where the server is, and how it is known.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct At {
    /// The server.
    #[arg(long, global = true, env = "SNAKEPIT_ADDRESS", default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    pub(crate) address: String,
    #[command(flatten)]
    trust: Trust,
}

/// How a command shows who it is, and knows the server. A token is in the environment or in a file: never on the command
/// line, where everybody on the machine can read it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
struct Trust {
    /// The file that holds the token; without one it is that of `SNAKEPIT_TOKEN`.
    #[arg(long, global = true, env = "SNAKEPIT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Encrypt, and trust the servers that this system trusts.
    #[arg(long, global = true, env = "SNAKEPIT_TLS", value_parser = FalseyValueParser::new())]
    tls: bool,
    /// Encrypt, and trust the servers whose certificate this one has signed.
    #[arg(long, global = true, env = "SNAKEPIT_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Show this certificate to the server; needs its key too.
    #[arg(long, global = true, env = "SNAKEPIT_TLS_CLIENT_CERT", value_name = "FILE")]
    tls_client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, global = true, env = "SNAKEPIT_TLS_CLIENT_KEY", value_name = "FILE")]
    tls_client_key: Option<PathBuf>,
}

impl Trust {
    fn credentials(&self) -> Result<Credentials, Failure> {
        let mut credentials = Credentials::default();
        if let Some(token) = self.token()? {
            credentials = credentials.token(&token).map_err(|error| Failure::failed(error.to_string()))?;
        }
        let identity = match (&self.tls_client_cert, &self.tls_client_key) {
            (Some(cert), Some(key)) => Some((&**cert, &**key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::failed("--tls-client-cert and --tls-client-key go together"));
            }
        };
        if self.tls || self.tls_ca.is_some() || identity.is_some() {
            credentials = credentials.tls(ClientTls::read(self.tls_ca.as_deref(), identity).map_err(Failure::Failed)?);
        }
        Ok(credentials)
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.token_file else {
            return Ok(std::env::var("SNAKEPIT_TOKEN").ok().filter(|token| !token.is_empty()));
        };
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// Connects to a server.
pub(crate) async fn connect(at: &At) -> Result<Connected, Failure> {
    client::connect(&at.address, &at.trust.credentials()?).await.map_err(|error| match error {
        ConnectError::Address { .. } | ConnectError::Token | ConnectError::Untrusted { .. } => {
            Failure::failed(error.to_string())
        }
        ConnectError::Unreachable { address, cause } => Failure::unreachable(&address, &cause),
    })
}
