//! HTTP as it arrives from inside: one decision for each request, however they share a connection.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::egress::{EgressKind, EgressRefusal};
use tokio::task::JoinSet;

use crate::Body;
use crate::broker::connection::{self, Place};
use crate::broker::environment::{Environment, Happened};
use crate::broker::io::{Activity, Exact, Stream, Watched};
use crate::broker::judge::{self, Facts, Wanted};
use crate::broker::limits::{LONGEST_HEAD, MOST_HEADERS};
use crate::broker::refusal::{self, Refusal};
use crate::broker::{forward, headers};
use crate::name::Host;

/// Requests of one connection that are under way at once.
const MOST_STREAMS: u32 = 128;
/// Streams that a client may open and take back before it is sent away.
const MOST_RESETS: usize = 64;
/// Bytes that may be under way to the broker on one stream, and on one connection.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// Serves HTTP of the first or second version on a connection until it ends.
pub(crate) async fn serve<S: Stream>(
    environment: Arc<Environment>,
    stream: S,
    facts: Facts,
    second: bool,
) {
    let activity = Activity::now();
    let limits = environment.volume.limits();
    let (head, idle) = (limits.head(), limits.idle());
    let watched = Watched::new(stream, activity.clone());
    let facts = Arc::new(facts);
    let shared = (Arc::clone(&environment), Arc::clone(&facts));
    let service = service_fn(move |request| {
        let (environment, facts) = shared.clone();
        async move { Ok::<_, Infallible>(answer(environment, facts, request).await) }
    });
    let serving = async {
        if second {
            let mut builder = hyper::server::conn::http2::Builder::new(Tasks::default());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(MOST_STREAMS)
                .max_pending_accept_reset_streams(MOST_RESETS)
                .max_local_error_reset_streams(MOST_RESETS)
                .max_header_list_size(LONGEST_HEAD as u32)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            builder
                .serve_connection(TokioIo::new(watched), service)
                .await
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(head)
                .max_headers(MOST_HEADERS)
                .max_buf_size(LONGEST_HEAD);
            let exact = TokioIo::new(Exact::new(watched));
            builder
                .serve_connection(exact, service)
                .with_upgrades()
                .await
        }
    };
    let result = tokio::select! {
        result = serving => result,
        () = activity.silence(idle) => return,
    };
    // Bytes that are no request were answered by the library; they are recorded here.
    if result.is_err_and(|error| error.is_parse() || error.is_timeout()) {
        let happened = unread(&facts);
        let code = facts
            .refused
            .as_ref()
            .map_or(EgressRefusal::ProtocolInvalid, |refusal| refusal.code);
        environment.record(&happened, Some(code), (0, 0));
    }
}

fn unread(facts: &Facts) -> Happened {
    let host = facts
        .host
        .as_ref()
        .map_or_else(|| facts.address.to_string(), Host::to_string);
    Happened {
        kind: EgressKind::Request,
        host,
        port: facts.port,
        detail: String::new(),
        rule: String::new(),
        address: Some(facts.address),
    }
}

/// Tasks of one connection of the second version; they end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}

async fn answer(
    environment: Arc<Environment>,
    facts: Arc<Facts>,
    request: Request<Incoming>,
) -> hyper::Response<Body> {
    let (parts, body) = request.into_parts();
    let mut happened = Happened {
        kind: EgressKind::Request,
        host: judge::sent_host(&parts),
        port: facts.port,
        detail: format!("{} {}", parts.method, parts.uri.path()),
        rule: String::new(),
        address: Some(facts.address),
    };
    let judged = judge::read(&facts, &parts);
    let first = parts.version < Version::HTTP_2;
    let leaves = parts.method == Method::CONNECT || headers::wants_upgrade(&parts.headers);
    let refused = facts
        .refused
        .clone()
        .or_else(|| judged.as_ref().err().cloned());
    let request = Request::from_parts(parts, body);
    let answered = match (refused, judged) {
        (Some(refusal), _) | (None, Err(refusal)) => Err(refusal),
        (None, Ok(Wanted::Tunnel { host, port })) => {
            happened.host = host.to_string();
            happened.port = port;
            happened.kind = EgressKind::Connection;
            tunnel(&environment, &facts, host, port, request)
        }
        (None, Ok(Wanted::Request { host, port })) => {
            happened.host = host.to_string();
            happened.port = port;
            let place = Place {
                host,
                port,
                address: facts.address,
            };
            forward::request(&environment, &place, facts.scheme, request, &mut happened).await
        }
    };
    answered.unwrap_or_else(|refusal| {
        environment.refuse(&happened, &refusal);
        let mut answer = refusal.answer();
        // What follows was meant for somebody else than the next request's reader.
        if leaves && first {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        answer
    })
}

/// Agrees to a tunnel through the explicit proxy. What comes through it is judged as if it had been
/// dialled.
fn tunnel(
    environment: &Arc<Environment>,
    facts: &Facts,
    host: Host,
    port: u16,
    request: Request<Incoming>,
) -> Result<hyper::Response<Body>, Refusal> {
    let host = match host {
        Host::Address(address) => environment
            .host_at(address, port)
            .ok_or(EgressRefusal::AddressNotNamed)?,
        name @ Host::Name(_) => name,
    };
    environment.permit(&host, port)?;
    let held = environment
        .volume
        .connection()
        .ok_or(EgressRefusal::VolumeExhausted)?;
    let place = Place {
        host,
        port,
        address: facts.address,
    };
    let environment = Arc::clone(environment);
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            connection::carry(environment, TokioIo::new(upgraded), place).await;
        }
        drop(held);
    });
    Ok(hyper::Response::new(refusal::empty()))
}
