//! What is promised, written from the specification and not from what was seen.

use crate::adapter::{Mode, Tier};

/// What an attack must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It is refused.
    Blocked,
    /// It passes, and readers are told why.
    NotPromised(&'static str),
    /// Either, depending on the host or on luck, and readers are told why.
    Depends(&'static str),
    /// It is to be refused and is not yet: a finding. Fails as soon as it is refused, to be taken away.
    Open(&'static str),
}

use Expected::{Blocked, Depends, NotPromised, Open};

const OFF: &str = "Exec control is off: any program may be executed.";
const OTHER_BYTES: &str = "A deny list knows bytes: one changed byte, or the same work compiled anew, is another program.";
const MEMORY: &str = "A process that writes code into its own memory and executes it needs no file; only strict mode refuses memory that was written and is executed.";
const WORDS: &str = "Words that reach an interpreter as an argument or through a pipe are in no file that could be judged.";
const NO_GATE: &str = "Without fanotify nothing judges bytes that are brought into the workspace; denied files of the base are hidden.";
const SCRIPT_NO_GATE: &str = "Without fanotify a script that an interpreter reads is not judged.";
const BUSY: &str = "The kernel may refuse by itself: a file open for writing is busy, a folder of the base cannot be renamed.";
const PROVENANCE: &str =
    "In allow-list mode a policy may allow what an allowed toolchain made inside.";
const TERMINAL: &str = "It needs a terminal device or a runtime that the mode stops on its own.";

/// Attacks of the exec family that other layers than exec control refuse, in every mode.
const ALWAYS: &[&str] = &[
    "exec-proc-1-root",
    "exec-pipe",
    "exec-fifo",
    "exec-place-var-tmp",
    "exec-new-mount",
    "exec-binfmt-misc",
    "exec-io-uring",
    "exec-setuid",
    "exec-file-capabilities",
];

/// Those that try to run the denied tool under another family's name.
const RUN_THE_TOOL: &[&str] = &[
    "audit-forge-name",
    "audit-name",
    "audit-argv",
    "audit-flood",
    "audit-secret",
    "policy-in-workspace",
    "policy-variables",
];

/// Findings: what gets through today and must not.
const OPEN: &[(&str, &str)] = &[
    (
        "fs-proc-mountinfo",
        "The list of mounts names folders of the host.",
    ),
    ("fs-quota-work", "The workspace has no quota yet."),
    ("fs-quota-out", "The outputs have no quota yet."),
    (
        "proc-timer-bomb",
        "Timers are not limited (RLIMIT_SIGPENDING).",
    ),
    (
        "proc-memory-bomb",
        "Memory of the whole environment is not limited yet.",
    ),
    ("proc-shm-bomb", "System V memory is not limited yet."),
    ("proc-personality", "personality() is not refused yet."),
    ("proc-memfd-create", "memfd_create() is not refused yet."),
    ("proc-memfd-secret", "memfd_secret() is not refused yet."),
];

/// What is promised for an attack in a tier and mode.
pub(crate) fn expected(name: &str, tier: Tier, mode: Mode) -> Expected {
    if let Some((_, reason)) = OPEN.iter().find(|(open, _)| name.starts_with(open)) {
        return Open(reason);
    }
    let runs = RUN_THE_TOOL.iter().any(|part| name.starts_with(part));
    if !(name.starts_with("exec-") || runs) || any(name, ALWAYS) {
        return Blocked;
    }
    match (tier, mode) {
        (_, Mode::Off) => off(name),
        (Tier::L1, Mode::DenyList) => deny_list(name),
        (Tier::L1, Mode::AllowList) => allow_list(name),
        (Tier::L1, Mode::Strict) => strict(name),
        (Tier::L0 | Tier::L0Root, Mode::DenyList) => deny_list_without_gate(name),
        (Tier::L0 | Tier::L0Root, Mode::AllowList) => without_gate(name, allow_list(name)),
        (Tier::L0 | Tier::L0Root, Mode::Strict) => without_gate(name, strict(name)),
    }
}

fn any(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.starts_with(part))
}

fn off(name: &str) -> Expected {
    if any(
        name,
        &[
            "exec-moved-parent",
            "exec-cache-open-fd",
            "exec-cache-shared-map",
            "exec-toctou",
            "exec-gate-huge-tool",
        ],
    ) {
        Depends(BUSY)
    } else if any(name, &["exec-by-script", "exec-by-node"]) {
        Depends(TERMINAL)
    } else {
        NotPromised(OFF)
    }
}

/// Code in memory that is no file's.
fn in_memory(name: &str) -> bool {
    any(
        name,
        &[
            "exec-anon",
            "exec-heap-exec",
            "exec-sysv-shm",
            "exec-proc-self-mem",
        ],
    )
}

/// Another program with the same work.
fn other_bytes(name: &str) -> bool {
    any(
        name,
        &[
            "exec-padded",
            "exec-one-bit",
            "exec-stripped",
            "exec-gate-huge-tool",
        ],
    )
}

/// Made anew inside, from nothing that is denied.
fn made_anew(name: &str) -> bool {
    any(name, &["exec-recompiled", "exec-compiled"])
}

fn brought(name: &str) -> bool {
    name.ends_with("-smuggled") || name.starts_with("exec-smuggled")
}

/// Words for an interpreter, without a file.
fn words(name: &str) -> bool {
    brought(name) && any(name, &["exec-script-pipe", "exec-script-argument"])
}

/// "In the deny-list mode only a changed byte and an anonymous W→X loader may pass." Both need the
/// bytes, and the denied file cannot be read: they must be brought along, or made anew.
fn deny_list(name: &str) -> Expected {
    if made_anew(name) || (brought(name) && other_bytes(name)) {
        NotPromised(OTHER_BYTES)
    } else if brought(name) && in_memory(name) {
        NotPromised(MEMORY)
    } else if words(name) {
        NotPromised(WORDS)
    } else {
        Blocked
    }
}

fn allow_list(name: &str) -> Expected {
    if name.starts_with("exec-compiled") {
        Depends(PROVENANCE)
    } else if brought(name) && in_memory(name) {
        NotPromised(MEMORY)
    } else if words(name) {
        NotPromised(WORDS)
    } else {
        Blocked
    }
}

/// "All exec vectors of the catalogue stopped in strict." Words for an interpreter are none.
fn strict(name: &str) -> Expected {
    if words(name) {
        NotPromised(WORDS)
    } else if name.starts_with("exec-by-node") {
        Depends(TERMINAL)
    } else {
        Blocked
    }
}

/// Denied files of the base are hidden; what is brought along is not judged.
fn deny_list_without_gate(name: &str) -> Expected {
    let memory_file = name.starts_with("exec-memfd");
    let in_workspace = any(
        name,
        &[
            "exec-renamed",
            "exec-moved",
            "exec-copied-range",
            "exec-copied-sendfile",
            "exec-hardlink",
            "exec-place-in",
        ],
    );
    if in_workspace {
        return Depends(NO_GATE);
    }
    match deny_list(name) {
        Blocked if brought(name) && any(name, &["exec-cache", "exec-toctou"]) => Depends(NO_GATE),
        Blocked if (brought(name) || carries(name)) && !memory_file => NotPromised(NO_GATE),
        other => other,
    }
}

/// Those that bring the bytes along always.
fn carries(name: &str) -> bool {
    any(
        name,
        &["audit-forge-name", "audit-name", "audit-flood-names"],
    )
}

/// Writable folders cannot be executed from, so files brought along cannot either.
fn without_gate(name: &str, with_gate: Expected) -> Expected {
    if brought(name) && any(name, &["exec-script-sh-copy"]) {
        NotPromised(SCRIPT_NO_GATE)
    } else {
        with_gate
    }
}
