//! The network of an environment that has one: every address leads to the sockets that left it, or
//! nowhere, and nothing inside changes that. Attempts are those of `crates/egress/attacks`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod kit;
mod laid;
mod sighted;

use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{World, as_ordinary_user, copy_program, sh};
use kit::{ATTACKER, Broker, ask, attacker, make, modes, spec};
use sandbox::{ExecMode, IsolationLevel, NetworkSpec, SandboxError};

#[test]
fn every_address_leads_to_the_sockets_that_left_or_nowhere() {
    let world = World::new();
    for mode in modes() {
        let (environment, sockets) = make(&world, &format!("every-{mode:?}"), mode);
        let report = environment.report();
        let layer = report.layers.iter().any(|name| name == "network-brokered");
        assert!(layer && report.weaker.is_empty(), "{report:?}");
        if mode != ExecMode::Off {
            assert_eq!(report.level, IsolationLevel::L1);
        }
        let ports: Vec<u16> = sockets.tcp.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, [53, 80, 443, 5432, 8443, 53, 80, 443, 5432, 8443]);
        assert_eq!(sockets.dns.len(), 2);
        let broker = Broker::over(sockets.tcp);
        let said = ask(
            &environment,
            &[
                ("203.0.113.9", 443),
                ("127.0.0.1", 80),
                ("198.18.0.1", 5432),
                ("2001:db8::7", 8443),
                ("169.254.169.254", 80),
                ("203.0.113.9", 22),
                ("2001:db8::7", 22),
            ],
        );
        assert_eq!(
            said,
            [
                "broker 203.0.113.9:443",
                "broker 127.0.0.1:80",
                "broker 198.18.0.1:5432",
                "broker [2001:db8::7]:8443",
                "broker 169.254.169.254:80",
                "Connection refused",
                "Connection refused",
            ]
        );
        assert_eq!(broker.met().len(), 5);
        assert!(environment.take_network().is_none(), "they leave once");
    }
}

#[test]
fn without_a_network_nothing_is_there() {
    let world = World::new();
    let environment = world.empty("none");
    assert!(environment.take_network().is_none());
    let layers = &environment.report().layers;
    assert!(!layers.iter().any(|name| name == "network-brokered"));
    let said = ask(&environment, &[("203.0.113.9", 443), ("127.0.0.1", 443)]);
    assert_eq!(said, ["Network is unreachable", "Connection refused"]);
    let seen = sh(&environment, "cat /etc/resolv.conf; ls -A /nightcrew/etc").ok();
    assert_eq!(seen, "");
}

