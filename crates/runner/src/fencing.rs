//! From what server and automation ask for to what the sandbox is told, and from what it reached to
//! the evidence that facts keep.

use std::time::Duration;

use model::automation::{ExecDefinition, ExecRuleDefinition, LimitsDefinition};
use model::exec::{ExecMode, ExecTarget};
use model::fence::Fence;
use model::isolation::{ExecEvidence, Isolation, IsolationLevel, NetworkEvidence, RootEvidence};
use sandbox::{ExecPolicy, ExecRule, IsolationReport, Limits, Required, RuleVerdict};
use sha2::{Digest as _, Sha256};

/// Said to whoever is refused by a rule without a reason of its own.
const NO_REASON: &str = "the automation or the server denies it";

/// The policy as the sandbox enforces it.
#[must_use]
pub fn exec_policy(exec: &ExecDefinition) -> ExecPolicy {
    let lists = [
        (RuleVerdict::Deny, &exec.deny),
        (RuleVerdict::Allow, &exec.allow),
        (RuleVerdict::Report, &exec.report),
    ];
    let rule = |verdict, rule: &ExecRuleDefinition| {
        Some(ExecRule {
            verdict,
            target: target(&rule.target)?,
            reason: rule.reason.clone().unwrap_or_else(|| NO_REASON.to_owned()),
        })
    };
    let rules = lists
        .into_iter()
        .flat_map(|(verdict, rules)| rules.iter().filter_map(move |found| rule(verdict, found)));
    ExecPolicy {
        mode: mode(exec.effective_mode()),
        rules: rules.collect(),
        trusted_producers: exec.producers.iter().filter_map(target).collect(),
        interpreters: exec.interpreters.iter().filter_map(target).collect(),
    }
}

/// Absent only for a digest that is none, which reading refuses.
fn target(target: &ExecTarget) -> Option<sandbox::ExecTarget> {
    Some(match target {
        ExecTarget::Name(name) => sandbox::ExecTarget::Name(name.clone()),
        ExecTarget::Path(path) => sandbox::ExecTarget::Path(path.clone()),
        ExecTarget::Package(name) => sandbox::ExecTarget::Package(name.clone()),
        ExecTarget::Sha256(digest) => {
            let mut bytes = [0; 32];
            hex::decode_to_slice(digest, &mut bytes).ok()?;
            sandbox::ExecTarget::Digest(bytes)
        }
    })
}

const fn mode(mode: ExecMode) -> sandbox::ExecMode {
    match mode {
        ExecMode::Off => sandbox::ExecMode::Off,
        ExecMode::Observe => sandbox::ExecMode::Observe,
        ExecMode::DenyList => sandbox::ExecMode::DenyList,
        ExecMode::AllowList => sandbox::ExecMode::AllowList,
        ExecMode::Strict => sandbox::ExecMode::Strict,
    }
}

/// SHA-256 of a policy in hexadecimal. The order of its rules plays no part.
#[must_use]
pub fn policy_digest(exec: &ExecDefinition) -> String {
    let mut sorted = exec.clone();
    sorted.mode = Some(exec.effective_mode());
    for rules in [&mut sorted.deny, &mut sorted.allow, &mut sorted.report] {
        rules.sort();
    }
    sorted.producers.sort();
    sorted.interpreters.sort();
    // Plain data with text keys: writing it as JSON cannot fail.
    let text = serde_json::to_vec(&sorted).unwrap_or_default();
    hex::encode(Sha256::digest(text))
}

/// Limits as the sandbox enforces them; what is not said takes the sandbox's default.
#[must_use]
pub fn limits(wanted: &LimitsDefinition, life: Duration) -> Limits {
    let default = Limits::default();
    Limits {
        processes: wanted.processes.unwrap_or(default.processes),
        file_size: wanted.file.map_or(default.file_size, |size| size.0),
        address_space: wanted.process_memory.map(|size| size.0),
        memory: wanted.memory.map(|size| size.0),
        cpu_milli: wanted.cpu.map(|cores| u64::from(cores.0)),
        disk_bytes: wanted.disk.map(|size| size.0),
        disk_inodes: wanted.files,
        wall: life,
        ..default
    }
}

/// What must be enforced.
#[must_use]
pub fn required(fence: &Fence) -> Required {
    Required {
        level: fence.required_level.map(|level| match level {
            IsolationLevel::L0 => sandbox::IsolationLevel::L0,
            IsolationLevel::L1 => sandbox::IsolationLevel::L1,
            IsolationLevel::L2 => sandbox::IsolationLevel::L2,
            IsolationLevel::L3 => sandbox::IsolationLevel::L3,
        }),
        layers: fence.required_layers.clone(),
    }
}

/// A level in the words of the model.
#[must_use]
pub const fn level(level: sandbox::IsolationLevel) -> IsolationLevel {
    match level {
        sandbox::IsolationLevel::L0 => IsolationLevel::L0,
        sandbox::IsolationLevel::L1 => IsolationLevel::L1,
        sandbox::IsolationLevel::L2 => IsolationLevel::L2,
        sandbox::IsolationLevel::L3 => IsolationLevel::L3,
    }
}

