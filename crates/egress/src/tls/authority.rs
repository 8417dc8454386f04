//! The certificate authority of one environment. It lives in memory alone and signs nothing but
//! leaves for names that policy names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::name::Host;

/// Most leaves that are kept. With a wildcard, an environment chooses how many there are.
const MOST_LEAVES: usize = 1024;

/// Days before the start from which certificates hold: clocks inside may be behind.
const DAYS_BEFORE: i64 = 2;
/// Days for which certificates hold. Longer than an environment lives, shorter than what clients
/// refuse for being too long.
const DAYS_AFTER: i64 = 365;

/// Application protocols that the broker speaks where it ends TLS.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Year, month and day.
type Date = (i32, u8, u8);

/// Why there is no authority or no leaf.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate could not be made.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A key could not be used.
    #[error("use a certificate")]
    Tls(#[from] rustls::Error),
    /// The time makes no date.
    #[error("read the time")]
    Time,
}

/// An environment's authority, with the leaves it signed.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// One key for all leaves: making a key costs more than signing, and who has one has all.
    key: KeyPair,
    signing: Arc<dyn rustls::sign::SigningKey>,
    provider: Arc<rustls::crypto::CryptoProvider>,
    from: Date,
    until: Date,
    leaves: Mutex<HashMap<Host, Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`AuthorityError`]; the system gives no random numbers, or the time is no time.
    pub fn new(now_ms: u64) -> Result<Self, AuthorityError> {
        let from = date(now_ms, -DAYS_BEFORE)?;
        let until = date(now_ms, DAYS_AFTER)?;
        let mut params = CertificateParams::default();
        hold(&mut params, from, until);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CommonName,
            format!("Nightcrew environment {}", label()?),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pem = params.self_signed(&ca_key)?.pem();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self {
            pem,
            issuer: Issuer::new(params, ca_key),
            signing: rustls::crypto::ring::sign::any_ecdsa_type(&der)?,
            key,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            from,
            until,
            leaves: Mutex::default(),
        })
    }

    /// The certificate that the environment trusts, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What the broker serves TLS with as this host. Kept, with the sessions of this host alone.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn serve(&self, host: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(config) = self.kept().get(host) {
            return Ok(Arc::clone(config));
        }
        let leaf = CertifiedKey::new(vec![self.sign(host)?], Arc::clone(&self.signing));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Leaf(Arc::new(leaf))));
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        let config = Arc::new(config);
        let mut kept = self.kept();
        if kept.len() >= MOST_LEAVES {
            kept.clear();
        }
        kept.insert(host.clone(), Arc::clone(&config));
        Ok(config)
    }

    /// Signs a leaf for one host.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn sign(&self, host: &Host) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = CertificateParams::default();
        hold(&mut params, self.from, self.until);
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match host {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Address(address) => SanType::IpAddress(*address),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.key, &self.issuer)?;
        Ok(leaf.der().clone())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Host, Arc<ServerConfig>>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the one leaf; the name was judged before.
#[derive(Debug)]
struct Leaf(Arc<CertifiedKey>);

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Tells authorities apart where a person looks at several.
fn label() -> Result<String, AuthorityError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|_| AuthorityError::Tls(rustls::Error::FailedToGetRandomBytes))?;
    Ok(hex::encode(bytes))
}

fn date(now_ms: u64, days: i64) -> Result<Date, AuthorityError> {
    let milliseconds = i64::try_from(now_ms).map_err(|_| AuthorityError::Time)?;
    let shifted = milliseconds.saturating_add(days * 24 * 60 * 60 * 1000);
    let date = jiff::Timestamp::from_millisecond(shifted)
        .map_err(|_| AuthorityError::Time)?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    // What the form of certificates can say without surprises.
    if !(1971..=2200).contains(&date.year()) {
        return Err(AuthorityError::Time);
    }
    let part = |number: i8| u8::try_from(number).map_err(|_| AuthorityError::Time);
    Ok((date.year().into(), part(date.month())?, part(date.day())?))
}

/// Sets from when until when a certificate holds.
fn hold(params: &mut CertificateParams, from: Date, until: Date) {
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    const NOW: u64 = 1_790_000_000_000;

    fn host(name: &str) -> Host {
        Host::Name(Name::parse(name).unwrap())
    }

    #[test]
    fn a_leaf_is_signed_by_its_own_authority_alone_and_names_one_host() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (Authority::new(NOW).unwrap(), Authority::new(NOW).unwrap());
        let leaf = ours.sign(&host("api.example.test")).unwrap();
        std::fs::write(folder.path().join("leaf.der"), &leaf).unwrap();
        std::fs::write(folder.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
        let openssl = |arguments: &str| {
            std::process::Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(&folder)
                .output()
                .unwrap()
        };
        assert!(
            openssl("x509 -inform DER -in leaf.der -out leaf.pem")
                .status
                .success()
        );
        let verify =
            "verify -attime 1790000000 -verify_hostname api.example.test -x509_strict -CAfile";
        let good = openssl(&format!("{verify} ours.pem leaf.pem"));
        assert!(good.status.success(), "{good:?}");
        assert!(
            !openssl(&format!("{verify} other.pem leaf.pem"))
                .status
                .success()
        );
        let text = openssl("x509 -in leaf.pem -noout -ext subjectAltName");
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.trim_end().ends_with("DNS:api.example.test"), "{text}");
    }

    #[test]
    fn leaves_are_kept_and_their_number_is_bounded() {
        let authority = Authority::new(NOW).unwrap();
        let first = authority.serve(&host("a0.test")).unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &authority.serve(&host("a0.test")).unwrap()
        ));
        for number in 0..MOST_LEAVES + 10 {
            authority.serve(&host(&format!("a{number}.test"))).unwrap();
        }
        assert!(authority.kept().len() <= MOST_LEAVES);
    }

    #[test]
    fn a_time_that_is_none_makes_no_authority() {
        assert!(Authority::new(u64::MAX).is_err());
        assert!(Authority::new(0).is_err());
    }
}
