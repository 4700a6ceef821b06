//! Encryption: what a server proves itself by, and whom it lets in.

use std::{fmt, fs, path::Path, time::Duration};

use snakepit_core::error::innermost;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A server's certificate and key, and who signs the certificates of those it lets in.
#[derive(Clone)]
pub struct ServerTls(ServerTlsConfig);

impl ServerTls {
    /// Of texts in PEM: a certificate, with what leads to its root, and its key. With `client_ca` those alone are let in
    /// whose certificate it has signed. A sentence that says what is wrong otherwise.
    pub fn new(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, String> {
        let mut config = ServerTlsConfig::new().identity(Identity::from_pem(cert, key)).timeout(HANDSHAKE_WITHIN);
        if let Some(ca) = client_ca {
            config = config.client_ca_root(Certificate::from_pem(ca));
        }
        // Tried at once: later there would be somebody waiting for an answer.
        tonic::transport::Server::builder()
            .tls_config(config.clone())
            .map_err(|error| format!("the certificate or its key cannot be used: {}", innermost(&error)))?;
        Ok(Self(config))
    }

    /// The same of files.
    pub fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, String> {
        let client_ca = client_ca.map(read).transpose()?;
        let made = Self::new(&read(cert)?, &read(key)?, client_ca.as_deref());
        made.map_err(|problem| format!("{}, {}: {problem}", cert.display(), key.display()))
    }

    pub(crate) fn config(&self) -> ServerTlsConfig {
        self.0.clone()
    }
}

// Holds a private key.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
