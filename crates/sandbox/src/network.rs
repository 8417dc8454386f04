//! A network in which every address leads to somebody outside, or nowhere.
//!
//! An environment has a network namespace with a loopback and nothing else. With a [`NetworkSpec`],
//! its init makes every address local (AnyIP: the route `local 0.0.0.0/0 dev lo`, and the same of
//! IPv6) and opens listening sockets, which leave the environment before its first step: whoever
//! holds them answers for the whole world. Which address was meant is the local address of what
//! was accepted. Steps cannot bind ports below 1024, change routes, nor open packet sockets.

use std::os::fd::OwnedFd;

use crate::wire::{Malformed, Reader, Writer};

/// The network of an environment that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// TCP ports to listen on, beside [`ALWAYS`]; at most [`MAX_PORTS`], none of them 0.
    pub ports: Vec<u16>,
    /// Certificates in PEM that programs inside shall trust beside those of the root: the
    /// environment's own authority. At most [`MAX_CERTIFICATES`] bytes. See [`trust_variables`].
    pub certificates: Option<Vec<u8>>,
}

/// Ports that are listened on in every environment with a network: names, HTTP and HTTPS.
pub const ALWAYS: [u16; 3] = [53, 80, 443];

/// Most further ports.
pub const MAX_PORTS: usize = 64;

/// Most bytes of [`NetworkSpec::certificates`].
pub const MAX_CERTIFICATES: usize = 8 * 1024;

/// The layer's name in reports.
pub(crate) const LAYER: &str = "network-brokered";

/// The address of the name server that `/etc/resolv.conf` names. Any other answers as well.
pub const NAME_SERVER: &str = "127.0.0.53";

/// The environment's own certificates.
pub const CERTIFICATES: &str = "/nightcrew/etc/ca.pem";

/// The root's certificates and the environment's own.
pub const BUNDLE: &str = "/nightcrew/etc/ca-bundle.pem";

/// Variables by which programs find the certificates, where those of the spec were laid in. For
/// Java there is none that is sane: its virtual machines read no PEM.
#[must_use]
pub fn trust_variables() -> Vec<(&'static str, &'static str)> {
    // These two add to what is built in; the others take its place.
    let added = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"].map(|name| (name, CERTIFICATES));
    let whole = [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "CARGO_HTTP_CAINFO",
        "PIP_CERT",
        "NIX_SSL_CERT_FILE",
        "AWS_CA_BUNDLE",
    ]
    .map(|name| (name, BUNDLE));
    whole.into_iter().chain(added).collect()
}

/// Sockets in an environment's network namespace, for whoever answers in it. All are non-blocking
/// and closed at exec; no process inside has them.
#[derive(Debug, Default)]
pub struct NetworkSockets {
    /// Listening TCP sockets with their ports, of both families (those of IPv6 take IPv6 only).
    pub tcp: Vec<(u16, OwnedFd)>,
    /// UDP sockets bound to port 53, with `IP_PKTINFO` or `IPV6_RECVPKTINFO` on.
    pub dns: Vec<OwnedFd>,
    /// A packet socket (`SOCK_DGRAM`) that shows what is begun at other addresses than the
    /// environment's own loopback: TCP segments with SYN alone to any port, UDP but for port 53.
    /// Each message begins with the IP header and is cut. Its last close waits for the kernel
    /// (milliseconds). Absent where the kernel has none.
    pub packets: Option<OwnedFd>,
}

/// What a descriptor that leaves an environment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp(u16),
    Dns,
    Packets,
}

impl NetworkSpec {
    /// Every port to listen on, once.
    pub(crate) fn listened(&self) -> Vec<u16> {
        let mut ports = [&ALWAYS, self.ports.as_slice()].concat();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What is not acceptable about it.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.ports.contains(&0) {
            return Some("0 is no port".to_owned());
        }
        if self.ports.len() > MAX_PORTS {
            return Some(format!("{MAX_PORTS} ports are the most"));
        }
        let certificates = self.certificates.as_ref()?;
        let has = |text: &[u8]| certificates.windows(text.len()).any(|part| part == text);
        if certificates.len() > MAX_CERTIFICATES {
            return Some(format!(
                "certificates of {MAX_CERTIFICATES} bytes are the most"
            ));
        }
        if !has(b"-----BEGIN CERTIFICATE-----") {
            return Some("the certificates are not in PEM".to_owned());
        }
        has(b"PRIVATE KEY-----").then(|| "a private key has no place in an environment".to_owned())
    }

