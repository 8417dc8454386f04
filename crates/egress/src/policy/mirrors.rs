//! An operator's mirrors: where the hosts of bundles are fetched from instead.

use std::collections::BTreeMap;

use model::network::NetworkProtocol;

use super::path::RequestPath;
use crate::name::{Authority, Host, Name};

/// Most mirrors.
pub const MOST_MIRRORS: usize = 256;

/// A server that has what another host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// [`NetworkProtocol::Https`] or [`NetworkProtocol::Http`].
    pub protocol: NetworkProtocol,
    /// Where it is. An operator named it: its address may be private.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// What stands before every path there: empty, or a path without a slash at its end.
    pub base: String,
}

/// Why a text is no mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` has no mirror at `{url}`: write a host name, and `https://HOST/PATH` without user and query"
)]
pub struct MirrorError {
    host: String,
    url: String,
}

/// Mirrors by the host whose place they take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(BTreeMap<Name, Mirror>);

impl Mirrors {
    /// Reads pairs of a host and the URL of its mirror.
    ///
    /// # Errors
    /// [`MirrorError`] for the first that is none, or for the one after [`MOST_MIRRORS`].
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, MirrorError> {
        let mut mirrors = BTreeMap::new();
        for (host, url) in pairs {
            let name = Name::parse(host).ok();
            match name.zip(Mirror::parse(url)) {
                Some((name, mirror)) if mirrors.len() < MOST_MIRRORS => {
                    mirrors.insert(name, mirror);
                }
                _ => {
                    return Err(MirrorError {
                        host: model::egress::harmless(host),
                        url: model::egress::harmless(url),
                    });
                }
            }
        }
        Ok(Self(mirrors))
    }

    /// The mirror of a host.
    #[must_use]
    pub fn of(&self, name: &Name) -> Option<&Mirror> {
        self.0.get(name)
    }
}

impl Mirror {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (protocol, absent) = match scheme {
            "https" => (NetworkProtocol::Https, 443),
            "http" => (NetworkProtocol::Http, 80),
            _ => return None,
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, base) = rest.split_at(slash);
        let base = base.strip_suffix('/').unwrap_or(base);
        // Rules write base as a pattern: it must mean itself there.
        if !base.is_empty()
            && (base.contains('*') || RequestPath::parse(base).ok()?.plain().is_none())
        {
            return None;
        }
        let authority = Authority::parse(authority).ok()?;
        Some(Self {
            protocol,
            port: authority.port_or(absent),
            host: authority.host,
            base: base.to_owned(),
        })
    }

    /// The path there of what has this path at the host itself.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_plain_url() {
        let mirrors = Mirrors::parse([(
            "registry.npmjs.org",
            "https://nexus.corp.test:8443/repository/npm/",
        )])
        .unwrap();
        let mirror = mirrors
            .of(&Name::parse("registry.npmjs.org").unwrap())
            .unwrap();
        assert_eq!(
            (mirror.port, mirror.base.as_str()),
            (8443, "/repository/npm")
        );
        assert_eq!(mirror.path("/left-pad"), "/repository/npm/left-pad");
        for url in [
            "nexus.corp.test",
            "ftp://a.test",
            "https://u@a.test/",
            "https://a.test/x?y",
            "https://a.test/../x",
            "https://a.test/*",
            "https://",
            "https://a.test:0/",
        ] {
            assert!(
                Mirrors::parse([("registry.npmjs.org", url)]).is_err(),
                "{url}"
            );
        }
        assert!(Mirrors::parse([("*.npmjs.org", "https://a.test")]).is_err());
    }
}
