//! Encrypted connections: which certificates are trusted, and what encrypts.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// What a client of a server checks: the chain of its certificate up to one in the file `roots` (PEM), or else up to one that the operating system
/// trusts, and its name. For connections that a service makes beside those of this library, in the same way.
///
/// # Errors
/// Where the file cannot be read, or holds no certificate.
pub fn client_config(roots_file: Option<&Path>) -> Result<ClientConfig, String> {
    let (builder, _) = builder()?;
    let trusting: ConfigBuilder<ClientConfig, WantsClientCert> =
        builder.with_root_certificates(roots(roots_file)?);
    Ok(trusting.with_no_client_auth())
}

/// The beginning of a configuration, and what it encrypts with.
pub(crate) fn builder() -> Result<(ConfigBuilder<ClientConfig, WantsVerifier>, Arc<CryptoProvider>), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?;
    Ok((builder, provider))
}

/// The certificates in a file, or those of the operating system.
pub(crate) fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            let wrong = |why: &dyn std::fmt::Display| {
                format!("{}: {why}; give a file of certificates in PEM", path.display())
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|why| wrong(&why))? {
                store.add(certificate.map_err(|why| wrong(&why))?).map_err(|why| wrong(&why))?;
            }
            if store.is_empty() {
                return Err(wrong(&"it holds no certificate"));
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}
