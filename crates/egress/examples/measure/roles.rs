//! The processes beside the load: an upstream that answers at once, and the gateway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::Body;
use egress::budget::{Cap, Capped, Spender};
use egress::gateway::config::{Clock, Kind, Route, Target, Upstream};
use egress::gateway::{Gateway, GatewayConfig, ModelPolicy, Settings, connect};
use egress::meter::PriceTable;
use egress::record::NoRecorder;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncBufReadExt as _;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// The model that is asked for.
pub(crate) const MODEL: &str = "claude-haiku-4-5";

/// Which header asks the upstream for a stream: its chunks, and milliseconds between them.
pub(crate) const CHUNKS: &str = "x-stainless-chunks";

/// As many open files as the system gives.
pub(crate) fn more_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// Nanoseconds on the clock that all processes share.
#[expect(
    clippy::disallowed_methods,
    reason = "processes have no other clock in common"
)]
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

/// A role in a process of its own, which ends with this one.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) async fn start(words: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(words)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let out = child.stdout.take().expect("its output");
        let mut lines = tokio::io::BufReader::new(out).lines();
        let line = lines.next_line().await.expect("a line").expect("a line");
        let address = line.parse().expect("an address");
        Self { child, address }
    }

    /// Memory that is in use, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "a measurement")]
    pub(crate) fn memory(&self) -> f64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap_or(0));
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        let kilobytes: u64 = kilobytes
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        (kilobytes * 1024) as f64
    }
}

async fn serve<F, R>(answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a listener");
    println!("{}", listener.local_addr().expect("an address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let _ = served.await;
        });
    }
}

/// Answers at once, or in chunks that each say when they were written.
pub(crate) async fn upstream() {
    serve(|request: Request<Incoming>| async move {
        let asked = request.headers().get(CHUNKS).cloned();
        let _ = request.into_body().collect().await;
        let asked = asked.as_ref().and_then(|asked| asked.to_str().ok());
        let Some((chunks, pause)) = asked.and_then(|asked| asked.split_once(',')) else {
            let body = "{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}],\"usage\":{\"input_tokens\":400,\"output_tokens\":2}}";
            return answer("application/json", Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
        };
        let chunks: u32 = chunks.parse().unwrap_or(1);
        let pause = Duration::from_millis(pause.parse().unwrap_or(0));
        let steps = futures_util::stream::unfold(0, move |number| async move {
            if number >= chunks {
                return None;
            }
            if number > 0 {
                tokio::time::sleep(pause).await;
            }
            Some((Ok(Frame::data(chunk(number, chunks))), number + 1))
        });
        answer("text/event-stream", StreamBody::new(steps).boxed_unsync())
    })
    .await;
}

fn chunk(number: u32, chunks: u32) -> Bytes {
    let at = now();
    let text = if number == 0 {
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"at\":{at},\"message\":{{\"usage\":{{\"input_tokens\":400,\"output_tokens\":1}}}}}}\n\n"
        )
    } else if number + 1 == chunks {
        format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"at\":{at},\"usage\":{{\"output_tokens\":50}}}}\n\n"
        )
    } else {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"at\":{at},\"delta\":{{\"type\":\"text_delta\",\"text\":\"some words of an answer\"}}}}\n\n"
        )
    };
    Bytes::from(text)
}

fn answer(kind: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    let kind = header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// The gateway with a budget that is never used up, as it stands in production but for TLS.
pub(crate) async fn gateway(upstream: &str) {
    let url = format!("http://{upstream}").parse().expect("a url");
    let mut server = Upstream::new(Kind::Anthropic, url);
    server.key = Some("key".to_owned());
    let target = Target {
        upstream: "a".to_owned(),
        model: None,
    };
    let mut settings = Settings {
        routes: vec![Route {
            model: "*".to_owned(),
            to: vec![target],
        }],
        ..Settings::default()
    };
    settings.upstreams.insert("a".to_owned(), server);
    settings.limits.calls = Some(100_000);
    let clock: Clock = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
    let mut config = GatewayConfig::new(settings, connect::tls(&[]).expect("tls"), clock);
    config.prices = PriceTable::shipped().expect("prices");
    let key = Zeroizing::new("a-key-of-the-gateway".to_owned());
    config.keys = Arc::new(std::collections::BTreeMap::from([("key".to_owned(), key)]));
    let budget = Capped::new(vec![Cap::money("all", u64::MAX)]);
    let gateway = Gateway::new(config, Arc::new(budget), Arc::new(NoRecorder));
    serve(move |request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move {
            let spender = Spender {
                environment: "bench".to_owned(),
                account: "bench".to_owned(),
            };
            let models = ModelPolicy {
                models: [MODEL.to_owned()].into(),
            };
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            gateway.handle(&spender, &models, request).await
        }
    })
    .await;
}
