//! Exec control by BPF-LSM, in a guest: hosts often cannot load it.
#![cfg(feature = "bpf-lsm")]
#![allow(clippy::print_stdout, reason = "a test says how long a boot took")]
#![expect(clippy::unwrap_used, reason = "checks of a test are functions")]

mod common;
mod machine;

use std::path::Path;
use std::time::Instant;

use common::{eventually, quiet};
use machine::{Place, boot, chain, qemu, run, sh, spec};
use sandbox::lsm::{self, Denial, Hook, Reason};
use sandbox::vm::{Vm, VmEnvironment};
use sandbox::{Digest, ExecMode, ExecPolicy, ExecRule, ExecTarget, RuleVerdict};

/// A program that the tests deny, and nothing else uses.
const DENIED: &str = "/usr/bin/base32";

const ATTACKS: [&str; 23] = [
    "outside-the-cgroup",
    "harmless-in-the-cgroup",
    "exec-direct",
    "exec-copied",
    "exec-renamed",
    "exec-linked",
    "exec-hard-linked",
    "exec-through-proc-root",
    "exec-as-interpreter",
    "exec-by-linker",
    "map-executable",
    "map-then-protect",
    "exec-from-memory",
    "exec-from-memory-by-linker",
    "anonymous-in-deny-list",
    "observed-only",
    "unknown-in-allow-list",
    "allowed-in-allow-list",
    "map-what-can-be-written",
    "write-what-is-mapped",
    "allowed-in-strict",
    "anonymous-in-strict",
    "verdict-taken-back",
];

fn digest(path: &str) -> Digest {
    let output = std::process::Command::new("sha256sum")
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
    }
    digest
}

fn policy(mode: ExecMode, verdict: RuleVerdict) -> ExecPolicy {
    ExecPolicy {
        mode,
        rules: vec![ExecRule {
            verdict,
            target: ExecTarget::Digest(digest(DENIED)),
            reason: "a test".to_owned(),
        }],
        ..ExecPolicy::default()
    }
}

#[test]
fn programs_are_judged_by_content_in_the_guests_kernel() {
    let Some(qemu) = qemu() else {
        return;
    };
    let place = Place::new();
    let mut spec = spec("vm-lsm", None, &place.0.join("layer"));
    spec.exec_control = true;
    spec.environment.exec = policy(ExecMode::DenyList, RuleVerdict::Deny);
    let started = Instant::now();
    let vm = boot(&qemu, &spec);
    println!(
        "a guest with exec control serves after {:?}",
        started.elapsed()
    );
    every_attack_is_stopped(&vm);
    let environment = vm
        .environment()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    denied_in_an_environment(&vm, &environment);
    others_are_not_affected(&vm);
    verdicts_change_while_it_runs(&environment);
    reported_is_not_refused(&vm);
    unknown_content_is_refused_where_only_known_is_allowed(&vm);
    println!("all after {:?}", started.elapsed());
}

fn every_attack_is_stopped(vm: &Vm) {
    let probes = vm
        .attack_exec_control()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let names: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(names, ATTACKS);
    for probe in &probes {
        assert!(probe.passed, "{probe:?}");
    }
    let denials = vm.denials();
    let seen = |hook, reason, refused| {
        let found = denials.iter().find(|denial| {
            denial.hook == hook && denial.reason == reason && denial.refused == refused
        });
        assert!(
            found.is_some(),
            "{hook:?} {reason:?} {refused} in {denials:?}"
        );
    };
    seen(Hook::Exec, Reason::Listed, true);
    seen(Hook::Map, Reason::Listed, true);
    seen(Hook::Exec, Reason::Listed, false);
    seen(Hook::Protect, Reason::MadeExecutable, true);
    seen(Hook::Exec, Reason::Unknown, true);
    seen(Hook::Map, Reason::Changing, true);
    seen(Hook::Open, Reason::Changing, true);
    seen(Hook::Protect, Reason::Writable, true);
}