/// The evidence that facts keep, of an environment with this report.
#[must_use]
pub fn evidence(
    report: &IsolationReport,
    fence: &Fence,
    root: Option<RootEvidence>,
    network: Option<NetworkEvidence>,
) -> Isolation {
    let held = report.self_test.iter().filter(|probe| probe.passed).count();
    let exec = &fence.exec;
    let rules = exec.deny.len() + exec.allow.len() + exec.report.len();
    let mode = exec.effective_mode();
    let mut weaker = report.weaker.clone();
    weaker.extend(shortfalls(
        report,
        fence.wanted_level,
        &fence.wanted_layers,
        mode,
    ));
    Isolation {
        level: level(report.level),
        layers: report.layers.clone(),
        probes: u32::try_from(held).unwrap_or(u32::MAX),
        weaker,
        exec: (mode != ExecMode::Off && judges(report)).then(|| ExecEvidence {
            mode,
            policy: policy_digest(exec),
            rules: u32::try_from(rules).unwrap_or(u32::MAX),
        }),
        root,
        network,
    }
}

/// What is required and not reached, a sentence each; nothing when all is well.
#[must_use]
pub fn missing(report: &IsolationReport, fence: &Fence) -> Vec<String> {
    shortfalls(
        report,
        fence.required_level,
        &fence.required_layers,
        fence.required_mode,
    )
}

fn shortfalls(
    report: &IsolationReport,
    least: Option<IsolationLevel>,
    layers: &[String],
    mode: ExecMode,
) -> Vec<String> {
    let reached = level(report.level);
    let mut all = Vec::new();
    if let Some(least) = least.filter(|least| *least > reached) {
        all.push(format!(
            "isolation level {least} is asked for, and this host reaches {reached}"
        ));
    }
    for layer in layers.iter().filter(|layer| !report.layers.contains(layer)) {
        all.push(format!(
            "the layer `{layer}` is asked for, and this host does not apply it"
        ));
    }
    if mode != ExecMode::Off && !judges(report) {
        all.push(format!(
            "exec control (`{mode}`) is asked for, and this host cannot judge what executes"
        ));
    }
    all
}

/// Whether what executes is judged by its content: every layer that does says so by its name.
pub(crate) fn judges(report: &IsolationReport) -> bool {
    report.layers.iter().any(|layer| layer.starts_with("exec-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(level: sandbox::IsolationLevel, layers: &[&str]) -> IsolationReport {
        IsolationReport {
            level,
            layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
            self_test: Vec::new(),
            weaker: vec!["no swap limit".to_owned()],
        }
    }

    fn exec(text: &str) -> ExecDefinition {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_required_and_not_reached_is_missing_and_what_is_only_wanted_is_weaker() {
        let mut fence = Fence {
            required_level: Some(IsolationLevel::L0),
            wanted_level: Some(IsolationLevel::L1),
            wanted_layers: vec!["landlock".into()],
            exec: exec(r#"{"deny": ["npx"]}"#),
            ..Fence::default()
        };
        let reached = report(sandbox::IsolationLevel::L0, &["user"]);
        assert!(missing(&reached, &fence).is_empty());
        let isolation = evidence(&reached, &fence, None, None);
        assert_eq!(isolation.weaker.len(), 4, "{:?}", isolation.weaker);
        assert_eq!(isolation.exec, None);
        fence.required_mode = ExecMode::DenyList;
        fence.required_layers = vec!["landlock".into()];
        assert_eq!(missing(&reached, &fence).len(), 2);
        let enough = report(sandbox::IsolationLevel::L1, &["landlock", "exec-gate"]);
        assert!(missing(&enough, &fence).is_empty());
        let exec = evidence(&enough, &fence, None, None).exec.unwrap();
        assert_eq!((exec.mode, exec.rules), (ExecMode::DenyList, 1));
    }

    #[test]
    fn the_same_rules_have_the_same_digest_in_any_order_and_others_another() {
        let one = exec(r#"{"deny": ["npx", "curl"]}"#);
        let other = exec(r#"{"mode": "deny-list", "deny": ["curl", "npx"]}"#);
        assert_eq!(policy_digest(&one), policy_digest(&other));
        let third = exec(r#"{"deny": ["curl"], "allow": ["npx"]}"#);
        assert_ne!(policy_digest(&one), policy_digest(&third));
    }

    #[test]
    fn rules_reach_the_sandbox_with_their_verdict_and_target() {
        let digest = "ab".repeat(32);
        let policy = exec_policy(&exec(&format!(
            r#"{{"mode": "allow-list", "deny": [{{"path": "/usr/bin/curl", "reason": "ask ada"}}], "allow": ["sha256:{digest}"], "report": ["package:x"], "producers": ["cargo"]}}"#
        )));
        assert_eq!(policy.mode, sandbox::ExecMode::AllowList);
        assert_eq!(policy.rules.len(), 3);
        assert_eq!(policy.rules[0].reason, "ask ada");
        assert_eq!(
            policy.rules[1].target,
            sandbox::ExecTarget::Digest([0xab; 32])
        );
        assert_eq!(policy.trusted_producers.len(), 1);
    }
}
