//! JSON Web Tokens (RFC 7519) in compact form, signed with RS256 or ES256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::FetchError;

/// A token signed by an RSA key in PEM, of either form (PKCS #1, PKCS #8).
pub(super) fn rs256(
    pem: &str,
    key_id: Option<&str>,
    claims: &Value,
) -> Result<Zeroizing<String>, FetchError> {
    let wrong = |what: &str| FetchError::NotConfigured(format!("the private key {what}"));
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| wrong("is no PEM of a private key"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(wrong("is no RSA key")),
    };
    let pair = pair.map_err(|_| wrong("is no RSA key of 2048 bits or more"))?;
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = key_id {
        header["kid"] = json!(id);
    }
    let text = unsigned(&header, claims);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| wrong("does not sign"))?;
    Ok(joined(text, &signature))
}

/// A token signed by a key on the curve P-256.
pub(super) fn es256(
    pair: &EcdsaKeyPair,
    key_id: &str,
    claims: &Value,
) -> Result<Zeroizing<String>, FetchError> {
    let text = unsigned(
        &json!({"alg": "ES256", "typ": "JWT", "kid": key_id}),
        claims,
    );
    let signature = pair
        .sign(&SystemRandom::new(), text.as_bytes())
        .map_err(|_| FetchError::Malformed("the key of the issuer does not sign".to_owned()))?;
    Ok(joined(text, signature.as_ref()))
}

fn unsigned(header: &Value, claims: &Value) -> Zeroizing<String> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Zeroizing::new(format!("{}.{}", part(header), part(claims)))
}

fn joined(mut text: Zeroizing<String>, signature: &[u8]) -> Zeroizing<String> {
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature));
    text
}
