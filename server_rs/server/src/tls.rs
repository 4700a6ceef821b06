//! Encryption: what a server proves itself by and whom it lets in, and how a client knows a server.

use std::{fmt, fs, path::Path, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

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

/// How a client knows a server, and shows who it is.
#[derive(Clone)]
pub struct ClientTls(ClientTlsConfig);

impl ClientTls {
    /// Trusts those whose certificate was signed by `ca`, in PEM; without it whom this system trusts.
    pub fn new(ca: Option<&[u8]>) -> Self {
        let config = ClientTlsConfig::new().timeout(HANDSHAKE_WITHIN);
        Self(match ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
            None => config.with_native_roots(),
        })
    }

    /// With a certificate and its key, in PEM, for a server that wants one.
    #[must_use]
    pub fn identity(self, cert: &[u8], key: &[u8]) -> Self {
        Self(self.0.identity(Identity::from_pem(cert, key)))
    }

    /// The same of files.
    pub fn read(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, String> {
        let tls = Self::new(ca.map(read).transpose()?.as_deref());
        Ok(match identity {
            Some((cert, key)) => tls.identity(&read(cert)?, &read(key)?),
            None => tls,
        })
    }

    pub(crate) fn config(&self) -> ClientTlsConfig {
        self.0.clone()
    }
}

// May hold a private key.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls(..)")
    }
}

/// What an error is about, without who passed it on.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
