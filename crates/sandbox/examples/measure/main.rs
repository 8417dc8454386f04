//! Measures what environments cost, beside what others cost, in pairs: `cargo xtask bench sandbox`
//! runs it part by part and writes the page.
//!
//! Usage: `measure PART [ROUNDS]`. Each result is a line of JSON: `{"what", "value", "unit"}`.

#![expect(
    clippy::print_stdout,
    reason = "printing the measurements is all it does"
)]
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made has failed"
)]

mod alive;
mod builds;
mod churn;
mod forks;
mod inside;
mod opens;
mod peers;
mod start;
mod world;

fn main() {
    sandbox::supervisor::run_if_requested();
    let mut arguments = std::env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    if part == "inside" {
        return inside::run(&arguments.collect::<Vec<_>>());
    }
    let rounds: Option<usize> = arguments.next().and_then(|rounds| rounds.parse().ok());
    match part.as_str() {
        "start" => start::measure(rounds.unwrap_or(100)),
        "alive" => alive::measure(rounds.unwrap_or(300)),
        "forks" => forks::measure(rounds.unwrap_or(20)),
        "opens" => opens::measure(rounds.unwrap_or(5)),
        "builds" => builds::measure(rounds.unwrap_or(10)),
        "churn" => churn::measure(rounds.unwrap_or(50_000)),
        _ => {
            println!("usage: measure start|alive|forks|opens|builds|churn [ROUNDS]");
            std::process::exit(2);
        }
    }
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
