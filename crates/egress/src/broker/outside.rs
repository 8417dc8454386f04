//! Resolving, judging and dialling: the only place from which connections leave.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::egress::EgressRefusal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::address::{is_public, never_by_name};
use crate::broker::environment::Environment;
use crate::broker::io::Counted;
use crate::name::{Authority, Host, Name};
use crate::policy::{MirrorError, Mirrors};
use crate::tls::outside::RootsError;

/// Most addresses of a name that are looked at.
const MOST_ADDRESSES: usize = 32;
/// Most addresses of a name that are tried.
const MOST_TRIED: usize = 4;
/// Longest head of a proxy's answer.
const LONGEST_PROXY_HEAD: usize = 8 * 1024;

/// What the operator says about the outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutsideSettings {
    /// Where hosts are, in place of what the resolver says: an address, or address and port. It is
    /// judged like any other: a private one needs a rule that permits it.
    pub hosts: BTreeMap<String, String>,
    /// Where the hosts of bundles are fetched from instead: `https://HOST/PATH`.
    pub mirrors: BTreeMap<String, String>,
    /// The proxy through which everything leaves, as `host:port`.
    pub proxy: Option<String>,
    /// What the proxy is told as `Proxy-Authorization`.
    pub proxy_authorization: Option<String>,
    /// Nothing leaves but to `hosts`.
    pub offline: bool,
    /// PEM of further certificate authorities.
    pub authorities: Option<String>,
}

/// Why settings are none.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// An entry cannot be read.
    #[error("read `{0}` of the outside: it is no host, address or port")]
    Entry(String),
    /// A mirror is none.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Certificates.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

#[derive(Debug, Clone, Copy)]
struct Fixed {
    address: IpAddr,
    port: Option<u16>,
}

struct Proxy {
    at: Authority,
    authorization: Option<Zeroizing<String>>,
}

/// The outside as the operator set it up.
pub struct Outside {
    hosts: BTreeMap<Name, Fixed>,
    mirrors: Mirrors,
    proxy: Option<Proxy>,
    offline: bool,
    tls: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// A connection that left, and the address that was dialled. None where a proxy dials.
pub(crate) struct Dialled {
    pub(crate) stream: Counted<TcpStream>,
    pub(crate) address: Option<IpAddr>,
}

impl Outside {
    /// Reads settings.
    ///
    /// # Errors
    /// [`OutsideError`] with the entry that is wrong.
    pub fn new(settings: &OutsideSettings) -> Result<Self, OutsideError> {
        let wrong = |text: &str| OutsideError::Entry(text.to_owned());
        let name = |text: &String| Name::parse(text).map_err(|_| wrong(text));
        let mut hosts = BTreeMap::new();
        for (host, place) in &settings.hosts {
            hosts.insert(name(host)?, fixed(place).ok_or_else(|| wrong(place))?);
        }
        let pairs = settings.mirrors.iter();
        let mirrors = Mirrors::parse(pairs.map(|(host, url)| (host.as_str(), url.as_str())))?;
        let proxy = settings
            .proxy
            .as_ref()
            .map(|at| {
                let parsed = Authority::parse(at).map_err(|_| wrong(at))?;
                let authorization = settings.proxy_authorization.clone().map(Zeroizing::new);
                let sound = |text: &str| http::HeaderValue::from_str(text).is_ok();
                if authorization.as_ref().is_some_and(|text| !sound(text)) {
                    return Err(wrong("proxy_authorization"));
                }
                Ok(Proxy {
                    at: parsed,
                    authorization,
                })
            })
            .transpose()?;
        Ok(Self {
            hosts,
            mirrors,
            proxy,
            offline: settings.offline,
            tls: crate::tls::outside::client(settings.authorities.as_deref())?,
        })
    }

    /// How TLS is spoken outside.
    pub(crate) const fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.tls
    }

    /// The mirrors for which policies are compiled.
    #[must_use]
    pub const fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// Makes a connection to a host for an environment, at an address that was resolved and judged
    /// here and now.
    pub(crate) async fn dial(
        &self,
        environment: &Arc<Environment>,
        host: &Host,
        port: u16,
        private: bool,
    ) -> Result<Dialled, EgressRefusal> {
        let limit = environment.volume.limits().dial();
        let dialling = async {
            if let Some(proxy) = &self.proxy
                && !self.is_fixed(host)
            {
                self.judge_for_proxy(environment, host, port, private)
                    .await?;
                let stream = through(proxy, host, port)
                    .await
                    .map_err(|_| EgressRefusal::Unreachable)?;
                return Ok((stream, None));
            }
            let places = self.resolve(environment, host, port).await?;
            judge(
                &places,
                host.name().is_some() && !self.is_fixed(host),
                private,
            )?;
            for place in places.iter().take(MOST_TRIED) {
                if let Ok(stream) = TcpStream::connect(place).await {
                    return Ok((stream, Some(place.ip())));
                }
            }
            Err(EgressRefusal::Unreachable)
        };
        let dialled = tokio::time::timeout(limit, dialling).await;
        let (stream, address) = dialled.map_err(|_| EgressRefusal::Unreachable)??;
        let _ = stream.set_nodelay(true);
        Ok(Dialled {
            stream: Counted::new(stream, Arc::clone(environment)),
            address,
        })
    }

