//! Host names, read once and in one way: the same value decides, resolves and dials.

use std::fmt;
use std::net::IpAddr;

/// A name of the DNS in the one form in which names are compared: lower-case ASCII letters, digits
/// and inner hyphens, labels of 1 to 63, at most 253 characters, no dot at the end (RFC 1123, RFC 1035).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody wants to reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// By name.
    Name(Name),
    /// By address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no name.
    #[error("this is not a host name")]
    Invalid,
}

impl Name {
    /// Reads a name. Upper case is lowered; everything else that is not in the one form is refused.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let lower = text.to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if lower.len() > 253 || !lower.split('.').all(label) {
            return Err(NameError::Invalid);
        }
        // What ends in digits is read as an address by some (WHATWG URL, 3.5).
        if lower.rsplit('.').next().is_none_or(|last| {
            last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x")
        }) {
            return Err(NameError::Invalid);
        }
        Ok(Self(lower))
    }
}

impl Host {
    /// Reads a host as URLs and `Host` headers spell it, without the port: a name, four decimal
    /// numbers, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`NameError`]: other spellings of addresses (octal, hexadecimal, one number) are none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let address = inner.parse().map_err(|_| NameError::Invalid)?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Name::parse(text).map(Self::Name)
    }
}
