//! DNS over TCP: each message after two bytes of its length (RFC 1035, 4.2.2).

use bytes::{Buf as _, Bytes, BytesMut};

use super::LONGEST_QUERY;

/// What follows is no question: the connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a question over TCP is empty or longer than questions are")]
pub struct FrameError;

/// Takes the next message out of what was received, once all of it is there. The buffer never needs
/// more than [`LONGEST_QUERY`] and two bytes.
///
/// # Errors
/// [`FrameError`] as soon as the length is known to be wrong.
pub fn next_frame(received: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some((length, rest)) = received.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > LONGEST_QUERY {
        return Err(FrameError);
    }
    if rest.len() < length {
        return Ok(None);
    }
    received.advance(2);
    Ok(Some(received.split_to(length).freeze()))
}

/// An answer with its length before it; answers are always short enough for it.
#[must_use]
pub fn frame(answer: &[u8]) -> Vec<u8> {
    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&answer[..usize::from(length)]);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_and_in_order() {
        let mut received = BytesMut::new();
        for byte in [frame(b"one"), frame(b"two")].concat() {
            assert_eq!(next_frame(&mut received).unwrap(), None);
            received.extend_from_slice(&[byte]);
            if let Some(message) = next_frame(&mut received).unwrap() {
                assert!(*message == *b"one" || *message == *b"two");
                assert!(received.is_empty());
            }
        }
        received.extend_from_slice(&[frame(b"one"), frame(b"two")].concat());
        assert_eq!(next_frame(&mut received).unwrap().unwrap(), "one");
        assert_eq!(next_frame(&mut received).unwrap().unwrap(), "two");
    }

    #[test]
    fn a_length_that_no_question_has_ends_it() {
        for length in [[0, 0], [0xff, 0xff], *b"SS", [0x16, 0x03]] {
            let mut received = BytesMut::from(&length[..]);
            assert_eq!(next_frame(&mut received), Err(FrameError), "{length:?}");
        }
    }
}