#[test]
fn names_are_asked_of_the_socket_that_left_at_every_address() {
    let world = World::new();
    let (environment, sockets) = make(&world, "names", ExecMode::Off);
    let conf = sh(
        &environment,
        "cat /etc/resolv.conf; grep hosts: /etc/nsswitch.conf",
    )
    .ok();
    assert_eq!(conf, "nameserver 127.0.0.53\nhosts: files dns\n");
    let answer = sh(
        &environment,
        r#"python3 - <<'END'
import socket
for family, address in [(socket.AF_INET, "127.0.0.53"), (socket.AF_INET, "8.8.8.8"), (socket.AF_INET6, "2001:db8::1")]:
    there = socket.socket(family, socket.SOCK_DGRAM)
    there.sendto(address.encode(), (address, 53))
END"#,
    );
    answer.ok();
    let mut met = Vec::new();
    for fd in sockets.dns {
        let socket = UdpSocket::from(fd);
        let mut buffer = [0; 64];
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            met.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    assert_eq!(met, ["127.0.0.53", "8.8.8.8", "2001:db8::1"]);
}

#[test]
fn what_is_tried_on_other_ports_is_seen_and_nothing_else() {
    let world = World::new();
    let (environment, sockets) = make(&world, "observed", ExecMode::Off);
    let broker = Broker::over(sockets.tcp);
    sh(
        &environment,
        r#"python3 - <<'END'
import socket
def tcp(family, address, port):
    try:
        socket.socket(family, socket.SOCK_STREAM).connect((address, port))
    except OSError:
        pass
def udp(address, port):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x" * 4000, (address, port))
tcp(socket.AF_INET, "203.0.113.9", 22)
tcp(socket.AF_INET6, "2001:db8::7", 6667)
tcp(socket.AF_INET, "127.0.0.1", 9)
tcp(socket.AF_INET6, "::1", 9)
tcp(socket.AF_INET, "203.0.113.9", 443)
udp("198.51.100.7", 123)
udp("8.8.8.8", 53)
udp("127.0.0.1", 9)
END"#,
    )
    .ok();
    broker.met();
    let mut packets = fs::File::from(sockets.packets.expect("a packet socket"));
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = packets.read(&mut buffer) {
        assert!(length <= 120, "{length}");
        seen.push(headers(&buffer[..length]));
    }
    assert_eq!(
        seen,
        [
            "6 203.0.113.9:22",
            "6 [2001:db8::7]:6667",
            "6 203.0.113.9:443",
            "17 198.51.100.7:123"
        ]
    );
}

/// Protocol, address and port of a packet.
fn headers(packet: &[u8]) -> String {
    let port = |at: usize| u16::from_be_bytes([packet[at + 2], packet[at + 3]]);
    if packet[0] >> 4 == 4 {
        let address: [u8; 4] = packet[16..20].try_into().unwrap();
        let behind = usize::from(packet[0] & 0xf) * 4;
        return format!(
            "{} {}",
            packet[9],
            SocketAddr::new(IpAddr::from(address), port(behind))
        );
    }
    let address: [u8; 16] = packet[24..40].try_into().unwrap();
    format!(
        "{} {}",
        packet[6],
        SocketAddr::new(IpAddr::from(address), port(40))
    )
}

#[test]
fn a_network_that_cannot_be_is_refused_by_name() {
    let world = World::new();
    for network in [
        NetworkSpec {
            ports: vec![0],
            certificates: None,
        },
        NetworkSpec {
            ports: Vec::new(),
            certificates: Some(b"-----BEGIN PRIVATE KEY-----".to_vec()),
        },
    ] {
        let mut spec = spec(&world, "refused", ExecMode::Off);
        spec.network = Some(network);
        let refused = world.supervisor.create(&spec).unwrap_err();
        assert!(
            matches!(
                refused,
                SandboxError::InvalidSpec {
                    field: "network",
                    ..
                }
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_port_that_is_the_supervisors_bait_is_the_environments_own() {
    let world = World::new();
    let bait = bait_port(&world);
    let mut spec = spec(&world, "bait", ExecMode::Off);
    spec.network.as_mut().unwrap().ports = vec![bait];
    let environment = world.supervisor.create(&spec).unwrap();
    let probe = "host-loopback-unreachable";
    let mut seen = environment.report().self_test.iter();
    let seen = seen.find(|seen| seen.name == probe).unwrap();
    assert_eq!(seen.detail, "accepted by its own socket");
}

/// The port on which the supervisor listens, so that environments can try it.
fn bait_port(world: &World) -> u16 {
    let folder = format!("/proc/{}/fd", world.supervisor.process_id());
    let held: Vec<String> = fs::read_dir(folder)
        .map(|entries| {
            let links = entries.flatten();
            let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
            links.map(|link| link.display().to_string()).collect()
        })
        .unwrap_or_default();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.split(':').nth(1)?, 16).ok()?;
        let inode = format!("socket:[{}]", fields.get(9)?);
        (fields.get(3)? == &"0A" && held.contains(&inode)).then_some(port)
    });
    listening.last().expect("the bait")
}

#[test]
fn a_network_costs_about_as_much_as_nothing() {
    let world = World::new();
    let time = |network: bool, round: usize| {
        let mut spec = spec(&world, &format!("time-{network}-{round}"), ExecMode::Off);
        spec.program = None;
        if !network {
            spec.network = None;
        }
        let start = Instant::now();
        let environment = world.supervisor.create(&spec).unwrap();
        let took = start.elapsed();
        environment.destroy().unwrap();
        took
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..60 {
        without.push(time(false, round));
        with.push(time(true, round));
    }
    without.sort_unstable();
    with.sort_unstable();
    let (without, with) = (without[30], with[30]);
    println!("start without {without:?}, with {with:?}");
    // This build is not optimised, and the machine may be busy: of this order, and no other.
    assert!(with < without * 2 + Duration::from_millis(5), "{with:?}");
}

#[test]
fn an_ordinary_user_has_the_same_network() {
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("sandbox-attacker");
    copy_program(attacker().to_str().unwrap(), &program);
    as_ordinary_user(&[(ATTACKER, program.to_str().unwrap())]);
}
