//! A small client of a server's API: one connection, kept open.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that holds one connection.
#[derive(Debug)]
pub struct Api {
    authority: String,
    token: String,
    /// Process of the server.
    pub pid: i32,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// First cookie that it sets, as `name=value`.
    pub cookie: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Api {
    /// Finds the server of a data directory by what it wrote there; it may be dead.
    #[must_use]
    pub fn of(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data_dir.join("server.json")).ok()?;
        let endpoint: Value = serde_json::from_str(&text).ok()?;
        let word = |key: &str| endpoint.get(key).and_then(Value::as_str).map(str::to_owned);
        let authority = word("url")?
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let pid = i32::try_from(endpoint.get("pid")?.as_i64()?).ok()?;
        Some(Self {
            authority,
            token: word("token")?,
            pid,
            connection: None,
        })
    }

    /// Another client of the same server, with a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            authority: self.authority.clone(),
            token: self.token.clone(),
            pid: self.pid,
            connection: None,
        }
    }

    /// Reads JSON from a path below `/api/v1`.
    ///
    /// # Errors
    /// When the server is lost or answers with anything but success and JSON.
    pub fn get(&mut self, path: &str) -> io::Result<Value> {
        let answer = self.request("GET", &format!("/api/v1{path}"), &[], None)?;
        parsed(path, &answer)
    }

    /// Posts JSON to a path below `/api/v1`.
    ///
    /// # Errors
    /// When the server is lost or answers with anything but success and JSON.
    pub fn post(&mut self, path: &str, value: &Value) -> io::Result<Value> {
        let body = value.to_string();
        let answer = self.request(
            "POST",
            &format!("/api/v1{path}"),
            &[],
            Some(body.as_bytes()),
        )?;
        parsed(path, &answer)
    }

    /// Any request, with further header lines.
    ///
    /// # Errors
    /// When the server is lost or does not speak HTTP/1.1.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        let outcome = self.exchange(method, path, headers, body);
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.authority)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.connection.insert(BufReader::new(stream))
            }
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.authority);
        let length = body.map_or(0, <[u8]>::len).to_string();
        let bearer = format!("Bearer {}", self.token);
        let common = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("content-length", &length),
        ];
        for (name, value) in common.iter().chain(headers) {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body.unwrap_or_default());
        connection.get_mut().write_all(&message)?;
        read(connection)
    }
}

fn parsed(path: &str, answer: &Answer) -> io::Result<Value> {
    if !(200..300).contains(&answer.status) {
        let words = String::from_utf8_lossy(&answer.body);
        return Err(io::Error::other(format!(
            "{path} answered {}: {words}",
            answer.status
        )));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| io::Error::other(format!("{path} answered no JSON: {error}")))
}

fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| bad("no status line"))?;
    let (mut length, mut chunked, mut cookie) = (0, false, None);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(|_| bad("no length"))?,
            "set-cookie" => cookie = value.split(';').next().map(|pair| pair.trim().to_owned()),
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    while chunked {
        line.clear();
        connection.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| bad("no chunk"))?;
        let at = body.len();
        body.resize(at + size + 2, 0);
        connection.read_exact(&mut body[at..])?;
        body.truncate(at + size);
        chunked = size > 0;
    }
    Ok(Answer {
        status,
        cookie,
        body,
    })
}
