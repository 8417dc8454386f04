//! The framing of streamed answers at Amazon (`application/vnd.amazon.eventstream`), put back into
//! server-sent events as Anthropic's own servers send them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::Crc;
use serde::Deserialize;

/// Largest message that is read; an event of a model is a few kilobytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// Lengths of headers and message, and their check.
const PRELUDE: usize = 12;

/// The check of the whole message.
const CHECK: usize = 4;

/// Bytes that are no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's event stream is broken")]
pub struct Broken;

/// Takes messages apart as they come.
#[derive(Debug, Default)]
pub struct EventStream {
    buffer: BytesMut,
}

#[derive(Deserialize)]
struct Chunk {
    bytes: String,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl EventStream {
    /// Reads on; what is whole comes out as server-sent events.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Bytes, Broken> {
        self.buffer.extend_from_slice(bytes);
        let mut events = BytesMut::new();
        while let Some(message) = self.message()? {
            event(&message, &mut events)?;
        }
        Ok(events.freeze())
    }

    /// Whether nothing is half read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.buffer.is_empty()
    }

    fn message(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(mut prelude) = self.buffer.get(..PRELUDE) else {
            return Ok(None);
        };
        let checked = crc(prelude.get(..8).unwrap_or_default());
        let length = usize::try_from(prelude.get_u32()).map_err(|_| Broken)?;
        let headers = usize::try_from(prelude.get_u32()).map_err(|_| Broken)?;
        let fits = length <= LARGEST
            && headers <= LARGEST
            && PRELUDE + headers + CHECK <= length
            && prelude.get_u32() == checked;
        if !fits {
            return Err(Broken);
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        let message = self.buffer.split_to(length).freeze();
        let (body, mut check) = message.split_at_checked(length - CHECK).ok_or(Broken)?;
        if check.get_u32() == crc(body) {
            Ok(Some(message))
        } else {
            Err(Broken)
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// One message as an event.
fn event(message: &Bytes, events: &mut BytesMut) -> Result<(), Broken> {
    let length = message.get(4..8).ok_or(Broken)?.get_u32();
    let length = usize::try_from(length).map_err(|_| Broken)?;
    let headers = message.get(PRELUDE..PRELUDE + length).ok_or(Broken)?;
    let payload = message
        .get(PRELUDE + length..message.len().saturating_sub(CHECK))
        .ok_or(Broken)?;
    let (mut kind, mut name) = (None, None);
    read_headers(headers, |header, value| match header {
        b":message-type" => kind = Some(value.to_vec()),
        b":event-type" | b":exception-type" => name = Some(value.to_vec()),
        _ => {}
    })?;
    if kind.as_deref() == Some(b"event") {
        if name.as_deref() != Some(b"chunk") {
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(payload).map_err(|_| Broken)?;
        let data = STANDARD.decode(chunk.bytes).map_err(|_| Broken)?;
        let kind: Kind = serde_json::from_slice(&data).map_err(|_| Broken)?;
        put(events, &kind.kind, &data);
        return Ok(());
    }
    let name = name.unwrap_or_default();
    let kind = match name.as_slice() {
        b"throttlingException" | b"serviceUnavailableException" => "overloaded_error",
        b"validationException" => "invalid_request_error",
        _ => "api_error",
    };
    let told = String::from_utf8_lossy(payload.get(..payload.len().min(1024)).unwrap_or_default());
    let error = serde_json::json!({ "type": "error", "error": {
        "type": kind,
        "message": format!("{}: {told}", String::from_utf8_lossy(&name)),
    } });
    put(events, "error", error.to_string().as_bytes());
    Ok(())
}

fn put(events: &mut BytesMut, kind: &str, data: &[u8]) {
    let plain = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    events.extend_from_slice(b"event: ");
    events.extend(kind.bytes().filter(plain));
    events.extend_from_slice(b"\ndata: ");
    // Line ends are blanks in JSON and would end the event here.
    events.extend(data.iter().copied().filter(plain));
    events.extend_from_slice(b"\n\n");
}

fn read_headers(mut headers: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    while let Some((&length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(length.into()).ok_or(Broken)?;
        let (&kind, mut rest) = rest.split_first().ok_or(Broken)?;
        let size = match kind {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            6 | 7 => {
                let size = rest.get(..2).ok_or(Broken)?.get_u16();
                rest = rest.get(2..).unwrap_or_default();
                size.into()
            }
            9 => 16,
            _ => return Err(Broken),
        };
        let (value, rest) = rest.split_at_checked(size).ok_or(Broken)?;
        if kind == 7 {
            each(name, value);
        }
        headers = rest;
    }
    Ok(())
}

/// A message as Amazon's servers make it. For tests.
#[must_use]
pub fn framed(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    let event_type = if kind == "event" {
        ":event-type"
    } else {
        ":exception-type"
    };
    for (header, value) in [(":message-type", kind), (event_type, name)] {
        headers.push(u8::try_from(header.len()).unwrap_or(0));
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).unwrap_or(0).to_be_bytes();
    let mut message = number(PRELUDE + headers.len() + payload.len() + CHECK).to_vec();
    message.extend_from_slice(&number(headers.len()));
    message.extend_from_slice(&crc(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc(&message).to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        for data in [
            "{\"type\":\"message_start\",\n\"x\":1}",
            "{\"type\":\"message_stop\"}",
        ] {
            let payload =
                serde_json::json!({ "bytes": STANDARD.encode(data), "p": "abc" }).to_string();
            stream.extend(framed("event", "chunk", payload.as_bytes()));
        }
        stream.extend(framed(
            "exception",
            "throttlingException",
            b"{\"message\":\"slow\"}",
        ));
        stream
    }

    /// From the description of the encoding: 12 bytes of lengths with CRC-32 of IEEE 802.3.
    #[test]
    fn the_checks_are_those_of_the_format() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn messages_become_events_and_exceptions_errors() {
        let mut reader = EventStream::default();
        let events = reader.feed(&stream()).unwrap();
        let text = String::from_utf8(events.to_vec()).unwrap();
        assert!(text.starts_with("event: message_start\ndata: {\"type\":\"message_start\",\"x\":1}\n\nevent: message_stop\n"), "{text}");
        assert!(
            text.contains("event: error\ndata: {\"type\":\"error\"")
                && text.contains("overloaded_error"),
            "{text}"
        );
        assert!(reader.is_whole());
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        for at in 0..stream().len() {
            let mut broken = stream();
            broken[at] ^= 1;
            let mut reader = EventStream::default();
            assert!(reader.feed(&broken).is_err() || !reader.is_whole(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cut in 0usize..400) {
            let stream = stream();
            let cut = cut.min(stream.len());
            let mut reader = EventStream::default();
            let mut events = reader.feed(&stream[..cut]).unwrap().to_vec();
            events.extend(reader.feed(&stream[cut..]).unwrap());
            prop_assert_eq!(&events[..], &EventStream::default().feed(&stream).unwrap()[..]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventStream::default().feed(&bytes);
            let mut framed_bytes = framed("event", "chunk", &bytes);
            let _ = EventStream::default().feed(&framed_bytes);
            framed_bytes.truncate(framed_bytes.len() / 2);
            let _ = EventStream::default().feed(&framed_bytes);
        }
    }
}
