//! Policies, programs and environments for these tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sandbox::{
    Digest, Environment, ExecEvent, ExecMode, ExecPolicy, ExecRule, ExecTarget, RuleVerdict,
};
use sha2::{Digest as _, Sha256};

use crate::common::{World, is_root, skip};

/// Whether these tests can run; says so when not.
pub(crate) fn can_gate() -> bool {
    if !is_root() {
        skip("exec control by content needs root");
        return false;
    }
    true
}

pub(crate) fn digest(path: impl AsRef<Path>) -> Digest {
    Sha256::digest(std::fs::read(path).unwrap()).into()
}

pub(crate) fn rule(verdict: RuleVerdict, target: ExecTarget) -> ExecRule {
    ExecRule {
        verdict,
        target,
        reason: "use the other one".to_owned(),
    }
}

pub(crate) fn deny(target: ExecTarget) -> ExecRule {
    rule(RuleVerdict::Deny, target)
}

pub(crate) fn name(name: &str) -> ExecTarget {
    ExecTarget::Name(name.to_owned())
}

pub(crate) fn policy(mode: ExecMode, rules: Vec<ExecRule>) -> ExecPolicy {
    ExecPolicy {
        mode,
        rules,
        ..ExecPolicy::default()
    }
}

/// Compiles a C program on the host.
pub(crate) fn compile(to: &Path, source: &str, arguments: &[&str]) {
    let file = to.with_extension("source.c");
    std::fs::write(&file, source).unwrap();
    let output = Command::new("cc")
        .arg("-O1")
        .arg("-o")
        .arg(to)
        .arg(&file)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(file).unwrap();
}

/// A program that says a word, so that whoever executes it cannot hide that.
pub(crate) fn speaker(to: &Path, word: &str) {
    let source = format!("#include <stdio.h>\nint main(void) {{ puts(\"{word}\"); return 0; }}\n");
    compile(to, &source, &[]);
}

/// A base with a program `tool`, a library `tool.so`, a script `tool.sh`, and a harmless `friend`.
pub(crate) fn base(world: &World) -> PathBuf {
    let base = world.base(&[
        ("data", "nothing"),
        ("tool.sh", "#!/bin/sh\necho RAN script\n"),
    ]);
    speaker(&base.join("tool"), "RAN tool");
    speaker(&base.join("friend"), "friend");
    compile(
        &base.join("tool.so"),
        "#include <stdio.h>\n__attribute__((constructor)) static void said(void) { puts(\"RAN library\"); }\n",
        &["-shared", "-fPIC"],
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(base.join("tool.sh"), mode).unwrap();
    sandbox::prepare_base(&base).unwrap();
    base
}

/// Denies everything of [`base`] but `friend`, by content.
pub(crate) fn denials(base: &Path) -> Vec<ExecRule> {
    ["tool", "tool.so", "tool.sh"]
        .iter()
        .map(|name| deny(ExecTarget::Digest(digest(base.join(name)))))
        .collect()
}

pub(crate) fn create(
    world: &World,
    name: &str,
    base: Option<&Path>,
    policy: ExecPolicy,
) -> Environment {
    let mut spec = world.spec(name, base);
    spec.exec = policy;
    let environment = world.supervisor.create(&spec).expect("an environment");
    let report = environment.report();
    assert_eq!(report.level, sandbox::IsolationLevel::L1, "{report:?}");
    assert!(
        report.layers.contains(&"exec-gate".to_owned()),
        "{report:?}"
    );
    environment
}

/// Every event that comes within a while, or until one fits.
pub(crate) fn events_until(
    environment: &Environment,
    fits: impl Fn(&ExecEvent) -> bool,
) -> Vec<ExecEvent> {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    let mut all = Vec::new();
    while std::time::Instant::now() < end && !all.iter().any(&fits) {
        all.extend(environment.exec_events(Duration::from_millis(100)));
    }
    all
}
