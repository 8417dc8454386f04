//! What is tried on ports that nobody serves: the kernel refuses it by itself, and shows it here.
//!
//! Nothing depends on this for being refused. It is looked at slowly on purpose: under a flood the
//! kernel drops what does not fit, and what is recorded is a lower bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use model::egress::{EgressKind, EgressRefusal};
use tokio::net::UdpSocket;

use crate::broker::connection::Place;
use crate::broker::environment::Environment;
use crate::name::Host;

/// Bytes of a packet that are read: the headers.
const HEADERS: usize = 128;
/// Packets that are looked at before a pause, and how long it is.
const MOST_AT_ONCE: usize = 256;
const PAUSE: Duration = Duration::from_millis(20);

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a packet begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    to: IpAddr,
    port: u16,
    udp: bool,
}

/// Records what is begun until the environment is over.
pub(crate) async fn watch(environment: Arc<Environment>, socket: OwnedFd) {
    // Reading is the same for all sockets of datagrams; the runtime knows those of UDP.
    let socket = std::net::UdpSocket::from(socket);
    if socket.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(socket) = UdpSocket::from_std(socket) else {
        return;
    };
    tokio::select! {
        () = environment.over() => {}
        () = look(&environment, &socket) => {}
    }
}

async fn look(environment: &Environment, socket: &UdpSocket) {
    let mut buffer = [0; HEADERS];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..MOST_AT_ONCE {
            match socket.try_recv(&mut buffer) {
                Ok(count) => {
                    if let Some(begun) = parse(&buffer[..count.min(HEADERS)]) {
                        record(environment, begun);
                    }
                }
                Err(_) => break,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn record(environment: &Environment, begun: Begun) {
    // What is served is recorded by whoever serves it.
    if !begun.udp && environment.ports.contains(&begun.port) {
        return;
    }
    let name = environment.names().name(begun.to).cloned();
    let place = Place {
        host: name.map_or(Host::Address(begun.to), Host::Name),
        port: begun.port,
        address: begun.to,
    };
    let mut happened = place.happened(EgressKind::Connection);
    happened.detail = String::from(if begun.udp { "UDP" } else { "TCP" });
    environment.refuse(&happened, &EgressRefusal::PortNotNamed.into());
}

fn parse(packet: &[u8]) -> Option<Begun> {
    let (to, transport, rest) = match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet[0] & 0xf) * 4;
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (
                IpAddr::V4(Ipv4Addr::from(to)),
                *packet.get(9)?,
                packet.get(length..)?,
            )
        }
        6 => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (
                IpAddr::V6(Ipv6Addr::from(to)).to_canonical(),
                *packet.get(6)?,
                packet.get(40..)?,
            )
        }
        _ => return None,
    };
    let port = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
    match transport {
        // SYN without ACK.
        TCP if rest.get(13)? & 0x12 == 0x02 => Some(Begun {
            to,
            port,
            udp: false,
        }),
        UDP => Some(Begun {
            to,
            port,
            udp: true,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_beginning_of_a_connection_is_read() {
        let mut packet = vec![
            0x45, 0, 0, 40, 0, 0, 0, 0, 64, TCP, 0, 0, 127, 0, 0, 1, 203, 0, 113, 9,
        ];
        packet.extend([0x9c, 0x40, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02]);
        let begun = Begun {
            to: "203.0.113.9".parse().unwrap(),
            port: 22,
            udp: false,
        };
        assert_eq!(parse(&packet), Some(begun));
        packet[33] = 0x12;
        assert_eq!(parse(&packet), None);
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, UDP, 64];
        packet.extend([0; 16]);
        packet.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([0x9c, 0x40, 1, 187]);
        let begun = Begun {
            to: "2001:db8::9".parse().unwrap(),
            port: 443,
            udp: true,
        };
        assert_eq!(parse(&packet), Some(begun));
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_passed_over(packet in proptest::collection::vec(any::<u8>(), 0..HEADERS)) {
            let _ = parse(&packet);
        }
    }
}
