//! Encryption: what a server proves itself by, and whom it lets in.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use snakepit_core::error::innermost;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use x509_parser::{certificate::X509Certificate, pem::Pem};

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A server's certificate and key, and who signs the certificates of those it lets in.
#[derive(Clone)]
pub struct ServerTls {
    config: ServerTlsConfig,
    warnings: Vec<String>,
}

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
        let now = SystemTime::now();
        let of_clients = client_ca.map(Validity::of_each).unwrap_or_default();
        let own = Validity::of_each(cert).into_iter().filter_map(|it| it.problem("the server's certificate", now));
        let theirs = of_clients.into_iter().filter_map(|it| it.problem("the authority of clients", now));
        Ok(Self { config, warnings: own.chain(theirs).collect() })
    }

    /// What will keep clients out, though the server can start: a sentence for each certificate that is not valid now.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The same of files.
    pub fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, String> {
        let client_ca = client_ca.map(read).transpose()?;
        let made = Self::new(&read(cert)?, &read(key)?, client_ca.as_deref());
        made.map_err(|problem| format!("{}, {}: {problem}", cert.display(), key.display()))
    }

    pub(crate) fn config(&self) -> ServerTlsConfig {
        self.config.clone()
    }
}

// Holds a private key.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

/// From when until when a certificate can be used, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    /// Of each certificate in a text in PEM. What cannot be read is left out: TLS itself says what is wrong with it.
    pub fn of_each(pem: &[u8]) -> Vec<Self> {
        let found = Pem::iter_from_buffer(pem).filter_map(Result::ok).filter(|pem| pem.label == "CERTIFICATE");
        let read = |pem: Pem| {
            let certificate: X509Certificate<'_> = pem.parse_x509().ok()?;
            let validity = certificate.validity();
            Some(Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
        };
        found.filter_map(read).collect()
    }

    /// Why a certificate cannot be used at a time, and what to do; what it is called begins the sentence.
    pub fn problem(self, what: &str, at: SystemTime) -> Option<String> {
        let at = seconds(at);
        if at > self.until {
            let until = shown(self.until);
            return Some(format!("{what} expired at {until}: put a new one in its place and restart the server"));
        }
        let from = shown(self.from);
        (at < self.from).then(|| {
            format!("{what} is valid only from {from} on: set this machine's clock, or put one in its place that is valid now")
        })
    }

    /// Until when it can be used, as text.
    pub fn until(self) -> String {
        shown(self.until)
    }

    /// Whether it ends within that time after another.
    pub fn ends_within(self, soon: Duration, at: SystemTime) -> bool {
        self.until.saturating_sub(seconds(at)) < i64::try_from(soon.as_secs()).unwrap_or(i64::MAX)
    }
}

fn seconds(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

fn shown(seconds: i64) -> String {
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
