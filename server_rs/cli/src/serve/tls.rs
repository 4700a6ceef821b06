use std::path::PathBuf;

use snakepit_server::tls::ServerTls;

use crate::Failure;

/// Encryption, all files in PEM.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Encryption")]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
pub(crate) struct TlsFlags {
    /// Encrypt, and show this certificate.
    #[arg(long, env = "SNAKEPIT_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "SNAKEPIT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let those alone in who have a certificate that this one has signed.
    #[arg(long, env = "SNAKEPIT_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsFlags {
    pub(crate) fn read(&self) -> Result<Option<ServerTls>, Failure> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let tls = ServerTls::read(cert, key, self.tls_client_ca.as_deref()).map_err(Failure::Failed)?;
        for problem in tls.warnings() {
            tracing::warn!(certificate = %cert.display(), "{problem}; until then clients refuse this server, or it refuses them");
        }
        Ok(Some(tls))
    }

    /// Whether clients show certificates.
    pub(crate) fn knows_clients(&self) -> bool {
        self.tls_client_ca.is_some()
    }
}
