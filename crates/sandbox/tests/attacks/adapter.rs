//! How an environment of a tier and mode is made. The only file that knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sandbox::{
    Environment, EnvironmentSpec, ExecMode, ExecPolicy, ExecRule, ExecTarget, IsolationLevel,
    IsolationReport, Limits, RuleVerdict, Supervisor, Workspace,
};

use crate::scene::Scene;

/// Which host makes the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Root, with fanotify.
    L1,
    /// Root, with nothing to judge: [`Mode::Off`] alone. Where root runs it there is always a gate
    /// as soon as a mode asks for one, and none of the supervisor's settings does without.
    L0Root,
    /// An ordinary user.
    L0,
}

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::L1, Self::L0Root, Self::L0];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L0Root => "L0 by root",
            Self::L0 => "L0",
        }
    }
}

/// What programs may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Any.
    Off,
    /// All but the denied.
    DenyList,
    /// The allowed only.
    AllowList,
    /// The allowed only, and no memory is both written and executed.
    Strict,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Off, Self::DenyList, Self::AllowList, Self::Strict];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DenyList => "deny-list",
            Self::AllowList => "allow-list",
            Self::Strict => "strict",
        }
    }
}

/// Bytes that the folders in memory may hold.
pub(crate) const TMP_BYTES: u64 = 64 << 20;
/// Processes and threads.
pub(crate) const PROCESSES: u64 = 256;
/// Memory of the whole environment, where the host can limit it.
pub(crate) const MEMORY: u64 = 512 << 20;
/// Bytes and files in the workspace, where the host can limit them.
pub(crate) const WORK_BYTES: u64 = 128 << 20;
/// See [`WORK_BYTES`].
pub(crate) const WORK_INODES: u64 = 12_000;

/// The layer that judges by content.
const GATE: &str = "exec-gate";
/// How the report begins to say what is left of a mode where nothing judges by content.
const WITHOUT_GATE: &str = "no exec control by content";

/// Makes an environment, or says why this tier and mode cannot be made here.
pub(crate) fn make_environment(
    supervisor: &Supervisor,
    scene: &Scene,
    tier: Tier,
    mode: Mode,
    name: &str,
) -> Result<Environment, String> {
    let mut spec = EnvironmentSpec::new(
        name,
        Workspace {
            base: Some(scene.base()),
            frozen: Vec::new(),
            layer: scene.layer(name),
        },
    );
    spec.inputs = Some(scene.inputs());
    spec.outputs = Some(scene.outputs(name));
    spec.program = Some(scene.tools().join("sandbox-supervisor"));
    spec.root.extra = vec![scene.tools()];
    spec.limits = Limits {
        processes: PROCESSES,
        tmp_bytes: TMP_BYTES,
        wall: Duration::from_mins(10),
        memory: (tier != Tier::L0).then_some(MEMORY),
        disk_bytes: Some(WORK_BYTES),
        disk_inodes: Some(WORK_INODES),
        ..Limits::default()
    };
    spec.exec = policy(scene, tier, mode);
    if name.starts_with("exec-listed-") && mode != Mode::Off {
        // For these alone: what others start would be judged too.
        spec.exec.interpreters = vec![ExecTarget::Name("perl".into())];
    }
    if tier == Tier::L1 {
        spec.required.level = Some(IsolationLevel::L1);
    }
    let environment = supervisor
        .create(&spec)
        .map_err(|error| error.to_string())?;
    in_force(environment.report(), tier, mode)?;
    Ok(environment)
}

/// Whether the report says what this tier and mode are: neither less nor, unnoticed, more.
fn in_force(report: &IsolationReport, tier: Tier, mode: Mode) -> Result<(), String> {
    let has = |name: &str| report.layers.iter().any(|layer| layer == name);
    let without = report
        .weaker
        .iter()
        .any(|line| line.starts_with(WITHOUT_GATE));
    let judged = tier == Tier::L1 && mode != Mode::Off;
    // What the level and mode stand on: the gate, folders that do not execute, memory that does not.
    let noexec = mode == Mode::Strict || (mode == Mode::AllowList && !judged);
    for (layer, wanted) in [
        (GATE, judged),
        ("noexec", noexec),
        ("wx", mode == Mode::Strict),
    ] {
        if has(layer) != wanted {
            return Err(format!(
                "layer `{layer}`: {}, expected {wanted}: {report:?}",
                has(layer)
            ));
        }
    }
    let by_digest = report
        .weaker
        .iter()
        .any(|line| line.starts_with("5 denials by digest hold for nothing"));
    if by_digest != without {
        return Err(format!(
            "the report does not say which rules hold for nothing: {report:?}"
        ));
    }
    if without != (mode != Mode::Off && !judged) {
        return Err(format!(
            "the report does not say what is missing: {report:?}"
        ));
    }
    Ok(())
}

/// The five denied files, in every mode: by digest, and without a gate by path, as nothing looks for
/// digests there. Allowed beside the root, by digest too, what attacks need to be tried at all.
fn policy(scene: &Scene, tier: Tier, mode: Mode) -> ExecPolicy {
    let rule = |verdict: RuleVerdict, target: ExecTarget| ExecRule {
        verdict,
        target,
        reason: "the attack tests say so".into(),
    };
    let by_digest = |path: &PathBuf| ExecTarget::Digest(digest(path));
    let mut rules: Vec<ExecRule> = Vec::new();
    if mode != Mode::Off {
        for path in &scene.denied() {
            rules.push(rule(RuleVerdict::Deny, by_digest(path)));
            if tier != Tier::L1 {
                let path = ExecTarget::Path(path.display().to_string());
                rules.push(rule(RuleVerdict::Deny, path));
            }
        }
        for path in &scene.allowed() {
            rules.push(rule(RuleVerdict::Allow, by_digest(path)));
        }
    }
    ExecPolicy {
        mode: match mode {
            Mode::Off => ExecMode::Off,
            Mode::DenyList => ExecMode::DenyList,
            Mode::AllowList => ExecMode::AllowList,
            Mode::Strict => ExecMode::Strict,
        },
        rules,
        trusted_producers: Vec::new(),
        interpreters: Vec::new(),
    }
}

/// By another program than the one under test, and once for each file: scenes do not change.
fn digest(path: &Path) -> [u8; 32] {
    static KNOWN: Mutex<BTreeMap<PathBuf, [u8; 32]>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(digest) = known.get(path) {
        return *digest;
    }
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
    }
    known.insert(path.to_owned(), digest);
    digest
}
