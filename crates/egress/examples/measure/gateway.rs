//! The gateway beside nginx and beside nothing.

use std::time::Duration;

use super::load::{self, Client};
use super::nginx::Nginx;
use super::roles::Process;
use super::{median, quantile, say};

/// Connections that ask for whole answers.
const CONNECTIONS: usize = 64;

/// Streams at the same time, for the memory that they take.
const STREAMS: usize = 3000;

/// Chunks of a stream, and milliseconds between them, for the latency.
const CHUNKS: &str = "10,5";

async fn both() -> (Process, Process) {
    let upstream = Process::start(&["serve-upstream"]).await;
    let gateway = Process::start(&["serve-gateway", &upstream.address.to_string()]).await;
    (upstream, gateway)
}

/// Calls a second, in turns, so that what else the machine does meets all of them.
pub(crate) async fn rate(seconds: u64) {
    let (upstream, gateway) = both().await;
    let nginx = Nginx::start(upstream.address).await;
    if nginx.is_none() {
        println!("# nginx is not installed: nothing to compare with");
    }
    let time = Duration::from_secs(seconds);
    let (mut direct, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        direct.push(load::rate(upstream.address, CONNECTIONS, time).await);
        ours.push(load::rate(gateway.address, CONNECTIONS, time).await);
        if let Some(nginx) = &nginx {
            theirs.push(load::rate(nginx.address, CONNECTIONS, time).await);
        }
    }
    say("calls direct", median(&direct), "1/s");
    say("calls through the gateway", median(&ours), "1/s");
    if nginx.is_some() {
        say("calls through nginx", median(&theirs), "1/s");
        say("gateway beside nginx", median(&ours) / median(&theirs), "");
    }
}

/// What the gateway adds to first bytes and chunks, at half of the streams that it can.
pub(crate) async fn latency(seconds: u64) {
    let (upstream, gateway) = both().await;
    let time = Duration::from_secs(seconds);
    // A stream is worth so many whole calls, about: each chunk wakes everybody once.
    let most = load::rate(gateway.address, CONNECTIONS, Duration::from_secs(2)).await / 5.0;
    let rate = most / 2.0;
    say("streams begun", rate, "1/s");
    let connections = 64;
    let (mut firsts, mut chunks) = (Vec::new(), Vec::new());
    for address in [upstream.address, gateway.address] {
        let (first, each) = load::paced(address, rate, connections, CHUNKS, time).await;
        let name = if address == gateway.address {
            "through the gateway"
        } else {
            "direct"
        };
        for (share, word) in [(0.5, "median"), (0.99, "p99")] {
            say(
                &format!("first byte {name}, {word}"),
                quantile(&first, share),
                "ms",
            );
            say(
                &format!("chunk {name}, {word}"),
                quantile(&each, share),
                "ms",
            );
        }
        firsts.push(quantile(&first, 0.99));
        chunks.push(quantile(&each, 0.99));
    }
    let added = |both: &[f64]| both.last().unwrap_or(&0.0) - both.first().unwrap_or(&0.0);
    say("added to the first byte, p99", added(&firsts), "ms");
    say("added to a chunk, p99", added(&chunks), "ms");
}

/// Memory of the gateway with many streams at once.
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
pub(crate) async fn streams(seconds: u64) {
    let (_upstream, gateway) = both().await;
    say("memory at rest", gateway.memory(), "bytes");
    let chunks = format!("{},1000", seconds + 1);
    let mut workers = Vec::new();
    for number in 0..STREAMS {
        let (address, chunks) = (gateway.address, chunks.clone());
        workers.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let mut each = Vec::new();
            client.stream(&chunks, &mut each).await;
            each.len()
        }));
        if number % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut peak = 0_f64;
    let (mut chunks, mut whole) = (0, 0);
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_millis(900)).await;
        peak = peak.max(gateway.memory());
    }
    for worker in workers {
        let count = worker.await.expect("a stream");
        chunks += count;
        whole += usize::from(count as u64 == seconds + 1);
    }
    say("streams at once", whole as f64, "");
    say("chunks", chunks as f64, "");
    say("memory at most", peak, "bytes");
    say("memory for a stream", peak / STREAMS as f64, "bytes");
}
