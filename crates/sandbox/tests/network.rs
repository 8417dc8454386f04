//! The network of an environment that has one: every address leads to the sockets that left it, or
//! nowhere, and nothing inside changes that. Attempts are those of `crates/egress/attacks`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Ran, World, as_ordinary_user, copy_program, is_root, quiet, run, sh};
use sandbox::network::{BUNDLE, CERTIFICATES, trust_variables};
use sandbox::{
    Environment, EnvironmentSpec, ExecMode, IsolationLevel, NetworkSockets, NetworkSpec,
    SandboxError,
};

const ATTACKER: &str = "SANDBOX_TEST_ATTACKER";

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nb3VyIG93bg==\n-----END CERTIFICATE-----\n";

/// Ports that a policy might name.
const PORTS: [u16; 2] = [5432, 8443];

fn attacker() -> PathBuf {
    std::env::var_os(ATTACKER).map_or_else(
        || env!("CARGO_BIN_EXE_sandbox-attacker").into(),
        PathBuf::from,
    )
}

/// Without and, where that can be, with exec control.
fn modes() -> Vec<ExecMode> {
    let gated = is_root().then_some(ExecMode::Observe);
    [ExecMode::Off].into_iter().chain(gated).collect()
}

fn spec(world: &World, name: &str, mode: ExecMode) -> EnvironmentSpec {
    let mut spec = world.spec(name, None);
    spec.program = Some(attacker());
    spec.exec.mode = mode;
    spec.network = Some(NetworkSpec {
        ports: PORTS.to_vec(),
        certificates: Some(CERTIFICATE.into()),
    });
    spec
}

fn make(world: &World, name: &str, mode: ExecMode) -> (Environment, NetworkSockets) {
    let environment = world.supervisor.create(&spec(world, name, mode)).unwrap();
    let sockets = environment.take_network().expect("its sockets");
    (environment, sockets)
}

fn attack(environment: &Environment, words: &[&str]) -> Ran {
    let mut spec = quiet("");
    spec.argv = ["/nightcrew/bin/nightcrew", "--network"]
        .iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect();
    run(environment, spec)
}

/// What the attempt must have come to, with its words where it did not.
fn blocked(environment: &Environment, words: &[&str]) {
    let ran = attack(environment, words);
    assert!(ran.out.starts_with("BLOCKED"), "{words:?}: {ran:?}");
}

fn succeeded(environment: &Environment, words: &[&str]) {
    let ran = attack(environment, words);
    assert!(ran.out.starts_with("SUCCEEDED"), "{words:?}: {ran:?}");
}

