//! Messages with descriptors over a local socket: one packet, one message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, in bytes. Below what the kernel lets through in one packet by default.
const LONGEST: usize = 160 * 1024;
/// Descriptors in one message, at most: three streams.
const MOST_DESCRIPTORS: usize = 3;
/// Commands that may wait to be listened to.
const BACKLOG: i32 = 16;

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// Where a keeper is listened to.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// An address for a path of any length: paths of sockets have 107 bytes, so it goes through a
/// descriptor of the folder, which must live as long as the address is used.
fn address(path: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    use std::os::fd::AsRawFd;
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let folder = path.parent().ok_or_else(invalid)?;
    let name = path.file_name().ok_or_else(invalid)?;
    let folder = rustix::fs::open(
        folder,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let through = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    Ok((folder, SocketAddrUnix::new(&through)?))
}

impl Listener {
    /// Listens at a path where nobody listens.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket()?;
        let (_folder, address) = address(path)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        // A conversation may be over before it is accepted: nobody waits for the next one then.
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket })
    }

    /// The next conversation with a process of this user, where there is one; others are hung up on.
    pub(crate) fn accept(&self) -> io::Result<Option<Channel>> {
        use rustix::io::Errno;
        let socket = match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::WOULDBLOCK | Errno::CONNABORTED | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let peer = rustix::net::sockopt::socket_peercred(&socket)?;
        let own = rustix::process::geteuid();
        Ok((peer.uid == own || peer.uid.is_root()).then_some(Channel { socket }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Which of two has something to read or has ended, after at most this long (for ever when absent).
pub(crate) fn either(
    first: &impl AsFd,
    second: &impl AsFd,
    patience: Option<Duration>,
) -> io::Result<(bool, bool)> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let mut fds = [
        PollFd::new(first, PollFlags::IN),
        PollFd::new(second, PollFlags::IN),
    ];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok((false, false)),
        Err(error) => Err(error.into()),
    }
}

impl Channel {
    /// Talks to whoever listens at a path.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        let (_folder, address) = address(path)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { socket })
    }

    /// Sends one message with descriptors.
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the message has {} bytes, more than {LONGEST}; put long arguments into a file",
                    bytes.len()
                ),
            ));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The next message with its descriptors; `None` when the other end hung up.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let result = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            match result {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(given) = message {
                fds.extend(given);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&bytes[..received.bytes])?;
        Ok(Some((message, fds)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_and_its_descriptors_arrive_over_a_path_of_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a".repeat(100)).join("b".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("socket");
        let listener = Listener::bind(&path).unwrap();
        let ours = Channel::connect(&path).unwrap();
        let theirs = listener.accept().unwrap().unwrap();
        assert!(listener.accept().unwrap().is_none());
        let (mut read, write) = std::io::pipe().unwrap();
        ours.send(&"hello", &[write.as_fd()]).unwrap();
        drop(write);
        let (text, fds) = theirs.receive::<String>().unwrap().unwrap();
        assert_eq!(text, "hello");
        let [fd]: [OwnedFd; 1] = fds.try_into().unwrap();
        std::fs::File::from(fd).write_all(b"over there").unwrap();
        let mut said = String::new();
        read.read_to_string(&mut said).unwrap();
        assert_eq!(said, "over there");
        drop(ours);
        assert!(theirs.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_is_refused_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = Listener::bind(&path).unwrap();
        let channel = Channel::connect(&path).unwrap();
        let error = channel.send(&"x".repeat(LONGEST), &[]).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }

    #[test]
    fn where_nobody_listens_any_more_a_connection_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(Listener::bind(&path).unwrap());
        assert!(Channel::connect(&path).is_err());
        assert!(Listener::bind(&path).is_ok());
    }
}
