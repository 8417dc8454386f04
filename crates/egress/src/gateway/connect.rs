//! Connections to upstreams: HTTP/1.1 over TCP or TLS, kept for the next call.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest time until a connection stands, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Longest time that an unused connection is kept: shorter than servers keep theirs, so that a call
/// seldom meets one that is being closed.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// Longest time until a connection that is kept can be used again.
const READY_TIME: Duration = Duration::from_millis(200);

/// Most unused connections that are kept for one server.
const MOST_IDLE: usize = 256;

/// Most bytes that a connection reads ahead.
const READ_AHEAD: usize = 64 * 1024;

/// Opens TCP connections: by itself, or through what stands before it.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection to this host and port.
    ///
    /// # Errors
    /// Why there is none.
    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream>;
}

/// Without anything between.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

#[async_trait]
impl Dial for Direct {
    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        TcpStream::connect((host, port)).await
    }
}

/// A server as connections are kept for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// That of a URL.
    #[must_use]
    pub fn of(url: &Uri) -> Self {
        let tls = url.scheme_str() != Some("http");
        Self {
            tls,
            host: url.host().unwrap_or_default().to_owned(),
            port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        }
    }

    /// As the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// A connection that is in use; goes back with [`Pool::put`].
#[derive(Debug)]
pub struct Used {
    origin: Origin,
    sender: Sender,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Not a byte of the request left, so nothing was done.
    #[error("cannot connect")]
    Unsent(#[source] io::Error),
    /// The request, or part of it, left: it may have been carried out.
    #[error("the connection broke before the answer")]
    Lost(#[source] hyper::Error),
    /// No answer began in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Connections to upstreams.
pub struct Pool {
    dial: Arc<dyn Dial>,
    tls: tokio_rustls::TlsConnector,
    idle: Mutex<HashMap<Origin, Vec<(Sender, Instant)>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty one.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            dial,
            tls: tls.into(),
            idle: Mutex::new(HashMap::new()),
        }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`Failed`], which says whether anything may have been done.
    pub async fn send(
        &self,
        origin: &Origin,
        mut request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Used), Failed> {
        let until = Instant::now() + patience;
        // A kept connection that was closed in the meantime gives the request back unsent.
        loop {
            let kept = self.take(origin).await;
            let fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect(origin).await.map_err(Failed::Unsent)?,
            };
            let sent = tokio::time::timeout_at(until, sender.try_send_request(request)).await;
            match sent {
                Ok(Ok(answer)) => {
                    let origin = origin.clone();
                    return Ok((answer, Used { origin, sender }));
                }
                Ok(Err(mut error)) => match (error.take_message(), fresh) {
                    (Some(unsent), false) => request = unsent,
                    (Some(_), true) => {
                        return Err(Failed::Unsent(io::Error::other(error.into_error())));
                    }
                    (None, _) => return Err(Failed::Lost(error.into_error())),
                },
                Err(_) => return Err(Failed::Late(patience)),
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn put(&self, used: Used) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let kept = idle.entry(used.origin).or_default();
        kept.retain(|(sender, since)| !sender.is_closed() && now - *since < IDLE_TIME);
        if kept.len() < MOST_IDLE && !used.sender.is_closed() {
            kept.push((used.sender, now));
        }
    }

    async fn take(&self, origin: &Origin) -> Option<Sender> {
        loop {
            let (mut sender, since) = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.get_mut(origin)?.pop()?
            };
            if since.elapsed() >= IDLE_TIME {
                continue;
            }
            let ready = tokio::time::timeout(READY_TIME, sender.ready()).await;
            if ready.is_ok_and(|ready| ready.is_ok()) {
                return Some(sender);
            }
        }
    }

    async fn connect(&self, origin: &Origin) -> io::Result<Sender> {
        let connecting = async {
            let stream = self.dial.dial(&origin.host, origin.port).await?;
            stream.set_nodelay(true)?;
            if !origin.tls {
                return shake(stream).await;
            }
            let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
            shake(self.tls.connect(name, stream).await?).await
        };
        tokio::time::timeout(CONNECT_TIME, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

async fn shake<S>(stream: S) -> io::Result<Sender>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_AHEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to an upstream ended");
        }
    });
    Ok(sender)
}

/// TLS as upstreams are met with: HTTP/1.1, and these authorities beside those of the system.
///
/// # Errors
/// When an authority is none.
pub fn tls(
    more: &[rustls::pki_types::CertificateDer<'_>],
) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be read of the system's is not believed; what is missing shows at the upstream.
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for authority in more {
        roots.add(authority.clone().into_owned())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
