//! The broker: what an environment's connections meet.

use std::os::fd::OwnedFd;

/// Sockets in an environment's network namespace, made by whoever made the environment.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Listening TCP sockets with their ports, of both families.
    pub tcp: Vec<(u16, OwnedFd)>,
    /// UDP sockets bound to port 53, with `IP_PKTINFO`/`IPV6_RECVPKTINFO` on.
    pub dns: Vec<OwnedFd>,
    /// A packet socket on the loopback, which sees what is tried on other ports.
    pub packets: Option<OwnedFd>,
}
