//! The first message of a TLS client, read strictly and within bounds: which name it asks for.
//!
//! The bytes are kept as they came, so that they can be handed on unchanged once the name was
//! judged. What is refused here never reaches anybody (RFC 8446, 4.1.2 and 5.1; RFC 6066, 3).

/// Most bytes of a first message, with what TLS puts around it. Real ones have up to 2 KiB.
pub const LONGEST_HELLO: usize = 32 * 1024;

/// Most records over which a first message may be spread.
const MOST_RECORDS: usize = 4096;

const RECORD_HEADER: usize = 5;
const LONGEST_RECORD: usize = 16 * 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The one name it gives, as sent.
    pub name: Option<Vec<u8>>,
    /// It carries an encrypted hello, whose name nobody but the other side can read.
    pub encrypted: bool,
}

/// Why bytes are no first message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// They are not TLS.
    #[error("these bytes are no TLS")]
    NotTls,
    /// It is longer than any real one.
    #[error("the first message is too long")]
    TooLong,
    /// Lengths or lists in it contradict each other.
    #[error("the first message is malformed")]
    Malformed,
    /// More than one name, or a name of an unknown kind.
    #[error("the first message has not exactly one name")]
    Names,
}

/// Takes bytes as they come until the message is whole.
#[derive(Debug, Default)]
pub struct HelloReader {
    raw: Vec<u8>,
    /// Bytes of `raw` that whole records took.
    read: usize,
    records: usize,
    message: Vec<u8>,
}

impl HelloReader {
    /// Takes more bytes. Gives the message once it is whole.
    ///
    /// # Errors
    /// [`HelloError`]; nothing that comes later makes it good.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Hello>, HelloError> {
        if self.raw.len() + bytes.len() > LONGEST_HELLO {
            return Err(HelloError::TooLong);
        }
        self.raw.extend_from_slice(bytes);
        while let Some(payload) = self.next_record()? {
            self.message.extend_from_slice(&payload);
            if let Some(hello) = whole(&self.message)? {
                return Ok(Some(hello));
            }
        }
        Ok(None)
    }

    /// Everything that came, as it came.
    #[must_use]
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    fn next_record(&mut self) -> Result<Option<Vec<u8>>, HelloError> {
        let rest = &self.raw[self.read..];
        // Said as early as possible: who speaks first in another protocol waits for an answer.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            return Err(HelloError::NotTls);
        }
        let Some(header) = rest.get(..RECORD_HEADER) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(HelloError::Malformed);
        }
        let Some(payload) = rest.get(RECORD_HEADER..RECORD_HEADER + length) else {
            return Ok(None);
        };
        self.records += 1;
        if self.records > MOST_RECORDS {
            return Err(HelloError::TooLong);
        }
        let payload = payload.to_vec();
        self.read += RECORD_HEADER + length;
        Ok(Some(payload))
    }
}

/// Reads the message if all of it is there.
fn whole(message: &[u8]) -> Result<Option<Hello>, HelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::NotTls);
    }
    let Some(header) = message.get(..4) else {
        return Ok(None);
    };
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if length > LONGEST_HELLO {
        return Err(HelloError::TooLong);
    }
    match message.len().checked_sub(4 + length) {
        None => Ok(None),
        Some(0) => parse(&message[4..]).map(Some),
        // A second message in the same record: nobody sends one before the answer.
        Some(_) => Err(HelloError::Malformed),
    }
}

