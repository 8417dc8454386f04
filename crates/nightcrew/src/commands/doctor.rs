//! `nightcrew doctor`: what this host can enforce, and what is missing.

use serde_json::{Value, json};

use crate::cli::Global;
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::print;

pub(super) fn execute(global: &Global) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let preflight = sandbox::preflight();
    let git = git_version();
    let sound = preflight.level.is_some() && git.is_some();
    let isolation = serde_json::to_value(&preflight).doing("describe the isolation")?;
    if print::is_json() {
        print::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data_dir": config.data_dir()?,
            "git": git,
            "isolation": isolation,
            "sound": sound,
        }));
        return Ok(u8::from(!sound));
    }
    print::line(format!("nightcrew  {}", env!("CARGO_PKG_VERSION")));
    print::line(format!("data       {}", config.data_dir()?.display()));
    print::line(format!(
        "git        {}",
        git.as_deref()
            .unwrap_or("missing: install git 2.38 or newer")
    ));
    print::line(format!("isolation  {}", summary(&isolation)));
    for finding in &preflight.findings {
        let mark = if finding.ok { "✔" } else { "✘" };
        print::line(format!("  {mark} {}", finding.name));
        if !finding.ok {
            print::line(format!("      cause: {}", finding.cause));
            print::line(format!("      cure:  {}", finding.cure));
        }
    }
    Ok(u8::from(!sound))
}

/// The isolation in one line.
pub(super) fn summary(isolation: &Value) -> String {
    let layers: Vec<&str> = isolation
        .get("findings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|finding| finding.get("ok").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|finding| finding.get("name").and_then(Value::as_str))
        .collect();
    match isolation.get("level").and_then(Value::as_str) {
        Some(level) => format!("{level} ({})", layers.join(", ")),
        None => "none: environments cannot be made here".to_owned(),
    }
}

fn git_version() -> Option<String> {
    let output = std::process::Command::new("git")
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
