//! Whom one request means, from all that it says. Pure.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, Method, Version, header};
use model::egress::EgressRefusal;

use crate::broker::connection::Place;
use crate::broker::limits::{LONGEST_HEAD, LONGEST_TARGET, MOST_HEADERS};
use crate::broker::refusal::Refusal;
use crate::name::{Authority, Host};

/// How HTTP is carried on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that stands for none.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What a connection says about every request on it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The host for which its address was given out; none at an explicit proxy.
    pub(crate) host: Option<Host>,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    /// The address that was dialled inside.
    pub(crate) address: IpAddr,
    /// Every request is refused with this.
    pub(crate) refused: Option<Refusal>,
}

impl Facts {
    pub(crate) fn at(place: &Place, scheme: Scheme) -> Self {
        Self {
            host: Some(place.host.clone()),
            port: place.port,
            scheme,
            address: place.address,
            refused: None,
        }
    }

    pub(crate) fn proxy(place: &Place) -> Self {
        Self {
            host: None,
            ..Self::at(place, Scheme::Http)
        }
    }

    pub(crate) fn refused(place: &Place, refusal: Refusal) -> Self {
        Self {
            refused: Some(refusal),
            ..Self::at(place, Scheme::Http)
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A request to a host.
    Request { host: Host, port: u16 },
    /// A tunnel through the explicit proxy.
    Tunnel { host: Host, port: u16 },
}

/// Reads whom a request means.
///
/// All that names a host has to name the same one: the target, `Host` or `:authority`, and the
/// connection.
pub(crate) fn read(facts: &Facts, parts: &Parts) -> Result<Wanted, Refusal> {
    bounds(parts)?;
    framing(parts)?;
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    let in_target = parts.uri.authority();
    let first = parts.version < Version::HTTP_2;
    // The first version has exactly one, also where the target names a host.
    if hosts > 1 || (first && hosts == 0) {
        return Err(EgressRefusal::ProtocolInvalid.into());
    }
    let header = parts
        .headers
        .get(header::HOST)
        .map(|value| value.to_str().map_err(|_| EgressRefusal::NameInvalid))
        .transpose()?;
    let written = in_target.map(http::uri::Authority::as_str).or(header);
    let Some(written) = written else {
        return Err(EgressRefusal::ProtocolInvalid.into());
    };
    if parts.method == Method::CONNECT {
        return tunnel(facts, written, header);
    }
    if parts.method == Method::TRACE {
        return Err(EgressRefusal::MethodNotNamed.into());
    }
    target(facts, parts, in_target.is_some())?;
    let absent = facts.scheme.port();
    let authority = parse(written)?;
    if let Some(header) = header {
        let header = parse(header)?;
        if !header.is(&authority.host, authority.port_or(absent), absent) {
            return Err(EgressRefusal::NamesDisagree.into());
        }
    }
    let port = authority.port_or(absent);
    match &facts.host {
        Some(host) if authority.host != *host => Err(EgressRefusal::NamesDisagree.into()),
        Some(_) if port != facts.port => Err(EgressRefusal::NamesDisagree.into()),
        _ => Ok(Wanted::Request {
            host: authority.host,
            port,
        }),
    }
}

/// The text that stands for the host in the ledger where there is none: whatever was sent.
pub(crate) fn sent_host(parts: &Parts) -> String {
    let header = parts
        .headers
        .get(header::HOST)
        .map(|value| value.as_bytes());
    let target = parts
        .uri
        .authority()
        .map(|target| target.as_str().as_bytes());
    target
        .or(header)
        .unwrap_or_default()
        .escape_ascii()
        .to_string()
}

fn parse(text: &str) -> Result<Authority, Refusal> {
    Authority::parse(text).map_err(|_| EgressRefusal::NameInvalid.into())
}

fn tunnel(facts: &Facts, target: &str, header: Option<&str>) -> Result<Wanted, Refusal> {
    // A tunnel in a tunnel, or at a host's address, would hide whom it means.
    if facts.host.is_some() {
        return Err(EgressRefusal::MethodNotNamed.into());
    }
    let authority = parse(target)?;
    let port = authority.port.ok_or(EgressRefusal::ProtocolInvalid)?;
    if let Some(header) = header {
        let header = parse(header)?;
        if !header.is(&authority.host, port, port) {
            return Err(EgressRefusal::NamesDisagree.into());
        }
    }
    Ok(Wanted::Tunnel {
        host: authority.host,
        port,
    })
}

fn target(facts: &Facts, parts: &Parts, absolute: bool) -> Result<(), Refusal> {
    if let Some(scheme) = parts.uri.scheme_str()
        && scheme != facts.scheme.name()
    {
        return Err(EgressRefusal::NamesDisagree.into());
    }
    if facts.host.is_none() && !absolute {
        return Err(EgressRefusal::AddressNotNamed.into());
    }
    let whole = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    if !whole.starts_with('/') {
        return Err(EgressRefusal::ProtocolInvalid.into());
    }
    Ok(())
}

fn bounds(parts: &Parts) -> Result<(), Refusal> {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > LONGEST_TARGET || !within_bounds(&parts.headers) {
        return Err(EgressRefusal::ProtocolInvalid.into());
    }
    Ok(())
}

/// Whether headers are not too many and not too long.
pub(crate) fn within_bounds(headers: &HeaderMap) -> bool {
    let length: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    headers.len() <= MOST_HEADERS && length <= LONGEST_HEAD
}

/// Where the body ends has to be said once, in one way (RFC 9112, 6.3).
fn framing(parts: &Parts) -> Result<(), Refusal> {
    let count = |name| parts.headers.get_all(name).iter().count();
    let lengths = count(header::CONTENT_LENGTH);
    let codings = count(header::TRANSFER_ENCODING);
    let plain = parts
        .headers
        .get(header::TRANSFER_ENCODING)
        .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let digits = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .is_none_or(|value| value.as_bytes().iter().all(u8::is_ascii_digit));
    let old = parts.version < Version::HTTP_11;
    let expected = parts
        .headers
        .get_all(header::EXPECT)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let connect = parts.method == Method::CONNECT && lengths + codings > 0;
    let sound = lengths + codings <= 1
        && plain
        && digits
        && expected
        && !connect
        && !(old && codings > 0)
        && count(header::EXPECT) <= 1;
    if sound {
        return Ok(());
    }
    Err(EgressRefusal::ProtocolInvalid.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(host: Option<&str>) -> Facts {
        Facts {
            host: host.map(|host| Host::parse(host).unwrap()),
            port: 443,
            scheme: Scheme::Https,
            address: "198.18.0.1".parse().unwrap(),
            refused: None,
        }
    }

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn code(facts: &Facts, parts: &Parts) -> EgressRefusal {
        read(facts, parts).unwrap_err().code
    }

    #[test]
    fn all_names_have_to_be_the_pinned_one() {
        let facts = facts(Some("api.test"));
        let good = ["api.test", "API.Test", "api.test:443"];
        for host in good {
            let wanted = read(&facts, &parts("GET", "/v1", &[("host", host)])).unwrap();
            let host = Host::parse("api.test").unwrap();
            assert_eq!(wanted, Wanted::Request { host, port: 443 });
        }
        for (target, host, refused) in [
            ("/v1", "evil.test", EgressRefusal::NamesDisagree),
            ("/v1", "api.test:22", EgressRefusal::NamesDisagree),
            ("/v1", "api.test:0443", EgressRefusal::NameInvalid),
            ("/v1", "api.test:", EgressRefusal::NameInvalid),
            ("/v1", "u@api.test", EgressRefusal::NameInvalid),
            ("/v1", "api.test, evil.test", EgressRefusal::NameInvalid),
            (
                "https://evil.test/v1",
                "api.test",
                EgressRefusal::NamesDisagree,
            ),
            (
                "https://api.test/v1",
                "evil.test",
                EgressRefusal::NamesDisagree,
            ),
            (
                "http://api.test/v1",
                "api.test",
                EgressRefusal::NamesDisagree,
            ),
            (
                "https://u@api.test/v1",
                "api.test",
                EgressRefusal::NameInvalid,
            ),
            ("*", "api.test", EgressRefusal::ProtocolInvalid),
        ] {
            let parts = parts("GET", target, &[("host", host)]);
            assert_eq!(code(&facts, &parts), refused, "{target} {host}");
        }
    }

    #[test]
    fn framing_and_hosts_are_said_once() {
        let facts = facts(Some("api.test"));
        let host = ("host", "api.test");
        for headers in [
            vec![],
            vec![host, host],
            vec![
                host,
                ("content-length", "5"),
                ("transfer-encoding", "chunked"),
            ],
            vec![host, ("content-length", "5"), ("content-length", "5")],
            vec![host, ("content-length", "+5")],
            vec![host, ("transfer-encoding", "gzip, chunked")],
            vec![host, ("expect", "something")],
        ] {
            let parts = parts("POST", "/v1", &headers);
            assert_eq!(
                code(&facts, &parts),
                EgressRefusal::ProtocolInvalid,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn tunnels_are_asked_for_at_the_proxy_alone() {
        let connect = |target: &str, host: &str| parts("CONNECT", target, &[("host", host)]);
        let pinned = facts(Some("api.test"));
        assert_eq!(
            code(&pinned, &connect("evil.test:443", "evil.test:443")),
            EgressRefusal::MethodNotNamed
        );
        let proxy = Facts {
            scheme: Scheme::Http,
            port: 3128,
            ..facts(None)
        };
        let host = Host::parse("api.test").unwrap();
        assert_eq!(
            read(&proxy, &connect("api.test:443", "api.test:443")),
            Ok(Wanted::Tunnel { host, port: 443 })
        );
        assert_eq!(
            code(&proxy, &connect("api.test:443", "evil.test:443")),
            EgressRefusal::NamesDisagree
        );
        let origin = parts("GET", "/v1", &[("host", "api.test")]);
        assert_eq!(code(&proxy, &origin), EgressRefusal::AddressNotNamed);
        assert!(
            read(
                &proxy,
                &parts("GET", "http://api.test/v1", &[("host", "api.test")])
            )
            .is_ok()
        );
        assert!(
            read(
                &proxy,
                &parts("GET", "https://api.test/v1", &[("host", "api.test")])
            )
            .is_err()
        );
    }
}
