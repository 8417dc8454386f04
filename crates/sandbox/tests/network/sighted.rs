//! Attempts of `crates/egress/attacks/sighted.toml` that concern what is inside, by name.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;

use sandbox::ExecMode;
use sandbox::network::{BUNDLE, CERTIFICATES, trust_variables};

use crate::common::{World, is_root, named, quiet, run, sh};
use crate::kit::{Broker, ask, blocked, make, modes, spec, succeeded};

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
        let inits = named(&name[..15.min(name.len())]);
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
