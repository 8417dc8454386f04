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
}

use Expected::{Blocked, Depends, NotPromised};

const OFF: &str = "Exec control is off: any program may be executed.";
const OTHER_BYTES: &str = "A deny list knows bytes: one changed byte, or the same work compiled anew, is another program.";
const MEMORY: &str = "A process that writes code into its own memory and executes it needs no file; only strict mode refuses memory that was written and is executed.";
const WORDS: &str = "Words that reach an interpreter as an argument or through a pipe are in no file that could be judged.";
const ONE_DESCRIPTOR: &str = "Bytes that are written and then mapped as code through the same descriptor, or mapped twice before they are written, are never opened again, and the gate is asked at opens. Where writable folders hold nothing executable the kernel refuses the mapping: in strict mode, and in allow-list mode without a gate.";
const QUOTA: &str = "Where the file system keeps no quota itself (btrfs does), what was written is looked at several times a second and the step is killed: what it writes in between stays.";
const MOUNT_NAMES: &str = "The list of mounts, which many programs read, names the folders of the host that inputs, outputs and layers are bound from. Only the names: what lies there is out of reach.";
const NO_CGROUP: &str = "An ordinary user whose session hands no control group on has limits per process only, and the report says so; the host's own memory is then the bound.";
const NO_GATE: &str = "Without fanotify nothing judges bytes in the workspace, whether they were brought along or lay there; denied files of the root are hidden.";
const SCRIPT_NO_GATE: &str = "Without fanotify a script that an interpreter reads is not judged.";
const DEEP: &str = "Exec control does not stop it there. Where what is written is looked at, a tree that is deeper than can be measured ends the step, if it is noticed in time.";
const BUSY: &str = "Nothing of exec control stops it there. The kernel may by itself: a file that is open for writing is busy, a folder of the base cannot be renamed, a race can be lost.";
const TERMINAL: &str = "It needs a terminal device, of which the host may have none to give.";

/// Attacks of the exec family that other layers than exec control refuse, in every mode.
const ALWAYS: &[&str] = &[
    "exec-proc-1-root",
    "exec-pipe",
    "exec-fifo",
    "exec-place-var-tmp",
    "exec-new-mount",
    "exec-binfmt-misc",
    "exec-io-uring",
    // Landlock lets nobody write in /proc, and attaching shared memory as code is refused to all.
    "exec-proc-self-mem",
    "exec-sysv-shm",
    // Neither memory files nor the personality that makes memory executable are to be had.
    "exec-memfd",
    "exec-read-implies-exec",
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

/// What other layers than exec control do not promise, in every mode.
fn on_the_fence(name: &str, tier: Tier) -> Expected {
    if name.starts_with("fs-proc-mountinfo") {
        NotPromised(MOUNT_NAMES)
    } else if any(name, &["fs-quota-work", "fs-quota-out"]) {
        Depends(QUOTA)
    } else if tier == Tier::L0 && any(name, MEMORY_BOMBS) {
        NotPromised(NO_CGROUP)
    } else {
        Blocked
    }
}

/// What only a limit on the whole environment stops.
const MEMORY_BOMBS: &[&str] = &["proc-memory-bomb"];

/// What is promised for an attack in a tier and mode.
pub(crate) fn expected(name: &str, tier: Tier, mode: Mode) -> Expected {
    let runs = RUN_THE_TOOL.iter().any(|part| name.starts_with(part));
    if !(name.starts_with("exec-") || runs) {
        return on_the_fence(name, tier);
    }
    if any(name, ALWAYS) {
        return Blocked;
    }
    match by_mode(name, tier, mode) {
        NotPromised(_) if any(name, &["exec-path-too-long", "exec-listed-deep"]) => Depends(DEEP),
        other => other,
    }
}

fn by_mode(name: &str, tier: Tier, mode: Mode) -> Expected {
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
    } else if name.starts_with("exec-by-script") {
        Depends(TERMINAL)
    } else {
        NotPromised(OFF)
    }
}

/// Code in memory that is no file's.
fn in_memory(name: &str) -> bool {
    any(name, &["exec-anon", "exec-heap-exec"])
}

/// Bytes in a file that nobody opens after they were written.
fn one_descriptor(name: &str) -> bool {
    any(
        name,
        &[
            "exec-rwfd-mmap",
            "exec-mmap-otmpfile",
            "exec-dual-map",
            "exec-shm-dual",
        ],
    )
}

/// Another program with the same work.
fn other_bytes(name: &str) -> bool {
    any(name, &["exec-padded", "exec-one-bit", "exec-stripped"])
}

/// Made anew inside, from nothing that is denied.
fn made_anew(name: &str) -> bool {
    any(name, &["exec-recompiled", "exec-compiled", "exec-listed"])
}

fn brought(name: &str) -> bool {
    name.ends_with("-smuggled") || name.starts_with("exec-smuggled")
}

/// Words for an interpreter, without a file.
fn words(name: &str) -> bool {
    brought(name) && any(name, &["exec-script-pipe", "exec-script-argument"])
}

/// "In the deny-list mode only a changed byte and an anonymous W→X loader may pass." Both need the
/// bytes, and the denied file cannot be read: they must be brought along, or made anew. (And, as was
/// measured before anything was built, what is written and mapped through one descriptor.)
fn deny_list(name: &str) -> Expected {
    if made_anew(name) || (brought(name) && other_bytes(name)) {
        NotPromised(OTHER_BYTES)
    } else if brought(name) && in_memory(name) {
        NotPromised(MEMORY)
    } else if brought(name) && one_descriptor(name) {
        NotPromised(ONE_DESCRIPTOR)
    } else if words(name) {
        NotPromised(WORDS)
    } else {
        Blocked
    }
}

fn allow_list(name: &str) -> Expected {
    if brought(name) && in_memory(name) {
        NotPromised(MEMORY)
    } else if brought(name) && one_descriptor(name) {
        NotPromised(ONE_DESCRIPTOR)
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
    } else {
        Blocked
    }
}

/// Denied files of the root are hidden; what is brought along, or lies in the workspace, is not judged.
fn deny_list_without_gate(name: &str) -> Expected {
    let in_workspace = any(
        name,
        &[
            "exec-renamed",
            "exec-moved",
            "exec-copied-range",
            "exec-copied-sendfile",
            "exec-hardlink",
        ],
    );
    // Nothing that goes in or out executes, and the huge tool is the hidden one itself.
    let elsewhere = any(
        name,
        &["exec-place-in", "exec-place-out", "exec-gate-big-file"],
    );
    let busy = any(
        name,
        &[
            "exec-moved-parent",
            "exec-toctou",
            "exec-cache-shared-map",
            "exec-cache-open-fd",
        ],
    );
    match deny_list(name) {
        Blocked if elsewhere => Blocked,
        Blocked if busy && (in_workspace || brought(name)) => Depends(BUSY),
        Blocked if in_workspace || brought(name) || carries(name) => NotPromised(NO_GATE),
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
    let by_root = ["exec-listed-script", "exec-listed-deep"];
    let read = brought(name) && any(name, &["exec-script-sh-copy", "exec-script-sh-plain"]);
    if read || any(name, &by_root) || name == "exec-listed-loader" {
        NotPromised(SCRIPT_NO_GATE)
    } else if one_descriptor(name) {
        // No writable folder can be mapped as code.
        Blocked
    } else {
        with_gate
    }
}
