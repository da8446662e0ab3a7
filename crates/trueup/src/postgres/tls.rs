//! TLS by the URL's `sslmode`, as libpq understands it.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;
use crate::tls;

/// The connector of one server.
pub(super) type Tls = Connector;

/// How far a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Not at all: the connection is encrypted, the server could be anyone (`prefer`, `require`).
    Nothing,
    /// Its chain (`verify-ca`).
    Chain,
    /// Its chain and the host's name (`verify-full`).
    Full,
}

impl Verify {
    /// What an `sslmode` asks for. As in libpq, `require` with a root certificate checks the chain.
    pub(super) fn of_mode(mode: Option<&str>, has_root: bool) -> Result<(SslMode, Self), PostgresError> {
        Ok(match mode {
            Some("disable") => (SslMode::Disable, Self::Nothing),
            None | Some("allow" | "prefer") => (SslMode::Prefer, Self::Nothing),
            Some("require") if has_root => (SslMode::Require, Self::Chain),
            Some("require") => (SslMode::Require, Self::Nothing),
            Some("verify-ca") => (SslMode::Require, Self::Chain),
            Some("verify-full") => (SslMode::Require, Self::Full),
            Some(_) => {
                let reason =
                    "`sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full";
                return Err(PostgresError::Url { reason: reason.to_owned() });
            }
        })
    }
}

/// Makes TLS connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
}

impl Connector {
    /// A connector that trusts the certificates in the file `root`, or else those of the operating system.
    pub(super) fn new(verify: Verify, root: Option<PathBuf>, place: &str) -> Result<Self, PostgresError> {
        let failed = |reason: String| PostgresError::Tls { place: place.to_owned(), reason };
        let (builder, provider) = tls::builder().map_err(failed)?;
        let roots = || tls::roots(root.as_deref()).map_err(|why| failed(format!("sslrootcert {why}")));
        let config = match verify {
            Verify::Full => builder.with_root_certificates(roots()?).with_no_client_auth(),
            Verify::Chain => {
                let chain =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots()?), Arc::clone(&provider))
                        .build()
                        .map_err(|e| failed(format!("{e}; give `sslrootcert=FILE`")))?;
                let verifier = Arc::new(Lenient { chain: Some(chain), provider });
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Verify::Nothing => {
                let verifier = Arc::new(Lenient { chain: None, provider });
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// What the driver takes.
    pub(super) fn make(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(ClientConfig::clone(&self.config))
    }
}

/// Checks the chain at most, never the host's name.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain has been checked before the name is.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_mean_what_libpq_means() {
        let of = |mode, root| Verify::of_mode(Some(mode), root).unwrap();
        assert_eq!(of("require", false), (SslMode::Require, Verify::Nothing));
        assert_eq!(of("require", true), (SslMode::Require, Verify::Chain));
        assert_eq!(of("verify-ca", false), (SslMode::Require, Verify::Chain));
        assert_eq!(of("verify-full", false), (SslMode::Require, Verify::Full));
        assert_eq!(of("disable", false).0, SslMode::Disable);
        assert_eq!(Verify::of_mode(None, false).unwrap(), (SslMode::Prefer, Verify::Nothing));
        assert!(Verify::of_mode(Some("on"), false).is_err());
    }
}
