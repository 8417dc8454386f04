//! The first version of HTTP as its specification writes it, and not as parsers forgive it: what two
//! readers could understand differently never gets as far as the one that decides (RFC 9112).
//!
//! A head is held back until all of it was read. One that is not exact is replaced by bytes that no
//! parser takes for a request, so that the client gets its 400 and nothing else happens.

/// Longest head, with the request line.
const LONGEST_HEAD: usize = super::limits::LONGEST_HEAD;
/// Longest method.
const LONGEST_METHOD: usize = 32;
/// Longest line that says how long a chunk is, with what nobody needs behind it.
const LONGEST_CHUNK_LINE: usize = 256;
/// Bytes of such lines' additions that one body may have in all.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Empty lines before a request that are passed over; careless clients send one.
const MOST_EMPTY_LINES: usize = 2;

/// What takes the place of a head that is not exact.
const NO_REQUEST: &[u8] = b"\0\r\n\r\n";

/// A body is not what its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not framed as its head says")]
pub(crate) struct Inexact;

#[derive(Debug)]
enum State {
    Head,
    Body(u64),
    ChunkLine,
    Chunk(u64),
    ChunkEnd(u8),
    Trailers,
    /// No longer HTTP, or no longer believed.
    Raw,
    Refused,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    held: Vec<u8>,
    /// Bytes of `held` in which no line ends.
    looked: usize,
    empty_lines: usize,
    extensions: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Head,
            held: Vec::new(),
            looked: 0,
            empty_lines: 0,
            extensions: 0,
        }
    }
}

impl Scanner {
    /// Whether bytes go through unread from here on.
    pub(crate) const fn is_raw(&self) -> bool {
        matches!(self.state, State::Raw)
    }

