//! What the tests of the network share: environments with one, attacks, and somebody who answers.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use sandbox::{Environment, EnvironmentSpec, ExecMode, NetworkSockets, NetworkSpec};

use crate::common::{Ran, World, is_root, quiet, run, sh};

pub(crate) const ATTACKER: &str = "SANDBOX_TEST_ATTACKER";

pub(crate) const CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\nb3VyIG93bg==\n-----END CERTIFICATE-----\n";

/// Ports that a policy might name.
pub(crate) const PORTS: [u16; 2] = [5432, 8443];

pub(crate) fn attacker() -> PathBuf {
    std::env::var_os(ATTACKER).map_or_else(
        || env!("CARGO_BIN_EXE_sandbox-attacker").into(),
        PathBuf::from,
    )
}

/// Without and, where that can be, with exec control.
pub(crate) fn modes() -> Vec<ExecMode> {
    let gated = is_root().then_some(ExecMode::Observe);
    [ExecMode::Off].into_iter().chain(gated).collect()
}

pub(crate) fn spec(world: &World, name: &str, mode: ExecMode) -> EnvironmentSpec {
    let mut spec = world.spec(name, None);
    spec.program = Some(attacker());
    spec.exec.mode = mode;
    spec.network = Some(NetworkSpec {
        ports: PORTS.to_vec(),
        certificates: Some(CERTIFICATE.into()),
    });
    spec
}

pub(crate) fn make(world: &World, name: &str, mode: ExecMode) -> (Environment, NetworkSockets) {
    let environment = world.supervisor.create(&spec(world, name, mode)).unwrap();
    let sockets = environment.take_network().expect("its sockets");
    (environment, sockets)
}

pub(crate) fn attack(environment: &Environment, words: &[&str]) -> Ran {
    let mut spec = quiet("");
    spec.argv = ["/nightcrew/bin/nightcrew", "--network"]
        .iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect();
    run(environment, spec)
}

/// What the attempt must have come to, with its words where it did not.
pub(crate) fn blocked(environment: &Environment, words: &[&str]) {
    let ran = attack(environment, words);
    assert!(ran.out.starts_with("BLOCKED"), "{words:?}: {ran:?}");
}

pub(crate) fn succeeded(environment: &Environment, words: &[&str]) {
    let ran = attack(environment, words);
    assert!(ran.out.starts_with("SUCCEEDED"), "{words:?}: {ran:?}");
}

/// Plays the broker: says to whoever connects which address was meant, until told to end.
pub(crate) struct Broker {
    threads: Vec<std::thread::JoinHandle<Vec<SocketAddr>>>,
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Broker {
    pub(crate) fn over(tcp: Vec<(u16, OwnedFd)>) -> Self {
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
    pub(crate) fn met(self) -> Vec<SocketAddr> {
        self.end.store(true, std::sync::atomic::Ordering::Relaxed);
        let met = self.threads.into_iter();
        met.flat_map(|thread| thread.join().unwrap()).collect()
    }
}

pub(crate) fn serve(
    listener: &TcpListener,
    end: &std::sync::atomic::AtomicBool,
) -> Vec<SocketAddr> {
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
pub(crate) const ASK: &str = r#"ask() { python3 - "$1" "$2" <<'END'
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

pub(crate) fn ask(environment: &Environment, places: &[(&str, u16)]) -> Vec<String> {
    let calls: Vec<String> = places
        .iter()
        .map(|(address, port)| format!("ask {address} {port}"))
        .collect();
    let out = sh(environment, &format!("{ASK}{}", calls.join("\n"))).ok();
    out.lines().map(str::to_owned).collect()
}
