//! Messages and descriptors on the socket between a parent and its broker.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Longest message. Policies and batches are far below.
const LONGEST: usize = 8 * 1024 * 1024;

/// Descriptors that travel together; the kernel takes 253.
const TOGETHER: usize = 128;

/// Most descriptors of one environment.
pub(super) const MOST_DESCRIPTORS: usize = 1024;

/// Writes a message and the descriptors behind it.
pub(super) fn write(
    mut stream: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = Zeroizing::new(serde_json::to_vec(message)?);
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut whole = Zeroizing::new(Vec::with_capacity(body.len() + 4));
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(&body);
    stream.write_all(&whole)?;
    for together in descriptors.chunks(TOGETHER) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(together)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Descriptors travel with a byte.
        sendmsg(
            stream,
            &[IoSlice::new(&[0])],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
    }
    Ok(())
}

/// Reads a message; nothing when the other side is gone.
pub(super) fn read<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Reads the descriptors behind a message: exactly so many.
pub(super) fn descriptors(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    if count > MOST_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let mut byte = [0; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut byte)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let before = all.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                all.extend(some);
            }
        }
        let cut = received.flags.contains(rustix::net::ReturnFlags::CTRUNC);
        if received.bytes == 0 || cut || all.len() == before || all.len() > count {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn messages_and_many_descriptors_arrive_whole_and_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let files: Vec<_> = (0..300).map(|_| tempfile::tempfile().unwrap()).collect();
        for (number, file) in files.iter().enumerate() {
            file.set_len(number as u64).unwrap();
        }
        let borrowed: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        write(&ours, &"first", &borrowed).unwrap();
        write(&ours, &"second", &[]).unwrap();
        assert_eq!(read::<String>(&theirs).unwrap().unwrap(), "first");
        let arrived = descriptors(&theirs, 300).unwrap();
        for (number, file) in arrived.into_iter().enumerate() {
            let length = std::fs::File::from(file).metadata().unwrap().len();
            assert_eq!(length, number as u64);
        }
        assert_eq!(read::<String>(&theirs).unwrap().unwrap(), "second");
        drop(ours);
        assert!(read::<String>(&theirs).unwrap().is_none());
    }

    #[test]
    fn fewer_descriptors_than_said_are_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        write(&ours, &"first", &[file.as_fd()]).unwrap();
        write(&ours, &"second", &[]).unwrap();
        assert!(read::<String>(&theirs).unwrap().is_some());
        assert!(descriptors(&theirs, 2).is_err());
    }
}