/// Plays the broker: says to whoever connects which address was meant, until told to end.
struct Broker {
    threads: Vec<std::thread::JoinHandle<Vec<SocketAddr>>>,
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Broker {
    fn over(tcp: Vec<(u16, OwnedFd)>) -> Self {
        let end = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let threads = tcp.into_iter().map(|(_, fd)| {
            let end = std::sync::Arc::clone(&end);
            std::thread::spawn(move || serve(&TcpListener::from(fd), &end))
        });
        Self {
            threads: threads.collect(),
            end,
        }
    }

    /// Everything that was meant, in order of each socket.
    fn met(self) -> Vec<SocketAddr> {
        self.end.store(true, std::sync::atomic::Ordering::Relaxed);
        let met = self.threads.into_iter();
        met.flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn serve(listener: &TcpListener, end: &std::sync::atomic::AtomicBool) -> Vec<SocketAddr> {
    let mut met = Vec::new();
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let meant = stream.local_addr().unwrap();
                let _ = stream.write_all(format!("broker {meant}\n").as_bytes());
                met.push(meant);
            }
            Err(_) if end.load(std::sync::atomic::Ordering::Relaxed) => return met,
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// A shell function that prints what a place says, or that it says nothing.
const ASK: &str = r#"ask() { python3 - "$1" "$2" <<'END'
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
there = socket.socket(family, socket.SOCK_STREAM)
there.settimeout(5)
try:
    there.connect((sys.argv[1], int(sys.argv[2])))
    print(there.recv(200).decode().strip())
except OSError as error:
    print(error.strerror)
END
}
"#;

fn ask(environment: &Environment, places: &[(&str, u16)]) -> Vec<String> {
    let calls: Vec<String> = places
        .iter()
        .map(|(address, port)| format!("ask {address} {port}"))
        .collect();
    let out = sh(environment, &format!("{ASK}{}", calls.join("\n"))).ok();
    out.lines().map(str::to_owned).collect()
}

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
fn sight_reuseport_joins_broker_group() {
    let world = World::new();
    for mode in modes() {
        let (environment, sockets) = make(&world, &format!("reuse-{mode:?}"), mode);
        for port in ["5432", "8443", "443", "80", "53"] {
            blocked(&environment, &["reuse", port]);
        }
        // The attack itself works: where nobody listens, it is permitted.
        succeeded(&environment, &["reuse", "8444"]);
        let broker = Broker::over(sockets.tcp);
        let places = [("198.18.0.1", 8443); 50];
        let said = ask(&environment, &places);
        assert_eq!(said, ["broker 198.18.0.1:8443"; 50]);
        broker.met();
    }
}

#[test]
fn sight_udp_specific_bind_steals_dns() {
    let world = World::new();
    let (environment, _sockets) = make(&world, "udp", ExecMode::Off);
    blocked(&environment, &["reuse-udp", "53"]);
    succeeded(&environment, &["reuse-udp", "5353"]);
}

#[test]
fn sight_unprivileged_port_sysctl() {
    let world = World::new();
    let (environment, sockets) = make(&world, "sysctl", ExecMode::Off);
    let values = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_forward";
    let before = sh(&environment, values).ok();
    blocked(&environment, &["settings"]);
    assert_eq!(sh(&environment, values).ok(), before);
    assert!(before.starts_with("1024\n"), "{before}");
    // Even if it were changed, nobody binds beside the sockets that are there.
    drop(sockets);
    blocked(&environment, &["reuse", "443"]);
    blocked(&environment, &["reuse-udp", "53"]);
}

#[test]
fn sight_route_and_loopback_by_ioctl() {
    let world = World::new();
    for mode in modes() {
        let (environment, sockets) = make(&world, &format!("routes-{mode:?}"), mode);
        blocked(&environment, &["interfaces"]);
        blocked(&environment, &["raw"]);
        let broker = Broker::over(sockets.tcp);
        let said = ask(&environment, &[("203.0.113.9", 443)]);
        assert_eq!(said, ["broker 203.0.113.9:443"]);
        broker.met();
    }
}

#[test]
fn sight_source_address_as_identity() {
    let world = World::new();
    let (environment, sockets) = make(&world, "sources", ExecMode::Off);
    let (_other, others) = make(&world, "sources-b", ExecMode::Off);
    let (broker, other) = (Broker::over(sockets.tcp), Broker::over(others.tcp));
    blocked(&environment, &["sources", "198.18.0.1", "443"]);
    // Four connections, whatever their sources, to the sockets of the environment they began in.
    assert_eq!(broker.met().len(), 4);
    assert_eq!(other.met().len(), 0);
}

#[test]
fn sight_listener_left_in_init_or_step() {
    let world = World::new();
    for mode in modes() {
        let (environment, sockets) = make(&world, &format!("left-{mode:?}"), mode);
        for _ in 0..10 {
            blocked(&environment, &["descriptors"]);
        }
        // A socket that a step is given is found.
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut given = quiet("");
        given.argv = ["/nightcrew/bin/nightcrew", "--network", "descriptors"]
            .map(str::to_owned)
            .to_vec();
        given.stdin = Some(theirs.into());
        assert!(run(&environment, given).out.starts_with("SUCCEEDED"));
        drop(ours);
        let name = format!("nc:left-{mode:?}");
        let inits = common::named(&name[..15.min(name.len())]);
        assert!(!inits.is_empty() || !is_root(), "{name}");
        let held: BTreeSet<String> = sockets.tcp.iter().map(|(_, fd)| inode(fd)).collect();
        for init in inits.iter().filter(|_| is_root()) {
            let links = fs::read_dir(Path::new(init).join("fd")).unwrap();
            let links: Vec<String> = links
                .flatten()
                .map(|entry| fs::read_link(entry.path()).unwrap().display().to_string())
                .collect();
            let sockets = links.iter().filter(|link| link.starts_with("socket:"));
            assert_eq!(sockets.count(), 1, "its link: {links:?}");
            assert!(links.iter().all(|link| !held.contains(link)), "{links:?}");
        }
    }
}

fn inode(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::read_link(path).unwrap().display().to_string()
}

#[test]
fn sight_init_inherits_other_environments_sockets() {
    let world = World::new();
    let made: Vec<_> = std::thread::scope(|scope| {
        let made: Vec<_> = (0..16)
            .map(|number| {
                let world = &world;
                scope.spawn(move || make(world, &format!("beside-{number}"), ExecMode::Off))
            })
            .collect();
        made.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut inodes = BTreeSet::new();
    for (environment, sockets) in made {
        for (_, fd) in &sockets.tcp {
            assert!(inodes.insert(inode(fd)), "a socket of two environments");
        }
        blocked(&environment, &["descriptors"]);
        let broker = Broker::over(sockets.tcp);
        let said = ask(&environment, &[("198.18.0.1", 443)]);
        assert_eq!(said, ["broker 198.18.0.1:443"]);
        assert_eq!(broker.met().len(), 1, "{}", environment.id());
    }
    if is_root() {
        let supervisor = format!("/proc/{}/fd", world.supervisor.process_id());
        let links = fs::read_dir(supervisor).unwrap().flatten();
        let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        let left = links.filter(|link| inodes.contains(&link.display().to_string()));
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn sight_netns_kept_alive_by_outside_sockets() {
    let world = World::new();
    let (environment, sockets) = make(&world, "kept", ExecMode::Off);
    environment.destroy().unwrap();
    // Nothing inside is left to connect; the sockets are whoever's who took them.
    let listener = TcpListener::from(sockets.tcp.into_iter().next().unwrap().1);
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    // The same name can be had again, with sockets of its own.
    let (again, sockets) = make(&world, "kept", ExecMode::Off);
    let broker = Broker::over(sockets.tcp);
    assert_eq!(ask(&again, &[("1.1.1.1", 80)]), ["broker 1.1.1.1:80"]);
    broker.met();
    assert!(listener.accept().is_err());
}

#[test]
fn sight_laid_in_files_rewritten_through_run() {
    let world = World::new();
    for mode in modes() {
        let name = format!("twins-{}", mode == ExecMode::Off);
        let mut spec = spec(&world, &name, mode);
        spec.hostname = "builder-7".to_owned();
        let environment = world.supervisor.create(&spec).unwrap();
        let digest = format!("sha256sum /etc/hosts /etc/hostname /etc/resolv.conf {BUNDLE}");
        let before = sh(&environment, &digest).ok();
        blocked(&environment, &["twins"]);
        assert_eq!(sh(&environment, &digest).ok(), before);
        assert_eq!(sh(&environment, "ls -A /run | grep -c host").out, "0\n");
    }
    // Without a network, with a name of its own.
    let mut spec = spec(&world, "twins-plain", ExecMode::Off);
    spec.network = None;
    spec.hostname = "builder-8".to_owned();
    let environment = world.supervisor.create(&spec).unwrap();
    blocked(&environment, &["twins"]);
    let seen = sh(
        &environment,
        "cat /etc/hostname; grep -c builder-8 /etc/hosts",
    )
    .ok();
    assert_eq!(seen, "builder-8\n2\n");
}

#[test]
fn sight_ca_certificate_in_the_shared_root() {
    let world = World::new();
    let own = |letter: &str| {
        format!("-----BEGIN CERTIFICATE-----\n{letter}\n-----END CERTIFICATE-----\n")
    };
    let mut made = Vec::new();
    for letter in ["QQ==", "Qg=="] {
        let mut spec = spec(&world, &format!("ca{}", made.len()), ExecMode::Off);
        let network = spec.network.as_mut().unwrap();
        network.certificates = Some(own(letter).into());
        made.push((letter, world.supervisor.create(&spec).unwrap()));
    }
    let system = sh(&made[0].1, "cat /etc/ssl/certs/ca-certificates.crt").out;
    for (letter, environment) in &made {
        let seen = sh(environment, &format!("cat {CERTIFICATES}")).ok();
        assert_eq!(seen, own(letter));
        let bundle = sh(environment, &format!("cat {BUNDLE}")).ok();
        assert!(bundle.ends_with(&own(letter)), "{}", bundle.len());
        let others = made.iter().filter(|(other, _)| other != letter);
        for (other, _) in others {
            assert!(!bundle.contains(&own(other)), "another environment's");
        }
        if !system.is_empty() {
            let covered = sh(environment, "cat /etc/ssl/certs/ca-certificates.crt").ok();
            assert!(covered == bundle && bundle.len() > 2 * own(letter).len());
        }
    }
    for (name, path) in trust_variables() {
        assert!(name.contains("CERT") || name.contains("CA"), "{name}");
        sh(&made[0].1, &format!("test -r {path}")).ok();
    }
    // One that has no certificates of its own trusts nobody's.
    let plain = world.empty("ca-none");
    let bundle = sh(&plain, "cat /etc/ssl/certs/ca-certificates.crt").out;
    assert!(!bundle.contains("QQ==\n-----END") && !bundle.contains("Qg==\n-----END"));
}

#[test]
fn an_image_keeps_its_bundle_and_cannot_lead_the_bind_astray() {
    let world = World::new();
    let tree = world.place.join("tree");
    for folder in ["usr", "etc/ssl/certs", "etc/pki/tls/certs", "bin"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    fs::write(tree.join("etc/ssl/certs/ca-certificates.crt"), "image").unwrap();
    // A link to a folder that is not a system's, and one that leads nowhere.
    std::os::unix::fs::symlink("/work/bundle", tree.join("etc/pki/tls/certs/ca-bundle.crt"))
        .unwrap();
    std::os::unix::fs::symlink("/etc/absent", tree.join("etc/ssl/cert.pem")).unwrap();
    copy_program(
        attacker().to_str().unwrap(),
        &tree.join("bin/sandbox-attacker"),
    );
    sandbox::prepare_base(&tree).unwrap();
    let base = world.base(&[("bundle", "the task's own")]);
    let mut spec = spec(&world, "image", ExecMode::Off);
    spec.workspace.base = Some(base);
    spec.root.tree = Some(tree);
    spec.root.extra = ["/usr", "/lib", "/lib64"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect();
    let environment = world.supervisor.create(&spec).unwrap();
    let mut cat = quiet("");
    cat.argv = [
        "/usr/bin/cat",
        "/etc/ssl/certs/ca-certificates.crt",
        "/work/bundle",
        "/etc/resolv.conf",
    ]
    .map(str::to_owned)
    .to_vec();
    let seen = run(&environment, cat).ok();
    let own = format!("image\n{CERTIFICATE}the task's ownnameserver 127.0.0.53\n");
    assert_eq!(seen, own);
    blocked(&environment, &["twins"]);
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
