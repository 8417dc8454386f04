//! Servers outside: they write down every byte, and answer what the path asks for.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A server outside. It answers every request, and keeps what it got.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub(crate) fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        repositories: &std::path::Path,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (
            Arc::clone(&server.requests),
            Arc::clone(&server.connections),
        );
        let repositories = repositories.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *connections.lock().unwrap() += 1;
                let (tls, requests, repositories) =
                    (tls.clone(), Arc::clone(&requests), repositories.clone());
                std::thread::spawn(move || {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(20)))
                        .unwrap();
                    match tls {
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            answer(
                                rustls::StreamOwned::new(session, stream),
                                &requests,
                                &repositories,
                            );
                        }
                        None => answer(stream, &requests, &repositories),
                    }
                });
            }
        });
        server
    }
}

/// Reads requests one after the other and answers each with what its path asks for.
fn answer(
    stream: impl Read + Write,
    requests: &Mutex<Vec<Vec<u8>>>,
    repositories: &std::path::Path,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_until(b'\n', &mut head) {
                Ok(count) if count > 0 => {}
                _ => {
                    // Whatever came is kept: it reached the outside.
                    if !head.is_empty() {
                        requests.lock().unwrap().push(head);
                    }
                    return;
                }
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let header = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}:")))?;
            Some(line.trim().to_owned())
        };
        let mut body = Vec::new();
        let length = header("content-length").map(|length| length.parse::<u64>().unwrap());
        let whole = match length {
            Some(length) => {
                (&mut stream).take(length).read_to_end(&mut body).is_ok()
                    && body.len() as u64 == length
            }
            None if header("transfer-encoding").is_some() => {
                chunks(&mut stream, &mut body).is_some()
            }
            None => true,
        };
        requests.lock().unwrap().push([&head[..], &body].concat());
        if !whole {
            return;
        }
        let shown = String::from_utf8_lossy(&head).into_owned();
        let target = shown.split(' ').nth(1).unwrap_or_default();
        let answer = if target.starts_with("/org/") {
            crate::git::backend(repositories, &shown, target, &body)
        } else {
            reply(target, &shown)
        };
        if stream.get_mut().write_all(&answer).is_err() || stream.get_mut().flush().is_err() {
            return;
        }
    }
}

/// Reads a body in chunks up to its end.
fn chunks(stream: &mut impl std::io::BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim_end(), 16).ok()?;
        let before = body.len() as u64;
        stream.take(length).read_to_end(body).ok()?;
        stream.read_line(&mut line).ok()?;
        if body.len() as u64 != before + length {
            return None;
        }
        if length == 0 {
            return Some(());
        }
    }
}

/// The secret in forms in which a server may tell it.
fn told(head: &str) -> Vec<String> {
    let secret = head
        .split("Bearer ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .unwrap_or_default();
    let mut forms = vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        BASE64.encode(format!("user:{secret}")),
    ];
    for before in 0..3 {
        forms.push(BASE64.encode(format!("{}{secret}", "x".repeat(before))));
    }
    forms.push(secret.bytes().map(|byte| format!("%{byte:02X}")).collect());
    forms.push(
        secret
            .bytes()
            .map(|byte| format!("\\u{byte:04x}"))
            .collect(),
    );
    forms
}

fn reply(target: &str, head: &str) -> Vec<u8> {
    let with = |headers: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let all = told(head).join("\n");
    match target {
        "/v1/echo" => {
            let first = &told(head)[0];
            with(&format!("X-Echo: {first}\r\nSet-Cookie: t={first}\r\nLocation: https://evil.example.test/?t={}\r\n", told(head)[7]), all.as_bytes())
        }
        "/v1/gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(all.as_bytes()).unwrap();
            with("Content-Encoding: gzip\r\n", &encoder.finish().unwrap())
        }
        "/v1/unknown" => with("Content-Encoding: x-unknown\r\n", all.as_bytes()),
        "/v1/cut" => {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for byte in all.bytes() {
                answer.extend([b"1\r\n", &[byte][..], b"\r\n"].concat());
            }
            answer.extend(format!("0\r\nX-Trailer: {}\r\n\r\n", told(head)[0]).bytes());
            answer
        }
        "/v1/redirect" => b"HTTP/1.1 302 Found\r\nLocation: https://evil.example.test/?x\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/v1/switch" => b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n".to_vec(),
        "/v1/two" => [with("", b"one"), with("", b"POISON")].concat(),
        "/v1/alternative" => with("Alt-Svc: h3=\":443\"\r\nX-Nightcrew-Refused: forged\r\n", b"pong"),
        _ => with("", b"pong"),
    }
}
