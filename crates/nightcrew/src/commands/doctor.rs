//! `nightcrew doctor`: what this host can enforce, and what is missing.
//!
//! Nothing is concluded from settings: every layer is tried, and at the end a whole environment is
//! made as the configuration asks for it, tests itself, and is destroyed.

use std::path::Path;

use model::automation::{Cores, LimitsDefinition};
use model::exec::ExecMode;
use model::fence::Fence;
use model::isolation::{Isolation, IsolationLevel};
use model::size::ByteSize;
use runner::fencing;
use sandbox::{
    EnvironmentSpec, Finding, NetworkSpec, State, Supervisor, SupervisorOptions, Workspace,
};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::scratch::Scratch;

/// What trying a whole environment came to.
struct Trial {
    /// What it reached, where it stood.
    isolation: Option<Isolation>,
    /// What the configuration asks for and this host cannot do.
    unmet: Vec<String>,
    /// Why it did not stand.
    problem: Option<String>,
}

pub(super) fn execute(global: &Global) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let mut preflight = sandbox::preflight();
    let data_dir = config.data_dir()?;
    preflight.findings.push(sandbox::lsm::probe());
    let program = std::env::current_exe().doing("find this program")?;
    // What trying KVM came to is remembered beside the data, where there is any: it takes seconds.
    let memory = data_dir.is_dir().then(|| data_dir.join("kvm-trial"));
    preflight
        .findings
        .extend(sandbox::vm::vm_preflight(&program, None, memory.as_deref()));
    let quota = sandbox::storage::quota_kind(match &memory {
        Some(_) => &data_dir,
        None => Path::new("."),
    });
    let git = git_version();
    let trial = match preflight.level {
        Some(_) => attempt(&config.fence()),
        None => Trial {
            isolation: None,
            unmet: Vec::new(),
            problem: Some("a layer that environments cannot be made without is absent".to_owned()),
        },
    };
    let sound = git.is_some() && trial.isolation.is_some() && trial.unmet.is_empty();
    let reached = trial.isolation.as_ref().map(|isolation| isolation.level);
    if print::is_json() {
        print::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data_dir": config.data_dir()?,
            "git": git,
            "isolation": {
                "level": reached,
                "findings": preflight.findings,
                "environment": trial.isolation,
            },
            "required": required(&config.fence()),
            "unmet": trial.unmet,
            "problem": trial.problem,
            "quota": {"hard": quota.hard, "by": quota.by, "cure": quota.cure},
            "exec_control": exec_control(&preflight.findings),
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
    print::line(format!("isolation  {}", reached_in_words(&trial)));
    print::line(format!(
        "programs   {}",
        exec_control(&preflight.findings).1
    ));
    print::line(format!(
        "disk       {} quota: {}",
        if quota.hard { "hard" } else { "supervised" },
        quota.by
    ));
    if let Some(cure) = &quota.cure {
        print::line(format!("           cure: {cure}"));
    }
    print::line(print::bold("\nLayers"));
    for finding in &preflight.findings {
        say(finding);
    }
    if let Some(isolation) = &trial.isolation
        && !isolation.weaker.is_empty()
    {
        print::line(print::bold("\nWeaker than it could be"));
        for sentence in &isolation.weaker {
            print::line(format!("  {sentence}"));
        }
    }
    for sentence in &trial.unmet {
        print::error(&format!("the configuration is not met: {sentence}"));
    }
    if let Some(problem) = &trial.problem {
        print::error(problem);
    }
    Ok(u8::from(!sound))
}

fn say(finding: &Finding) {
    let (mark, word) = match finding.state {
        State::Active => ("✔", "active"),
        State::Weaker => ("◐", "weaker"),
        State::Absent => ("✘", "absent"),
    };
    let line = format!("  {mark} {word}  {:<18} {}", finding.name, finding.detail);
    print::line(line.trim_end());
    if !finding.ok {
        print::line(format!("      cause: {}", finding.cause));
        print::line(format!("      cure:  {}", finding.cure));
    }
}

