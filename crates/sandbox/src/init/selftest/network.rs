//! Probes of an environment with a network: every address leads to its sockets or nowhere, and
//! nothing inside can change that.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::{Seen, errno, refused};
use crate::init::setup::Network;
use crate::network::{Kind, NetworkSpec};
use crate::sys::{file, net, packet, process};

/// Addresses of the world, of those who answer to everybody.
const WORLD_4: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
const WORLD_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111));

/// How long a loopback is waited for. It answers at once; a network might never.
const PATIENCE: Duration = Duration::from_secs(1);

/// The probes, by name.
pub(super) fn probes(spec: &NetworkSpec, network: &Network) -> Vec<(&'static str, Seen)> {
    vec![
        ("every-address-brokered", every_address(network)),
        ("names-brokered", names(network)),
        ("other-ports-observed", observed(spec, network)),
        ("low-ports-refused", low_ports()),
        (
            "packet-sockets-refused",
            refused(net::can_make_socket(libc::AF_PACKET, libc::SOCK_DGRAM)),
        ),
        ("network-settings-read-only", settings()),
        ("loopback-fixed", refused(net::take_down_loopback())),
    ]
}

fn every_address(network: &Network) -> Seen {
    leads_to(SocketAddr::new(WORLD_4, 443), network)?;
    if network.version_6 {
        leads_to(SocketAddr::new(WORLD_6, 443), network)?;
    }
    Ok("accepted by its own socket".to_owned())
}

/// Connects, and sees the environment's own socket accept that very connection.
pub(super) fn leads_to(address: SocketAddr, network: &Network) -> Seen {
    let said = |error: io::Error| format!("{address}: {}", errno(&error));
    let kind = Kind::Tcp(address.port());
    let listener = socket(network, kind, address.is_ipv6())?;
    let here = TcpStream::connect_timeout(&address, PATIENCE).map_err(said)?;
    readable(&listener).map_err(said)?;
    let (there, from) = TcpListener::from(listener).accept().map_err(said)?;
    let (meant, own) = (there.local_addr(), here.local_addr());
    if meant.map_err(said)? == address && own.map_err(said)? == from {
        Ok("accepted by its own socket".to_owned())
    } else {
        Err(format!("{address} is answered by somebody else"))
    }
}

fn names(network: &Network) -> Seen {
    let said = |error: io::Error| errno(&error);
    let listener = socket(network, Kind::Dns, false)?;
    let ask = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(said)?;
    ask.connect(("8.8.8.8", 53)).map_err(said)?;
    ask.send(b"?").map_err(said)?;
    readable(&listener).map_err(said)?;
    let (_, from) = UdpSocket::from(listener)
        .recv_from(&mut [0; 1])
        .map_err(said)?;
    if from == ask.local_addr().map_err(said)? {
        Ok("received by its own socket".to_owned())
    } else {
        Err("another question than the one that was asked".to_owned())
    }
}

/// A port that nobody listens on is refused, and the packet socket shows that it was tried.
fn observed(spec: &NetworkSpec, network: &Network) -> Seen {
    let listened = spec.listened();
    let port = (9..u16::MAX).find(|port| !listened.contains(port));
    let address = SocketAddr::new(WORLD_4, port.unwrap_or(9));
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        Err(error) => return Err(format!("{address}: {}", errno(&error))),
        Ok(_) => return Err(format!("{address} is connected")),
    }
    let Some(packets) = network.socket(Kind::Packets, false) else {
        return Ok("ECONNREFUSED".to_owned());
    };
    let mut seen = false;
    let mut buffer = [0; 128];
    while let Some(packet) = packet::next(packets, &mut buffer) {
        let port = address.port().to_be_bytes();
        seen |= packet.get(16..20) == Some(&[1, 1, 1, 1]) && packet.get(22..24) == Some(&port);
    }
    if seen {
        Ok("ECONNREFUSED, and seen".to_owned())
    } else {
        Err("a connection was not seen".to_owned())
    }
}

fn low_ports() -> Seen {
    let loopback = Ipv4Addr::LOCALHOST;
    for bound in [
        UdpSocket::bind((loopback, 53)).map(drop),
        TcpListener::bind((loopback, 443)).map(drop),
    ] {
        match bound {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {}
            Err(error) => return Err(errno(&error)),
            Ok(()) => return Err("it was permitted".to_owned()),
        }
    }
    Ok("EACCES".to_owned())
}

fn settings() -> Seen {
    let path = c"/proc/sys/net/ipv4/ip_unprivileged_port_start";
    refused(file::open(path, libc::O_WRONLY).map(drop))
}

fn socket(network: &Network, kind: Kind, version_6: bool) -> Result<OwnedFd, String> {
    let socket = network.socket(kind, version_6).ok_or("it has no socket")?;
    socket.try_clone().map_err(|error| errno(&error))
}

fn readable(socket: &OwnedFd) -> io::Result<()> {
    match process::poll([socket.as_fd()], Some(PATIENCE))? {
        [true] => Ok(()),
        [false] => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}

/// Takes out of the packet socket what the self-test itself began.
pub(super) fn forget(network: &Network) {
    if let Some(packets) = network.socket(Kind::Packets, false) {
        while packet::next(packets, &mut [0; 128]).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the host, where the world is not the environment's own, probes must say so.
    #[test]
    fn a_probe_fails_where_addresses_are_not_the_environments_own() {
        let network = Network::default();
        assert!(every_address(&network).is_err());
        assert!(names(&network).is_err());
        assert!(refused(net::can_make_socket(libc::AF_INET, libc::SOCK_DGRAM)).is_err());
    }
}