    pub(crate) fn encode(spec: Option<&Self>, to: &mut Writer) {
        let Some(spec) = spec else {
            to.byte(0);
            return;
        };
        to.byte(1).number(spec.ports.len() as u64);
        for port in &spec.ports {
            to.number(u64::from(*port));
        }
        to.optional_bytes(spec.certificates.as_deref());
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        if from.byte()? == 0 {
            return Ok(None);
        }
        let ports = (0..from.number()?).map(|_| port(from));
        Ok(Some(Self {
            ports: ports.collect::<Result<_, _>>()?,
            certificates: from.optional_bytes()?.map(<[u8]>::to_vec),
        }))
    }
}

fn port(from: &mut Reader<'_>) -> Result<u16, Malformed> {
    u16::try_from(from.number()?).map_err(|_| Malformed)
}

impl Kind {
    pub(crate) fn encode(kinds: &[Self], to: &mut Writer) {
        to.number(kinds.len() as u64);
        for kind in kinds {
            match kind {
                Self::Tcp(port) => to.byte(0).number(u64::from(*port)),
                Self::Dns => to.byte(1),
                Self::Packets => to.byte(2),
            };
        }
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Vec<Self>, Malformed> {
        let kind = |from: &mut Reader<'_>| match from.byte()? {
            0 => port(from).map(Self::Tcp),
            1 => Ok(Self::Dns),
            2 => Ok(Self::Packets),
            _ => Err(Malformed),
        };
        (0..from.number()?).map(|_| kind(from)).collect()
    }
}

impl NetworkSockets {
    /// Gives descriptors their meaning; nothing when they are not as many as was said.
    pub(crate) fn of(kinds: &[Kind], fds: Vec<OwnedFd>) -> Option<Self> {
        if kinds.len() != fds.len() {
            return None;
        }
        let mut sockets = Self::default();
        for (kind, fd) in kinds.iter().zip(fds) {
            match kind {
                Kind::Tcp(port) => sockets.tcp.push((*port, fd)),
                Kind::Dns => sockets.dns.push(fd),
                Kind::Packets => sockets.packets = Some(fd),
            }
        }
        Some(sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_network_is_named() {
        let spec = |ports: &[u16], certificates: Option<&str>| NetworkSpec {
            ports: ports.to_vec(),
            certificates: certificates.map(|text| text.as_bytes().to_vec()),
        };
        let good = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(spec(&[1, 65535], Some(good)).problem(), None);
        assert!(spec(&[443, 0], None).problem().is_some());
        assert!(spec(&[7; MAX_PORTS + 1], None).problem().is_some());
        assert!(spec(&[], Some("CERTIFICATE")).problem().is_some());
        let key = format!("{good}-----BEGIN PRIVATE KEY-----\n");
        assert!(spec(&[], Some(&key)).problem().unwrap().contains("key"));
        let long = good.repeat(MAX_CERTIFICATES);
        assert!(spec(&[], Some(&long)).problem().is_some());
        assert_eq!(
            spec(&[8443, 80, 8443], None).listened(),
            [53, 80, 443, 8443]
        );
    }

    #[test]
    fn descriptors_without_a_meaning_are_no_sockets() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(NetworkSockets::of(&[Kind::Dns], Vec::new()).is_none());
        assert!(NetworkSockets::of(&[], vec![null()]).is_none());
        let kinds = [Kind::Tcp(443), Kind::Dns, Kind::Packets];
        let sockets = NetworkSockets::of(&kinds, vec![null(), null(), null()]).unwrap();
        assert_eq!(sockets.tcp[0].0, 443);
        assert!(sockets.dns.len() == 1 && sockets.packets.is_some());
    }
}
