//! The load.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::roles::{CHUNKS, MODEL, now};

/// A request of about 2 KB, as a small turn of an agent is.
fn body(stream: bool) -> Bytes {
    let text = "What is to be done next? ".repeat(70);
    let body = serde_json::json!({"model": MODEL, "max_tokens": 100, "stream": stream,
        "messages": [{"role": "user", "content": text}]});
    Bytes::from(body.to_string())
}

/// One connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    whole: Bytes,
    stream: Bytes,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await;
        let stream = stream.expect("a connection");
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(16 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .expect("a connection");
        tokio::spawn(connection);
        Self {
            sender,
            host: address.to_string(),
            whole: body(false),
            stream: body(true),
        }
    }

    async fn send(&mut self, body: Bytes, chunks: Option<&str>) -> Incoming {
        let mut request = Request::post("/v1/messages")
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-api-key", "placeholder")
            .header("anthropic-version", "2023-06-01");
        if let Some(chunks) = chunks {
            request = request.header(CHUNKS, chunks);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.sender.ready().await.expect("a connection");
        let answer = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.headers());
        answer.into_body()
    }

    /// A whole answer.
    pub(crate) async fn call(&mut self) {
        let body = self.whole.clone();
        let answer = self.send(body, None).await;
        answer.collect().await.expect("an answer");
    }

    /// A streamed answer: milliseconds to its first byte, and for each chunk from when it was
    /// written to when it was read.
    pub(crate) async fn stream(&mut self, chunks: &str, each: &mut Vec<f64>) -> f64 {
        let body = self.stream.clone();
        let start = Instant::now();
        let mut answer = self.send(body, Some(chunks)).await;
        let mut first = None;
        while let Some(frame) = answer.frame().await {
            let bytes = frame.expect("a chunk").into_data().unwrap_or_default();
            first.get_or_insert_with(|| start.elapsed());
            each.extend(ages(&bytes));
        }
        milliseconds(first.unwrap_or_default())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How long ago the chunks in these bytes were written.
fn ages(bytes: &[u8]) -> Vec<f64> {
    let now = now();
    let text = String::from_utf8_lossy(bytes);
    let marks = text.split("\"at\":").skip(1);
    let times = marks.filter_map(|mark| {
        let digits: String = mark.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    times
        .map(|at| milliseconds(Duration::from_nanos(now.saturating_sub(at))))
        .collect()
}

/// Calls a second over so many connections, each of which asks again as soon as it was answered.
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
pub(crate) async fn rate(address: SocketAddr, connections: usize, time: Duration) -> f64 {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(address).await;
        client.call().await;
        clients.push(client);
    }
    let start = Instant::now();
    let workers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while start.elapsed() < time {
                    client.call().await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for worker in workers {
        calls += worker.await.expect("a worker");
    }
    calls as f64 / start.elapsed().as_secs_f64()
}

/// Streams that begin so many times a second: times to their first bytes, and of their chunks.
pub(crate) async fn paced(
    address: SocketAddr,
    rate: f64,
    connections: usize,
    chunks: &'static str,
    time: Duration,
) -> (Vec<f64>, Vec<f64>) {
    let start = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "a measurement")]
    let every = Duration::from_secs_f64(connections as f64 / rate);
    let mut workers = Vec::new();
    for number in 0..connections {
        #[expect(clippy::cast_possible_truncation, reason = "a few")]
        let offset = every / connections as u32 * number as u32;
        workers.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let (mut firsts, mut each) = (Vec::new(), Vec::new());
            let mut next = start + Duration::from_millis(200) + offset;
            while next < start + time {
                tokio::time::sleep_until(next).await;
                firsts.push(client.stream(chunks, &mut each).await);
                next += every;
            }
            (firsts, each)
        }));
    }
    let (mut firsts, mut each) = (Vec::new(), Vec::new());
    for worker in workers {
        let (first, more) = worker.await.expect("a worker");
        firsts.extend(first);
        each.extend(more);
    }
    (firsts, each)
}
