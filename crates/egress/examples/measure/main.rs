//! Measures what the way out costs, beside what others cost, in one run.
//!
//! Usage: `measure PART [SECONDS]`. Each result is a line of JSON: `{"what", "value", "unit"}`; lines
//! that begin with `#` are remarks. The upstream, the gateway and nginx are processes of their own;
//! the load comes from this one. All share the processors that there are.

#![expect(
    clippy::print_stdout,
    reason = "printing the measurements is all it does"
)]
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made has failed"
)]

mod gateway;
mod load;
mod nginx;
mod roles;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    roles::more_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let seconds = |default: u64| {
        words
            .get(1)
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(default)
    };
    runtime.block_on(async {
        match words.as_slice() {
            ["serve-upstream"] => roles::upstream().await,
            ["serve-gateway", upstream] => roles::gateway(upstream).await,
            ["rate", ..] => gateway::rate(seconds(5)).await,
            ["latency", ..] => gateway::latency(seconds(10)).await,
            ["streams", ..] => gateway::streams(seconds(10)).await,
            _ => println!("usage: measure rate|latency|streams [SECONDS]"),
        }
    });
}

/// One result.
fn say(what: &str, value: f64, unit: &str) {
    println!(
        "{}",
        serde_json::json!({"what": what, "value": value, "unit": unit})
    );
}

/// The value below which this share of the values lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).ceil() as usize;
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
