//! The sockets of an environment, checked and served.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::broker::environment::Environment;
use crate::broker::{AttachError, Sockets, connection, names, packets};

/// How long accepting pauses when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Sockets that are what they were said to be.
pub(crate) struct Listening {
    pub(crate) tcp: Vec<(u16, tokio::net::TcpListener)>,
    pub(crate) dns: Vec<UdpSocket>,
    pub(crate) packets: Option<OwnedFd>,
}

/// Looks at every socket: who hands them over may be mistaken, and a socket in the wrong place
/// would judge one environment by another's policy.
pub(crate) fn check(sockets: Sockets) -> Result<Listening, AttachError> {
    let mut tcp = Vec::new();
    for (port, socket) in sockets.tcp {
        let what = || format!("listener for port {port}");
        let listens = socket_acceptconn(&socket).unwrap_or(false);
        if !listens || !is_inet(&socket, SocketType::STREAM) {
            return Err(wrong(what(), "it is no listening TCP socket"));
        }
        let listener = TcpListener::from(socket);
        match listener.local_addr() {
            Ok(address) if address.port() == port => {}
            _ => return Err(wrong(what(), "it listens on another port")),
        }
        tcp.push((
            port,
            prepared(listener).map_err(|error| wrong(what(), &error.to_string()))?,
        ));
    }
    let mut dns = Vec::new();
    for socket in sockets.dns {
        let what = || String::from("socket for names");
        if !is_inet(&socket, SocketType::DGRAM) {
            return Err(wrong(what(), "it is no UDP socket"));
        }
        let socket = UdpSocket::from(socket);
        socket
            .set_nonblocking(true)
            .map_err(|error| wrong(what(), &error.to_string()))?;
        dns.push(socket);
    }
    if let Some(packets) = &sockets.packets
        && socket_domain(packets).ok() != Some(AddressFamily::PACKET)
    {
        return Err(wrong(String::from("packet socket"), "it is none"));
    }
    Ok(Listening {
        tcp,
        dns,
        packets: sockets.packets,
    })
}

fn is_inet(socket: &impl AsFd, kind: SocketType) -> bool {
    let domain = socket_domain(socket).ok();
    let inet = domain == Some(AddressFamily::INET) || domain == Some(AddressFamily::INET6);
    inet && socket_type(socket).ok() == Some(kind)
}

fn prepared(listener: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn wrong(what: String, why: &str) -> AttachError {
    AttachError::Socket {
        what,
        why: why.to_owned(),
    }
}

/// Serves all sockets until the environment is over.
pub(crate) fn serve(environment: &Arc<Environment>, listening: Listening) {
    for (port, listener) in listening.tcp {
        let environment = Arc::clone(environment);
        tokio::spawn(async move {
            tokio::select! {
                () = environment.over() => {}
                () = accept(&environment, &listener, port) => {}
            }
        });
    }
    names::serve(environment, listening.dns);
    if let Some(packets) = listening.packets {
        tokio::spawn(packets::watch(Arc::clone(environment), packets));
    }
}

async fn accept(environment: &Arc<Environment>, listener: &tokio::net::TcpListener, port: u16) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection::arrived(Arc::clone(environment), stream, port));
            }
            // Some errors are of the one connection, others of the process; none ends the loop.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