fn parse(body: &[u8]) -> Result<Hello, HelloError> {
    let mut rest = Rest(body);
    rest.take(2 + 32)?;
    let session = rest.list8()?;
    if session.0.len() > 32 {
        return Err(HelloError::Malformed);
    }
    let suites = rest.list16()?;
    if suites.0.is_empty() || suites.0.len() % 2 != 0 || rest.list8()?.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut hello = Hello {
        name: None,
        encrypted: false,
    };
    if rest.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = rest.list16()?;
    if !rest.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut seen = std::collections::HashSet::new();
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.list16()?;
        if !seen.insert(kind) {
            return Err(HelloError::Malformed);
        }
        match kind {
            SERVER_NAME => hello.name = Some(server_name(content)?),
            ENCRYPTED_CLIENT_HELLO => hello.encrypted = true,
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(mut content: Rest<'_>) -> Result<Vec<u8>, HelloError> {
    let mut list = content.list16()?;
    let kind = list.take(1)?;
    if kind != [0] {
        return Err(HelloError::Names);
    }
    let name = list.list16()?;
    if !content.0.is_empty() || !list.0.is_empty() || name.0.is_empty() {
        return Err(HelloError::Names);
    }
    Ok(name.0.to_vec())
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        if count > self.0.len() {
            return Err(HelloError::Malformed);
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, HelloError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn list8(&mut self) -> Result<Self, HelloError> {
        let length = self.take(1)?[0];
        self.take(usize::from(length)).map(Self)
    }

    fn list16(&mut self) -> Result<Self, HelloError> {
        let length = self.number()?;
        self.take(usize::from(length)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A first message with these extensions.
    fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, content) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend((content.len() as u16).to_be_bytes());
            list.extend(content);
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        let mut whole = vec![1, 0];
        whole.extend((body.len() as u16).to_be_bytes());
        whole.extend(body);
        whole
    }

    fn records(message: &[u8], each: usize) -> Vec<u8> {
        let mut raw = Vec::new();
        for part in message.chunks(each) {
            raw.extend([22, 3, 1]);
            raw.extend((part.len() as u16).to_be_bytes());
            raw.extend(part);
        }
        raw
    }

    fn names(list: &[(u8, &[u8])]) -> Vec<u8> {
        let mut inner = Vec::new();
        for (kind, name) in list {
            inner.push(*kind);
            inner.extend((name.len() as u16).to_be_bytes());
            inner.extend(*name);
        }
        let mut content = (inner.len() as u16).to_be_bytes().to_vec();
        content.extend(inner);
        content
    }

    #[test]
    fn one_name_is_read_however_the_message_is_cut() {
        let whole = message(&[(10, vec![0, 2, 0, 29]), (0, names(&[(0, b"a.test")]))]);
        for each in [1, 2, 7, 1000] {
            let raw = records(&whole, each);
            let mut reader = HelloReader::default();
            let mut found = None;
            for byte in &raw {
                assert_eq!(found, None);
                found = reader.push(&[*byte]).unwrap();
            }
            assert_eq!(found.unwrap().name.unwrap(), b"a.test");
            assert_eq!(reader.into_raw(), raw);
        }
    }

    #[test]
    fn no_name_two_names_and_unknown_names_differ_from_one() {
        let read = |extensions: &[(u16, Vec<u8>)]| {
            HelloReader::default().push(&records(&message(extensions), 1000))
        };
        assert_eq!(read(&[]).unwrap().unwrap().name, None);
        for list in [
            vec![],
            vec![(0, &b""[..])],
            vec![(1, &b"a.test"[..])],
            vec![(0, &b"a.test"[..]), (0, b"b.test")],
        ] {
            assert!(read(&[(0, names(&list))]).is_err(), "{list:?}");
        }
        let twice = [(0, names(&[(0, b"a.test")])), (0, names(&[(0, b"b.test")]))];
        assert_eq!(read(&twice), Err(HelloError::Malformed));
        let encrypted = [(0, names(&[(0, b"a.test")])), (0xfe0d, vec![0])];
        assert!(read(&encrypted).unwrap().unwrap().encrypted);
    }

    #[test]
    fn other_protocols_are_known_by_their_first_byte() {
        for bytes in [
            &b"SSH-2.0-x"[..],
            b"GET / HTTP/1.1",
            &[5, 1, 0],
            &[0x80, 0x2e, 1],
        ] {
            assert_eq!(
                HelloReader::default().push(&bytes[..1]),
                Err(HelloError::NotTls)
            );
        }
    }

    #[test]
    fn empty_records_and_endless_messages_are_refused() {
        let mut reader = HelloReader::default();
        assert_eq!(reader.push(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
        let mut reader = HelloReader::default();
        let mut pushed = Ok(None);
        for _ in 0..10_000 {
            pushed = reader.push(&[22, 3, 1, 0, 1, 1]);
            if pushed.is_err() {
                break;
            }
        }
        assert!(pushed.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..40) {
            let mut reader = HelloReader::default();
            for part in raw.chunks(cut) {
                if reader.push(part).is_err() { return Ok(()); }
            }
        }

        #[test]
        fn a_message_with_one_byte_changed_is_read_or_refused(place in 0usize..80, value: u8) {
            let mut raw = records(&message(&[(0, names(&[(0, b"a.test")]))]), 1000);
            let place = place % raw.len();
            raw[place] = value;
            let _ = HelloReader::default().push(&raw);
        }
    }
}
