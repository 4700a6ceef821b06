//! How a client knows a server.

use std::{fmt, fs, path::Path, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

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

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
