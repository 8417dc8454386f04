//! SHA-256 of files.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};

use crate::exec_policy::Digest;

/// Bytes read at once: few system calls, and still in the cache when they are hashed.
const CHUNK: usize = 256 * 1024;

/// Largest file of a root or of the host that is hashed, once; a larger one cannot be judged and is
/// refused where that matters.
pub(crate) const MAX_FILE: u64 = 4 << 30;
/// The same for content that environments write, again and again.
pub(crate) const MAX_WRITTEN: u64 = 512 << 20;

/// The digest of some bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The digest of a file's content, whatever its position, and how many bytes that was.
pub(crate) fn of_file(file: impl AsFd) -> io::Result<(Digest, u64)> {
    of_file_within(file, MAX_FILE)
}

/// The same of a file that has at most so many bytes.
pub(crate) fn of_file_within(file: impl AsFd, most: u64) -> io::Result<(Digest, u64)> {
    thread_local! {
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let file = std::fs::File::from(file.as_fd().try_clone_to_owned()?);
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(CHUNK, 0);
        let mut hash = Sha256::new();
        let mut at = 0;
        loop {
            match file.read_at(buffer, at) {
                Ok(0) => return Ok((hash.finalize().into(), at)),
                Ok(length) => {
                    super::beat::tick();
                    hash.update(&buffer[..length]);
                    at += length as u64;
                    if at > most {
                        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}