    /// Takes bytes, and appends to `passed` what may be read now.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], passed: &mut Vec<u8>) -> Result<(), Inexact> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Raw => {
                    passed.extend_from_slice(bytes);
                    return Ok(());
                }
                State::Refused => return Ok(()),
                State::Body(left) | State::Chunk(left) => {
                    let count = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    passed.extend_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkEnd(0),
                            _ => State::Head,
                        };
                    }
                }
                State::ChunkEnd(seen) => {
                    if bytes[0] != b"\r\n"[usize::from(*seen)] {
                        return Err(Inexact);
                    }
                    passed.push(bytes[0]);
                    bytes = &bytes[1..];
                    *seen += 1;
                    if *seen == 2 {
                        self.state = State::ChunkLine;
                    }
                }
                State::ChunkLine => bytes = self.chunk_line(bytes, passed)?,
                State::Trailers => bytes = self.trailers(bytes, passed)?,
                State::Head => bytes = self.head(bytes, passed),
            }
        }
        Ok(())
    }

    /// Holds bytes back up to the end of a line; gives what is behind it.
    fn hold<'a>(&mut self, bytes: &'a [u8]) -> (bool, &'a [u8]) {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        self.held.extend_from_slice(&bytes[..count]);
        (end.is_some(), &bytes[count..])
    }

    fn chunk_line<'a>(
        &mut self,
        bytes: &'a [u8],
        passed: &mut Vec<u8>,
    ) -> Result<&'a [u8], Inexact> {
        let (ended, rest) = self.hold(bytes);
        if self.held.len() > LONGEST_CHUNK_LINE {
            return Err(Inexact);
        }
        if ended {
            let line = self.held.strip_suffix(b"\r\n").ok_or(Inexact)?;
            let digits = line
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            let extension = &line[digits..];
            self.extensions += extension.len();
            let sound = (extension.is_empty() || extension[0] == b';') && is_value(extension);
            if !sound || self.extensions > MOST_EXTENSIONS {
                return Err(Inexact);
            }
            let digits = std::str::from_utf8(&line[..digits]).map_err(|_| Inexact)?;
            let length = u64::from_str_radix(digits, 16).map_err(|_| Inexact)?;
            // Additions end here: nobody has to understand them.
            passed.extend_from_slice(digits.as_bytes());
            passed.extend_from_slice(b"\r\n");
            self.held.clear();
            self.state = if length == 0 {
                State::Trailers
            } else {
                State::Chunk(length)
            };
        }
        Ok(rest)
    }

    fn trailers<'a>(&mut self, bytes: &'a [u8], passed: &mut Vec<u8>) -> Result<&'a [u8], Inexact> {
        let (ended, rest) = self.hold(bytes);
        self.extensions += bytes.len() - rest.len();
        if self.extensions > MOST_EXTENSIONS {
            return Err(Inexact);
        }
        if ended {
            let line = self.held.strip_suffix(b"\r\n").ok_or(Inexact)?;
            if line.is_empty() {
                passed.extend_from_slice(b"\r\n");
                self.state = State::Head;
            } else {
                // They are looked at and left out, as everything that only comes behind a body.
                field(line).ok_or(Inexact)?;
            }
            self.held.clear();
        }
        Ok(rest)
    }

    fn head<'a>(&mut self, bytes: &'a [u8], passed: &mut Vec<u8>) -> &'a [u8] {
        let (ended, rest) = self.hold(bytes);
        if self.held.len() > LONGEST_HEAD || !self.line_is_sound(ended) {
            return self.refuse(passed);
        }
        if !ended {
            return rest;
        }
        let line = self.looked;
        self.looked = self.held.len();
        if self.held.len() - line > 2 {
            // The oldest version has nothing but this line, and would be answered at once.
            let whole = self.held.strip_suffix(b"\r\n").unwrap_or_default();
            if line == 0 && request_line(whole).is_none() {
                return self.refuse(passed);
            }
            return rest;
        }
        if line == 0 {
            self.empty_lines += 1;
            self.held.clear();
            self.looked = 0;
            return if self.empty_lines > MOST_EMPTY_LINES {
                self.refuse(passed)
            } else {
                rest
            };
        }
        match next(&self.held) {
            Some(state) => {
                passed.append(&mut self.held);
                self.looked = 0;
                self.empty_lines = 0;
                self.extensions = 0;
                self.state = state;
                rest
            }
            None => self.refuse(passed),
        }
    }

    /// What is wrong with an unfinished line is said before its end comes.
    fn line_is_sound(&self, ended: bool) -> bool {
        let line = &self.held[self.looked..];
        let content = if ended {
            line.strip_suffix(b"\r\n")
        } else {
            Some(line.strip_suffix(b"\r").unwrap_or(line))
        };
        content.is_some_and(is_value)
    }

    fn refuse(&mut self, passed: &mut Vec<u8>) -> &'static [u8] {
        passed.extend_from_slice(NO_REQUEST);
        self.held = Vec::new();
        self.state = State::Refused;
        &[]
    }
}

/// Whether bytes have no control characters but tabs.
fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

fn is_token(bytes: &[u8]) -> bool {
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(sound)
}

/// A header's name and value.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    (is_token(name) && is_value(&line[colon + 1..])).then_some((name, value))
}

/// What follows a head, if the head is exact.
fn next(head: &[u8]) -> Option<State> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r"));
    let (method, old) = request_line(lines.next()??)?;
    let (mut hosts, mut length, mut chunked, mut upgrade) = (0, None, false, false);
    for line in lines {
        let line = match line {
            // Behind the last line's end.
            None => break,
            Some(b"") => break,
            Some(line) => line,
        };
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(value).ok()?;
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let before = length.replace(text.parse::<u64>().ok()?);
            if !digits || before.is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") || old {
                return None;
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    if hosts > 1 || (chunked && length.is_some()) {
        return None;
    }
    match (method, length) {
        (b"CONNECT", None) if !chunked => Some(State::Raw),
        (b"CONNECT", _) => None,
        // Refused, or no longer HTTP: in both cases the connection goes no further as HTTP.
        _ if upgrade => Some(State::Raw),
        (_, None | Some(0)) if !chunked => Some(State::Head),
        (_, Some(length)) => Some(State::Body(length)),
        (_, None) => Some(State::ChunkLine),
    }
}

