//! Names inside an environment, answered over its sockets: from the address that was asked, since
//! whoever asks hears nobody else.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket as StdUdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use bytes::BytesMut;
use model::egress::{EgressKind, EgressRefusal};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UdpSocket};

use crate::broker::environment::{Environment, Happened};
use crate::dns::{self, LONGEST_QUERY};

/// Questions over one connection. Resolvers send two.
const MOST_QUESTIONS: usize = 256;

/// Serves the sockets until the environment is over.
pub(crate) fn serve(environment: &Arc<Environment>, sockets: Vec<StdUdpSocket>) {
    for socket in sockets {
        // The socket was prepared when it was checked.
        let Ok(socket) = UdpSocket::from_std(socket) else {
            continue;
        };
        let environment = Arc::clone(environment);
        tokio::spawn(async move {
            tokio::select! {
                () = environment.over() => {}
                () = answer_all(&environment, &socket) => {}
            }
        });
    }
}

async fn answer_all(environment: &Environment, socket: &UdpSocket) {
    let mut buffer = vec![0; LONGEST_QUERY + 1];
    loop {
        let received = socket
            .async_io(Interest::READABLE, || receive(socket, &mut buffer))
            .await;
        // What went wrong with one datagram, such as an answer that nobody took, ends nothing.
        let Ok(Some(asked)) = received else {
            tokio::task::yield_now().await;
            continue;
        };
        if let Some(answer) = answer(environment, &buffer[..asked.length]) {
            let _ = asked.reply(socket, &answer);
        }
    }
}

/// A question that came as a datagram.
struct Asked {
    length: usize,
    from: SockaddrStorage,
    at: At,
}

/// The address that was asked.
enum At {
    V4(nix::libc::in_pktinfo),
    V6(nix::libc::in6_pktinfo),
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<Option<Asked>> {
    let mut space = nix::cmsg_space!(nix::libc::in_pktinfo, nix::libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let mut at = None;
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => at = Some(At::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => at = Some(At::V6(info)),
            _ => {}
        }
    }
    Ok(received.address.zip(at).map(|(from, at)| Asked {
        length: received.bytes,
        from,
        at,
    }))
}

impl Asked {
    fn reply(&self, socket: &UdpSocket, answer: &[u8]) -> std::io::Result<()> {
        let (v4, v6);
        let control = match &self.at {
            At::V4(info) => {
                v4 = nix::libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: info.ipi_addr,
                    ipi_addr: info.ipi_addr,
                };
                ControlMessage::Ipv4PacketInfo(&v4)
            }
            At::V6(info) => {
                v6 = nix::libc::in6_pktinfo {
                    ipi6_addr: info.ipi6_addr,
                    ipi6_ifindex: 0,
                };
                ControlMessage::Ipv6PacketInfo(&v6)
            }
        };
        // Who does not read its answers gets none: nothing waits for it.
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(answer)],
            &[control],
            MsgFlags::MSG_DONTWAIT,
            Some(&self.from),
        )?;
        Ok(())
    }
}

/// Answers questions over a connection.
pub(crate) async fn serve_stream(environment: &Environment, mut stream: TcpStream) {
    let limit = environment.volume.limits().head();
    let mut received = BytesMut::new();
    for _ in 0..MOST_QUESTIONS {
        let question = loop {
            match dns::next_frame(&mut received) {
                Ok(Some(question)) => break question,
                Ok(None) => {}
                Err(_) => return malformed(environment),
            }
            let mut part = [0; LONGEST_QUERY];
            match tokio::time::timeout(limit, stream.read(&mut part)).await {
                Ok(Ok(count)) if count > 0 => received.extend_from_slice(&part[..count]),
                _ => return,
            }
        };
        if let Some(answer) = answer(environment, &question) {
            let frame = dns::frame(&answer);
            let writing = tokio::time::timeout(limit, stream.write_all(&frame)).await;
            if !matches!(writing, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn happened() -> Happened {
    Happened {
        kind: EgressKind::Name,
        host: String::new(),
        port: dns::PORT,
        detail: String::new(),
        rule: String::new(),
        address: None,
    }
}

fn malformed(environment: &Environment) {
    environment.refuse(&happened(), &EgressRefusal::ProtocolInvalid.into());
}

fn answer(environment: &Environment, question: &[u8]) -> Option<Vec<u8>> {
    // Also while a kill switch stands: the connection that follows is told, a name only waits.
    if !environment.volume.query() {
        environment.refuse(&happened(), &EgressRefusal::VolumeExhausted.into());
        return None;
    }
    let policy = environment.policy.load();
    let (answer, event) = dns::answer(question, &policy, &mut environment.names());
    if let Some(mut event) = event {
        event.at_ms = (environment.shared.clock)();
        environment.shared.recorder.record(&environment.id, event);
    }
    answer
}
