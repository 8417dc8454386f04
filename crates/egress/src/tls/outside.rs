//! Whom the broker believes outside: the system's roots, and those that the operator adds.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Longest file of additional roots, in bytes.
pub const LONGEST_ROOTS: usize = 1024 * 1024;

/// Why there is nothing to believe.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// What the operator named holds no certificate, or one that is none.
    #[error("read the additional certificate authorities")]
    Additional,
    /// TLS could not be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// How the broker speaks TLS outside. `additional` is PEM of the operator's own authorities.
///
/// # Errors
/// [`RootsError`]. Roots of the system that cannot be read are left out: then nothing that needs
/// them is reached.
pub fn client(additional: Option<&str>) -> Result<Arc<ClientConfig>, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = additional {
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| RootsError::Additional)?;
            roots.add(certificate).map_err(|_| RootsError::Additional)?;
            added += 1;
        }
        if added == 0 || pem.len() > LONGEST_ROOTS {
            return Err(RootsError::Additional);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets would tie connections of different environments together for whoever is outside.
    config.resumption = rustls::client::Resumption::disabled();
    // The default follows SSLKEYLOGFILE only where somebody asks for it; nobody does here.
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_none_are_an_error() {
        assert!(client(None).is_ok());
        assert!(client(Some("")).is_err());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(client(Some(broken)).is_err());
    }
}