/// The method, and whether it is the version before persistent connections.
fn request_line(line: &[u8]) -> Option<(&[u8], bool)> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let visible = |byte: &u8| byte.is_ascii_graphic();
    let sound = parts.next().is_none()
        && is_token(method)
        && method.len() <= LONGEST_METHOD
        && !target.is_empty()
        && target.iter().all(visible);
    match version {
        b"HTTP/1.1" if sound => Some((method, false)),
        b"HTTP/1.0" if sound => Some((method, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(text: &str) -> Result<Vec<u8>, Inexact> {
        let mut passed = Vec::new();
        Scanner::default().feed(text.as_bytes(), &mut passed)?;
        Ok(passed)
    }

    fn refused(text: &str) -> bool {
        pass(text).map_or(true, |passed| passed.ends_with(NO_REQUEST))
    }

    #[test]
    fn exact_requests_pass_unchanged_however_they_are_cut() {
        let text = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\nPOST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n\0\r\nPOST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /d HTTP/1.0\r\nHost: a.test\r\n\r\n";
        for cut in [1, 2, 5, 1000] {
            let (mut scanner, mut passed) = (Scanner::default(), Vec::new());
            for part in text.as_bytes().chunks(cut) {
                scanner.feed(part, &mut passed).unwrap();
            }
            assert_eq!(String::from_utf8(passed).unwrap(), text);
        }
    }

    #[test]
    fn a_head_passes_whole_or_not_at_all() {
        let (mut scanner, mut passed) = (Scanner::default(), Vec::new());
        scanner
            .feed(b"GET /a HTTP/1.1\r\nHost: a.test\r\n", &mut passed)
            .unwrap();
        assert!(passed.is_empty());
        scanner.feed(b"\r\n", &mut passed).unwrap();
        assert!(passed.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn what_readers_understand_differently_is_refused() {
        let head = |line: &str| format!("POST / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n");
        for line in [
            "Host: b.test",
            "Host : b.test",
            " folded",
            "\tfolded",
            "X: a\rHost: b.test",
            "X: a\nHost: b.test",
            "X\0: a",
            "X: \0",
            "X: \x7f",
            "X",
            ": x",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length:",
            "Content-Length: 18446744073709551621",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            assert!(refused(&head(line)), "{line:?}");
        }
        for request in [
            "GET /v1 HTTP/1.1\nHost: a.test\n\n",
            "GET  /v1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET\t/v1\tHTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET /v1 HTTP/1.1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET /v1\r\n",
            "GET /v1 HTTP/2.0\r\nHost: a.test\r\n\r\n",
            "GET /v1 http/1.1\r\nHost: a.test\r\n\r\n",
            "GET /v\u{e9} HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n",
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert!(refused(request), "{request:?}");
        }
    }

    #[test]
    fn bodies_are_framed_exactly() {
        let body = |body: &str| {
            pass(&format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
            ))
        };
        for broken in [
            "0x5\r\n",
            "+5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "\r\n",
            "5\rx\n",
            "3\r\nabcd\r\n",
            "FFFFFFFFFFFFFFFF1\r\n",
            "0\r\nbad trailer\r\n",
        ] {
            assert_eq!(body(broken), Err(Inexact), "{broken:?}");
        }
        let long = format!("5;{}\r\n", "x".repeat(LONGEST_CHUNK_LINE));
        assert_eq!(body(&long), Err(Inexact));
        let passed = body("3;ext=1\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n").unwrap();
        assert!(passed.ends_with(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    }

    #[test]
    fn endless_heads_are_refused_early() {
        let (mut scanner, mut passed) = (Scanner::default(), Vec::new());
        for _ in 0..200 {
            scanner.feed(&[b'a'; 1024], &mut passed).unwrap();
        }
        assert_eq!(passed, NO_REQUEST);
        assert!(scanner.held.len() <= LONGEST_HEAD + 1024);
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
            let text = [&b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &bytes].concat();
            let whole = { let mut passed = Vec::new(); Scanner::default().feed(&text, &mut passed).map(|()| passed) };
            let (mut scanner, mut passed) = (Scanner::default(), Vec::new());
            let cut: Result<Vec<()>, _> = text.chunks(cut).map(|part| scanner.feed(part, &mut passed)).collect();
            prop_assert_eq!(whole, cut.map(|_| passed));
        }
    }
}
