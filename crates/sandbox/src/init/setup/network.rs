//! The environment's network: routes that make every address local, and the sockets that answer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::message::{Failure, Stage};
use crate::network::{Kind, NetworkSpec};
use crate::sys::{listen, packet, route};

/// Sockets on their way out of the environment.
#[derive(Default)]
pub(in crate::init) struct Network {
    pub(in crate::init) kinds: Vec<Kind>,
    fds: Vec<OwnedFd>,
    /// Whether addresses of IPv6 lead to them too.
    pub(in crate::init) version_6: bool,
    pub(in crate::init) weaker: Vec<String>,
}

/// Makes routes and sockets. What the kernel has no part of is not reachable, and said.
pub(super) fn open(spec: &NetworkSpec) -> Result<Network, Failure> {
    let mut network = Network::default();
    route::make_all_local(libc::AF_INET).stage("make every address local")?;
    network.listen(libc::AF_INET, spec)?;
    match route::make_all_local(libc::AF_INET6) {
        Ok(()) => {
            network.listen(libc::AF_INET6, spec)?;
            network.version_6 = true;
        }
        Err(error) => network
            .weaker
            .push(format!("IPv6 is off ({error}): its addresses lead nowhere")),
    }
    match packet::observe_loopback() {
        Ok(fd) => network.add(Kind::Packets, fd),
        Err(error) => network.weaker.push(format!(
            "the kernel has no packet sockets ({error}): connections to ports that no rule names are refused, but not recorded"
        )),
    }
    Ok(network)
}

impl Network {
    fn listen(&mut self, family: i32, spec: &NetworkSpec) -> Result<(), Failure> {
        for port in spec.listened() {
            let stage = format!("listen on port {port}");
            self.add(Kind::Tcp(port), listen::tcp(family, port).stage(&stage)?);
        }
        let names = listen::udp(family, 53).stage("listen for questions for names")?;
        self.add(Kind::Dns, names);
        Ok(())
    }

    fn add(&mut self, kind: Kind, fd: OwnedFd) {
        self.kinds.push(kind);
        self.fds.push(fd);
    }

    /// The descriptors, in the order of their kinds.
    pub(in crate::init) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// The first socket of a kind; the second where it is one of IPv6.
    pub(in crate::init) fn socket(&self, kind: Kind, version_6: bool) -> Option<&OwnedFd> {
        let found = self.kinds.iter().zip(&self.fds);
        found
            .filter(|(other, _)| **other == kind)
            .nth(usize::from(version_6))
            .map(|(_, fd)| fd)
    }
}
