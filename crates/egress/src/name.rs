//! Host names, read once and in one way: the same value decides, resolves and dials.

mod authority;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use authority::Authority;

/// Longest name, in characters (RFC 1035, 2.3.4, without the root).
pub const LONGEST_NAME: usize = 253;

/// Longest label of a name (RFC 1035, 2.3.4).
pub const LONGEST_LABEL: usize = 63;

/// A name of the DNS in the one form in which names are compared: lower-case ASCII letters, digits
/// and inner hyphens, labels of 1 to 63, at most 253 characters, no dot at the end (RFC 1123, RFC 1035).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// What somebody wants to reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// By name.
    Name(Name),
    /// By address. An IPv6 address that only wraps an IPv4 address is that IPv4 address.
    Address(IpAddr),
}

/// Why a text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a host is missing")]
    Empty,
    /// The name, or one of its labels, is longer than names are.
    #[error("a host name has at most 253 characters and 63 between dots")]
    TooLong,
    /// Two dots in a row, a dot at the beginning or the end, or a hyphen where none may be.
    #[error(
        "a host name has no empty part, no dot at its end, and no part that begins or ends with a hyphen"
    )]
    Label,
    /// A character that names do not have.
    #[error("a host name has letters, digits, hyphens and dots, all of them ASCII")]
    Character,
    /// A number where some readers see an address and others a name.
    #[error("an address is written as four decimal numbers or as IPv6 in brackets")]
    Number,
    /// Brackets without an IPv6 address between them.
    #[error("there is no IPv6 address between the brackets")]
    Address,
    /// What follows the colon is not a port.
    #[error("a port is a number from 1 to 65535 without leading zeros")]
    Port,
}

impl Name {
    /// Reads a name. Upper case is lowered; everything else that is not in the one form is refused:
    /// also a single dot at the end, because half of all readers keep it and half drop it.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong);
        }
        text.split('.').try_for_each(check_label)?;
        if text.rsplit('.').next().is_none_or(is_number) {
            return Err(NameError::Number);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name is below `parent`, at any depth; a name is not below itself.
    #[must_use]
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(parent.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    }

    /// The names above this one, nearest first: for `a.b.test` these are `b.test` and `test`.
    pub fn above(&self) -> impl Iterator<Item = &str> {
        self.0
            .match_indices('.')
            .map(|(place, _)| &self.0[place + 1..])
    }

    /// Whether the name means the machine that asks, wherever it is asked (RFC 6761, 6.3).
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.0 == "localhost" || self.0.ends_with(".localhost")
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !label.bytes().all(known) {
        return Err(NameError::Character);
    }
    if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Label);
    }
    if label.len() > LONGEST_LABEL {
        return Err(NameError::TooLong);
    }
    Ok(())
}

/// Whether a name that ends in this label is an address for some readers (WHATWG URL, 3.5: what
/// ends in a number; `inet_aton`: octal, hexadecimal, and fewer than four numbers).
fn is_number(label: &str) -> bool {
    let hexadecimal = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"))
            .is_some_and(hexadecimal)
}

impl Host {
    /// Reads a host as URLs and `Host` headers spell it, without the port: a name, four decimal
    /// numbers, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`NameError`]: other spellings of addresses (octal, hexadecimal, one number, a zone) are none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(NameError::Address)?;
            let address = inner.parse::<Ipv6Addr>().map_err(|_| NameError::Address)?;
            return Ok(Self::from(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Name::parse(text).map(Self::Name)
    }

    /// The name, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&Name> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Name> for Host {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    /// As in URLs: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests;
