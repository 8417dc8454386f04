//! A little server that answers as a test says.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came in: path and `Authorization`.
pub(crate) type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;
pub(crate) type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Said in place of the body's length.
    pub(crate) length: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            length: None,
        }
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..Self::new(200)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A server on loopback. Its threads end with the test program; each connection serves one request.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Seen,
}

impl Server {
    pub(crate) fn start(handler: Handler) -> Self {
        Self::listen(handler, None)
    }

    /// A server that answers at one path byte by byte, with a pause after each.
    pub(crate) fn start_dripping(handler: Handler, path: String, pause: Duration) -> Self {
        Self::listen_with(handler, None, Some((path, pause)))
    }

    fn listen(handler: Handler, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::listen_with(handler, tls, None)
    }

    fn listen_with(
        handler: Handler,
        tls: Option<Arc<rustls::ServerConfig>>,
        drip: Option<(String, Duration)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, log, tls) = (Arc::clone(&handler), Arc::clone(&log), tls.clone());
                let drip = drip.clone();
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        let stream = rustls::StreamOwned::new(connection, stream.unwrap());
                        serve(stream, &handler, &log, drip.as_ref(), |stream| {
                            stream.conn.send_close_notify();
                            let _ = stream.flush();
                        });
                    }
                    None => serve(stream.unwrap(), &handler, &log, drip.as_ref(), |stream| {
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                    }),
                });
            }
        });
        Self { address, seen }
    }

    /// A server with a certificate for its address, and that certificate in PEM.
    pub(crate) fn start_tls(handler: Handler) -> (Self, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        (
            Self::listen(handler, Some(Arc::new(config))),
            made.cert.pem().into_bytes(),
        )
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(path, _)| path.clone())
            .collect()
    }

    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, authorization)| authorization.clone())
            .collect()
    }
}

fn serve<S: Read + Write>(
    stream: S,
    handler: &Handler,
    log: &Seen,
    drip: Option<&(String, Duration)>,
    close: impl Fn(&mut S),
) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // A client that does not trust the certificate says nothing.
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut authorization = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("authorization") {
            authorization = Some(value.trim().to_owned());
        }
    }
    log.lock()
        .unwrap()
        .push((path.clone(), authorization.clone()));
    let pause = drip.filter(|(dripping, _)| *dripping == path);
    let answer = handler(&Request {
        path,
        authorization,
    });
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(
        head,
        "content-length: {}\r\n\r\n",
        answer.length.unwrap_or(answer.body.len())
    )
    .unwrap();
    let stream = reader.get_mut();
    let _ = stream.write_all(head.as_bytes());
    let pieces = answer.body.chunks(match pause {
        Some(_) => 1,
        None => answer.body.len().max(1),
    });
    for piece in pieces {
        if stream
            .write_all(piece)
            .and_then(|()| stream.flush())
            .is_err()
        {
            break;
        }
        if let Some((_, pause)) = pause {
            std::thread::sleep(*pause);
        }
    }
    close(stream);
    // Until the other side is done, so that it reads all of the answer.
    let _ = stream.read(&mut [0; 64]);
}
