//! A host with a port, as `Host` headers, `:authority` and CONNECT have it.

use std::fmt;

use super::{Host, NameError};

/// A host, and a port where one is written. There is no user in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`. The port has one spelling: digits, no sign, no leading zero,
    /// and not none after a colon.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (host, port) = split(text)?;
        Ok(Self {
            host: Host::parse(host)?,
            port: port.map(parse_port).transpose()?,
        })
    }

    /// The port, or the one that stands for its absence.
    #[must_use]
    pub fn port_or(&self, absent: u16) -> u16 {
        self.port.unwrap_or(absent)
    }

    /// Whether this is that host at that port, when `absent` stands for no port.
    #[must_use]
    pub fn is(&self, host: &Host, port: u16, absent: u16) -> bool {
        self.host == *host && self.port_or(absent) == port
    }
}

/// Cuts before the colon of the port; colons of an address stand in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), NameError> {
    let after_host = match text.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or(NameError::Address)? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(after_host);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest.strip_prefix(':').ok_or(NameError::Address)?;
    Ok((host, Some(port)))
}

fn parse_port(text: &str) -> Result<u16, NameError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.starts_with('0') {
        return Err(NameError::Port);
    }
    text.parse().map_err(|_| NameError::Port)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