    fn is_fixed(&self, host: &Host) -> bool {
        host.name()
            .is_some_and(|name| self.hosts.contains_key(name))
    }

    async fn resolve(
        &self,
        environment: &Environment,
        host: &Host,
        port: u16,
    ) -> Result<Vec<SocketAddr>, EgressRefusal> {
        let name = match host {
            Host::Address(_) if self.offline => return Err(EgressRefusal::Unreachable),
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name,
        };
        if let Some(fixed) = self.hosts.get(name) {
            let port = fixed.port.unwrap_or(port);
            return Ok(vec![SocketAddr::new(fixed.address, port)]);
        }
        if self.offline {
            return Err(EgressRefusal::Unreachable);
        }
        if !environment.volume.resolve(name) {
            return Err(EgressRefusal::VolumeExhausted);
        }
        // The dot keeps the host's search list out of it.
        let found = tokio::net::lookup_host((format!("{name}."), port)).await;
        let places: Vec<_> = found
            .map_err(|_| EgressRefusal::Unreachable)?
            .take(MOST_ADDRESSES)
            .collect();
        if places.is_empty() {
            return Err(EgressRefusal::Unreachable);
        }
        Ok(places)
    }

    /// The proxy resolves for itself. What can be seen here is judged here all the same.
    async fn judge_for_proxy(
        &self,
        environment: &Environment,
        host: &Host,
        port: u16,
        private: bool,
    ) -> Result<(), EgressRefusal> {
        match self.resolve(environment, host, port).await {
            Ok(places) => judge(&places, host.name().is_some(), private),
            // A name that only the proxy knows is its operator's to judge.
            Err(EgressRefusal::Unreachable) if !self.offline => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}

/// One address that may not be dialled condemns the whole answer: who mixes them means harm.
/// `by_name`: somebody else than policy and operator says where a name leads.
fn judge(places: &[SocketAddr], by_name: bool, private: bool) -> Result<(), EgressRefusal> {
    let forbidden = places
        .iter()
        .map(|place| place.ip().to_canonical())
        .any(|address| {
            (by_name && never_by_name(address).is_some()) || (!private && !is_public(address))
        });
    if forbidden {
        return Err(EgressRefusal::AddressForbidden);
    }
    Ok(())
}

fn fixed(text: &str) -> Option<Fixed> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Fixed {
            address,
            port: None,
        });
    }
    let place: SocketAddr = text.parse().ok()?;
    Some(Fixed {
        address: place.ip(),
        port: Some(place.port()),
    })
}

/// Asks the proxy for a tunnel. Nothing that it says is shown to anybody inside.
async fn through(proxy: &Proxy, host: &Host, port: u16) -> io::Result<TcpStream> {
    let at = (proxy.at.host.to_string(), proxy.at.port_or(3128));
    let mut stream = match proxy.at.host {
        Host::Address(address) => TcpStream::connect((address, at.1)).await?,
        Host::Name(_) => TcpStream::connect((at.0.as_str(), at.1)).await?,
    };
    let target = match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        other => format!("{other}:{port}"),
    };
    let mut head = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(authorization) = &proxy.authorization {
        head.push_str("Proxy-Authorization: ");
        head.push_str(authorization);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    // One byte at a time: what follows the head belongs to the host, not to the proxy.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= LONGEST_PROXY_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        answer.push(stream.read_u8().await?);
    }
    let agreed = answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200");
    if !agreed {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(texts: &[&str]) -> Vec<SocketAddr> {
        texts
            .iter()
            .map(|text| SocketAddr::new(text.parse().unwrap(), 443))
            .collect()
    }

    #[test]
    fn one_private_address_condemns_the_answer() {
        assert!(judge(&places(&["8.8.8.8"]), true, false).is_ok());
        for mixed in [
            &["8.8.8.8", "127.0.0.1"][..],
            &["10.0.0.1", "8.8.8.8"],
            &["::ffff:10.0.0.1"],
            &["8.8.8.8", "::1"],
        ] {
            assert!(judge(&places(mixed), true, false).is_err(), "{mixed:?}");
        }
        assert!(judge(&places(&["10.0.0.1"]), true, true).is_ok());
        for never in ["169.254.169.254", "127.0.0.1"] {
            assert!(judge(&places(&[never]), true, true).is_err(), "{never}");
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let with = |host: &str, place: &str| {
            Outside::new(&OutsideSettings {
                hosts: BTreeMap::from([(host.to_owned(), place.to_owned())]),
                ..OutsideSettings::default()
            })
        };
        assert!(with("a.test", "127.0.0.1:8443").is_ok());
        assert!(with("a.test", "somewhere").is_err());
        assert!(with("a..test", "127.0.0.1").is_err());
        let proxy = OutsideSettings {
            proxy: Some(String::from("proxy.test:3128")),
            proxy_authorization: Some(String::from("Basic x\r\nX: y")),
            ..OutsideSettings::default()
        };
        assert!(Outside::new(&proxy).is_err());
    }
}