/// The same in an environment, by the means a step has.
fn denied_in_an_environment(vm: &Vm, environment: &VmEnvironment) {
    let report = environment.report();
    assert!(
        report
            .layers
            .iter()
            .any(|layer| layer == "exec-control-bpf-lsm"),
        "{report:?}"
    );
    assert_eq!(sh(environment, "echo works").ok(), "works\n");
    let linker = "$(ls /lib64/ld-linux* /lib/ld-linux* 2>/dev/null | head -n 1)";
    for (name, script) in [
        ("by its path", format!("{DENIED} --version")),
        ("by its name", "base32 --version".to_owned()),
        ("as a copy", format!("cp {DENIED} copy; ./copy --version")),
        (
            "renamed",
            format!("cp {DENIED} one; mv one two; ./two --version"),
        ),
        (
            "through /proc/self/root",
            format!("/proc/self/root{DENIED} --version"),
        ),
        (
            "by a link",
            format!("ln -s {DENIED} link; ./link --version"),
        ),
        (
            "by the dynamic linker",
            format!("{linker} {DENIED} --version"),
        ),
        (
            "a copy, by the dynamic linker",
            format!("cp {DENIED} /tmp/c; {linker} /tmp/c --version"),
        ),
        (
            "as an interpreter",
            format!("printf '#!{DENIED} --version\\n' >s; chmod +x s; ./s"),
        ),
    ] {
        let ran = sh(environment, &script);
        // The shell itself ran, and what it was to start did not.
        assert!([1, 126, 127].contains(&ran.code()), "{name}: {ran:?}");
        let told = ["not permitted", "failed to map segment"];
        assert!(
            told.iter().any(|words| ran.err.contains(words)),
            "{name}: {ran:?}"
        );
        assert!(!ran.out.contains("coreutils"), "{name}: {ran:?}");
    }
    // What is not denied works, the dynamic linker included.
    assert_eq!(
        sh(environment, &format!("{linker} /bin/echo works; echo $?")).ok(),
        "works\n0\n"
    );
    let digest = digest(DENIED);
    let mut denials: Vec<Denial> = Vec::new();
    let is_ours = |denial: &Denial| denial.digest == Some(digest) && denial.refused;
    let end = Instant::now() + std::time::Duration::from_secs(10);
    while denials.iter().filter(|denial| is_ours(denial)).count() < 9 {
        assert!(Instant::now() < end, "{denials:?}");
        denials.extend(vm.denials());
        std::thread::yield_now();
    }
}

fn others_are_not_affected(vm: &Vm) {
    let other = vm.scratch("other", ExecPolicy::default()).unwrap();
    assert!(sh(&other, "base32 --version").ok().contains("coreutils"));
    assert!(
        !other
            .report()
            .layers
            .iter()
            .any(|layer| layer == "exec-control-bpf-lsm")
    );
}

fn verdicts_change_while_it_runs(environment: &VmEnvironment) {
    let digest = digest(DENIED);
    environment.judge(&[(digest, None)]).unwrap();
    assert!(
        sh(environment, "base32 --version")
            .ok()
            .contains("coreutils")
    );
    environment
        .judge(&[(digest, Some(RuleVerdict::Deny))])
        .unwrap();
    assert_ne!(sh(environment, "base32 --version").code(), 0);
}

fn reported_is_not_refused(vm: &Vm) {
    let other = vm
        .scratch("reported", policy(ExecMode::DenyList, RuleVerdict::Report))
        .unwrap();
    let _ = vm.denials();
    assert!(sh(&other, "base32 --version").ok().contains("coreutils"));
    let digest = digest(DENIED);
    eventually("a report", || {
        vm.denials().iter().any(|denial| {
            denial.digest == Some(digest) && !denial.refused && denial.hook == Hook::Exec
        })
    });
}

fn unknown_content_is_refused_where_only_known_is_allowed(vm: &Vm) {
    let strict = vm
        .scratch("strict", policy(ExecMode::Strict, RuleVerdict::Deny))
        .unwrap();
    let mut shell = quiet("");
    shell.argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()];
    assert_eq!(run(&strict, shell).code(), 126, "nothing is allowed yet");
    let mut known = vec![
        "/bin/sh".to_owned(),
        "/bin/cat".to_owned(),
        "/bin/chmod".to_owned(),
        "/bin/cp".to_owned(),
    ];
    for program in known.clone() {
        known.extend(mapped_by(&program));
    }
    known.sort();
    known.dedup();
    let verdicts: Vec<_> = known
        .iter()
        .map(|path| (digest(path), Some(RuleVerdict::Allow)))
        .collect();
    strict.judge(&verdicts).unwrap();
    assert_eq!(sh(&strict, "echo words | cat").ok(), "words\n");
    let padded = "cp /bin/cat padded; echo x >>padded; chmod +x padded; ./padded /dev/null";
    let ran = sh(&strict, padded);
    assert_eq!(ran.code(), 126, "one byte more is another program: {ran:?}");
    let ran = sh(&strict, "echo 'echo ran' >s; chmod +x s; ./s");
    assert_eq!(ran.code(), 126, "an unknown script: {ran:?}");
}

/// Libraries and interpreter of a program, as the dynamic linker says.
fn mapped_by(program: &str) -> Vec<String> {
    let output = std::process::Command::new("ldd")
        .arg(program)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_probe_of_this_host_says_what_it_found_by_trying() {
    let finding = lsm::probe();
    println!("{finding:?}");
    assert_eq!(finding.name, "bpf-lsm");
    assert_eq!(finding.ok, finding.cause.is_empty());
    assert_eq!(finding.ok, finding.cure.is_empty());
    // Whatever was found, nothing stays.
    let left = format!("nightcrew-trial-{}", std::process::id());
    assert!(!std::env::temp_dir().join(&left).exists());
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        assert!(!Path::new(root).join(&left).exists());
    }
}
