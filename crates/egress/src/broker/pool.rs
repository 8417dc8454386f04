//! Connections to hosts, kept for the next request of the same environment to the same host.
//!
//! A connection is never handed to another environment, host, port or rule about addresses: what
//! one request left behind on it can reach only its own kind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::egress::EgressRefusal;
use rustls::pki_types::ServerName;

use crate::Body;
use crate::broker::environment::Environment;
use crate::broker::limits::{LONGEST_HEAD, MOST_HEADERS};
use crate::name::Host;

/// Connections that wait for one host.
const MOST_WAITING: usize = 32;
/// How long a connection waits. Servers give up theirs after about a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Hosts for which connections wait.
const MOST_HOSTS: usize = 256;
/// Bytes under way from outside on one stream, and on one connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What connections are kept by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Whom the environment means; decides when the connection is cut.
    pub(crate) meant: (Host, u16),
    /// Who is dialled: the same, or a mirror.
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) secure: bool,
    pub(crate) private: bool,
}

/// One connection, ready to take a request.
pub(crate) struct Connection {
    sender: Sender,
    pub(crate) address: Option<IpAddr>,
    /// It carried a request before, so that it may have ended unnoticed.
    pub(crate) used: bool,
    generation: u64,
}

enum Sender {
    First(http1::SendRequest<Body>),
    Second(http2::SendRequest<Body>),
}

#[derive(Default)]
struct Waiting {
    first: Vec<(http1::SendRequest<Body>, Option<IpAddr>, Instant)>,
    second: Option<(http2::SendRequest<Body>, Option<IpAddr>)>,
}

#[derive(Default)]
struct Kept {
    waiting: HashMap<Key, Waiting>,
    generation: u64,
}

/// Connections of one environment.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Kept>);

/// Why a request was not answered, and the request if none of it left.
pub(crate) struct Unsent {
    pub(crate) error: hyper::Error,
    pub(crate) request: Option<Request<Body>>,
}

impl Pool {
    /// Forgets all connections; those that carry something go on, and are not kept.
    pub(crate) fn clear(&self) {
        let mut kept = self.lock();
        kept.waiting.clear();
        kept.generation += 1;
    }

    /// A connection that waits.
    pub(crate) fn take(&self, key: &Key) -> Option<Connection> {
        let mut kept = self.lock();
        let generation = kept.generation;
        let waiting = kept.waiting.get_mut(key)?;
        if let Some((sender, address)) = &waiting.second
            && !sender.is_closed()
        {
            return Some(Connection {
                sender: Sender::Second(sender.clone()),
                address: *address,
                used: true,
                generation,
            });
        }
        waiting.second = None;
        while let Some((sender, address, since)) = waiting.first.pop() {
            if sender.is_ready() && since.elapsed() < LONGEST_WAIT {
                return Some(Connection {
                    sender: Sender::First(sender),
                    address,
                    used: true,
                    generation,
                });
            }
        }
        None
    }

    fn keep(&self, key: Key, sender: Sender, address: Option<IpAddr>, generation: u64) {
        let mut kept = self.lock();
        if kept.generation != generation {
            return;
        }
        if kept.waiting.len() >= MOST_HOSTS && !kept.waiting.contains_key(&key) {
            kept.waiting.clear();
        }
        let waiting = kept.waiting.entry(key).or_default();
        match sender {
            Sender::First(sender) => {
                waiting
                    .first
                    .retain(|(_, _, since)| since.elapsed() < LONGEST_WAIT);
                if waiting.first.len() < MOST_WAITING {
                    waiting.first.push((sender, address, Instant::now()));
                }
            }
            Sender::Second(sender) => waiting.second = Some((sender, address)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether requests are of the second version here.
    pub(crate) const fn is_second(&self) -> bool {
        matches!(self.sender, Sender::Second(_))
    }

    /// Sends a request. The connection goes back to where it is kept once it can take the next.
    pub(crate) async fn send(
        self,
        environment: &Arc<Environment>,
        key: &Key,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Unsent> {
        match self.sender {
            Sender::Second(mut sender) => sender.try_send_request(request).await.map_err(unsent),
            Sender::First(mut sender) => {
                let response = sender.try_send_request(request).await.map_err(unsent)?;
                let (environment, key) = (Arc::clone(environment), key.clone());
                tokio::spawn(async move {
                    if sender.ready().await.is_ok() {
                        let sender = Sender::First(sender);
                        environment
                            .pool
                            .keep(key, sender, self.address, self.generation);
                    }
                });
                Ok(response)
            }
        }
    }
}

fn unsent(mut error: hyper::client::conn::TrySendError<Request<Body>>) -> Unsent {
    Unsent {
        request: error.take_message(),
        error: error.into_error(),
    }
}

/// Makes a new connection.
pub(crate) async fn connect(
    environment: &Arc<Environment>,
    key: &Key,
) -> Result<Connection, EgressRefusal> {
    let generation = environment.pool.lock().generation;
    let outside = &environment.shared.outside;
    let dialled = outside
        .dial(environment, &key.host, key.port, key.private)
        .await?;
    let address = dialled.address;
    let limit = environment.volume.limits().dial();
    let greeting = async {
        if !key.secure {
            return first(environment, key, dialled.stream).await;
        }
        let name = match &key.host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|_| EgressRefusal::NameInvalid)?,
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(outside.tls()))
            .connect(name, dialled.stream)
            .await
            .map_err(|error| failed(&error))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return second(environment, key, stream).await;
        }
        first(environment, key, stream).await
    };
    let greeted = tokio::time::timeout(limit, greeting).await;
    let sender = greeted.map_err(|_| EgressRefusal::Unreachable)??;
    if let Sender::Second(sender) = &sender {
        let sender = Sender::Second(sender.clone());
        environment
            .pool
            .keep(key.clone(), sender, address, generation);
    }
    Ok(Connection {
        sender,
        address,
        used: false,
        generation,
    })
}

fn failed(error: &std::io::Error) -> EgressRefusal {
    if crate::broker::io::is_exhausted(error) {
        return EgressRefusal::VolumeExhausted;
    }
    EgressRefusal::Unreachable
}

async fn first(
    environment: &Arc<Environment>,
    key: &Key,
    stream: impl crate::broker::io::Stream,
) -> Result<Sender, EgressRefusal> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .max_buf_size(2 * LONGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| EgressRefusal::Unreachable)?;
    drive(environment, key, connection.with_upgrades());
    Ok(Sender::First(sender))
}

async fn second(
    environment: &Arc<Environment>,
    key: &Key,
    stream: impl crate::broker::io::Stream,
) -> Result<Sender, EgressRefusal> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(LONGEST_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| EgressRefusal::Unreachable)?;
    drive(environment, key, connection);
    Ok(Sender::Second(sender))
}

/// Lets a connection work until it ends, or until what it is for is no longer permitted.
fn drive<C>(environment: &Arc<Environment>, key: &Key, connection: C)
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
{
    let environment = Arc::clone(environment);
    let (host, port) = key.meant.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = environment.cut(&host, port) => {}
            _ = connection => {}
        }
    });
}
