//! Whom to trust.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Trusts the authorities that browsers trust.
pub(crate) fn usual() -> Result<ClientConfig, String> {
    Ok(builder()?.with_webpki_roots().with_no_client_auth())
}

/// Trusts these certificates only, and what they have signed; the error says what is wrong and what
/// is allowed.
pub(crate) fn trusting(pem: &[u8]) -> Result<ClientConfig, String> {
    const ALLOWED: &str = "allowed are certificates in PEM, as in a file that begins with -----BEGIN \
                           CERTIFICATE-----";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added.map_err(|error| format!("{error}; {ALLOWED}"))?;
    }
    if roots.is_empty() {
        return Err(format!("there is no certificate in it; {ALLOWED}"));
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// NB: with a provider of its own. Which one is the default depends on what else is in the tree.
fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}