/// Makes an environment as strong as this host can, within what the configuration asks for.
fn attempt(fence: &Fence) -> Trial {
    let mut fence = fence.clone();
    // What can judge shows only where something is judged.
    if fence.exec.effective_mode() == ExecMode::Off {
        fence.exec.mode = Some(ExecMode::Observe);
    }
    match make(&fence) {
        Ok((isolation, unmet)) => Trial {
            isolation: Some(isolation),
            unmet,
            problem: None,
        },
        Err(failure) => Trial {
            isolation: None,
            unmet: Vec::new(),
            problem: Some(failure.message().to_owned()),
        },
    }
}

fn make(fence: &Fence) -> Result<(Isolation, Vec<String>), Failure> {
    let folder = Scratch::make("doctor", 0o711)?;
    let program = std::env::current_exe().doing("find this program")?;
    let supervisor =
        Supervisor::start(SupervisorOptions::new(program)).doing("start the supervisor")?;
    let workspace = Workspace {
        base: None,
        frozen: Vec::new(),
        layer: folder.path().join("layer"),
    };
    let mut spec = EnvironmentSpec::new("doctor", workspace);
    spec.exec = fencing::exec_policy(&fence.exec);
    // Layers that limit are in force where there is a limit.
    let limits = LimitsDefinition {
        memory: Some(ByteSize(1 << 30)),
        cpu: Some(Cores(1000)),
        disk: Some(ByteSize(1 << 30)),
        files: Some(100_000),
        ..LimitsDefinition::default()
    };
    spec.limits = fencing::limits(&limits, std::time::Duration::from_mins(1));
    spec.network = Some(NetworkSpec::default());
    let mut without_network = None;
    let made = supervisor.create(&spec).or_else(|error| {
        // Most environments have none: the rest is still worth to know.
        without_network = Some(format!("no brokered network: {error}"));
        spec.network = None;
        supervisor.create(&spec)
    });
    let environment = made.doing("make an environment")?;
    let report = environment.report().clone();
    environment.destroy().doing("destroy an environment")?;
    let mut isolation = fencing::evidence(&report, fence, None, None);
    isolation.weaker.extend(without_network);
    Ok((isolation, fencing::missing(&report, fence)))
}

/// What the configuration asks for.
fn required(fence: &Fence) -> Value {
    json!({
        "level": fence.required_level,
        "layers": fence.required_layers,
        "exec": fence.required_mode,
    })
}

/// What can judge programs here: the name of a finding, and words.
fn exec_control(findings: &[Finding]) -> (Option<&str>, &'static str) {
    let active = |name: &str| {
        findings
            .iter()
            .find(|finding| finding.name == name && finding.ok)
            .map(|finding| finding.name.as_str())
    };
    if let Some(name) = active("bpf-lsm") {
        return (Some(name), "judged by their bytes, in the kernel (BPF-LSM)");
    }
    match active("exec-gate") {
        Some(name) => (Some(name), "judged by their bytes (fanotify)"),
        None => (
            None,
            "not judged by their bytes: exec control is refused, unless weaker is accepted",
        ),
    }
}

fn reached_in_words(trial: &Trial) -> String {
    let Some(isolation) = &trial.isolation else {
        return "none: environments cannot be made here".to_owned();
    };
    let means = match isolation.level {
        IsolationLevel::L0 => "namespaces, limits, system call filter",
        IsolationLevel::L1 | IsolationLevel::L2 => "and programs judged by their bytes",
        IsolationLevel::L3 => "a virtual machine",
    };
    let met = match trial.unmet.is_empty() {
        true => "",
        false => "; less than the configuration asks for",
    };
    format!(
        "{} ({means}), {} probes held{met}",
        isolation.level, isolation.probes
    )
}

/// The isolation in one line.
pub(super) fn summary(isolation: &Value) -> String {
    let absent: Vec<&str> = isolation
        .get("findings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|finding| !finding.get("ok").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|finding| finding.get("name").and_then(Value::as_str))
        .collect();
    let level = match isolation.get("level").and_then(Value::as_str) {
        Some("L0") => "L0".to_owned(),
        // Environments reach it whose automation asks for it.
        Some(level) => format!("up to {level}, where programs are to be judged; else L0"),
        None => return "none: environments cannot be made here".to_owned(),
    };
    if absent.is_empty() {
        level
    } else {
        format!("{level} (without {})", absent.join(", "))
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
