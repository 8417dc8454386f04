//! Whether this host can run virtual machines: found by trying; absences with cause and cure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::driver::{MachineSpec, Qemu, VmDriver};
use super::error::VmError;
use super::kernel::{self, Kernel};
use super::link;
use crate::preflight::Finding;

/// Where distributions put virtiofsd, which is not for people to start.
const VIRTIOFSD: [&str; 3] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
];
/// Where QEMU is: it must be in what the keeper shows, which is `/usr`.
const QEMU: [&str; 3] = [
    "/usr/bin/qemu-system-x86_64",
    "/usr/local/bin/qemu-system-x86_64",
    "/usr/libexec/qemu-kvm",
];
/// A working KVM starts a kernel in about a second. One that emulates each instruction takes
/// minutes, or gives up.
const KVM_PATIENCE: Duration = Duration::from_secs(12);
/// Memory of the guest that is only started, in MiB.
const KVM_MEMORY_MIB: u64 = 1024;

pub(super) fn find_qemu() -> Result<PathBuf, VmError> {
    first(&QEMU).ok_or_else(|| VmError::Missing {
        what: "qemu-system-x86_64".to_owned(),
        cure: "as root: apt-get install qemu-system-x86".to_owned(),
    })
}

pub(super) fn find_virtiofsd() -> Option<PathBuf> {
    first(&VIRTIOFSD)
}

fn first(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn good(name: &str) -> Finding {
    Finding::active(name, "")
}

fn bad(name: &str, cause: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding::absent(name, cause, cure)
}

/// What virtual machines need on this host, for people: `vm-qemu`, `vm-kernel`, `vm-sharing` (all
/// needed) and `vm-kvm` (machines are slow without).
///
/// `program` as in [`Qemu::program`]; `kernel` as in [`Qemu::find`]; `memory` a file that keeps the
/// answer about KVM, which takes up to 12 seconds to find, for as long as the host runs.
#[must_use]
pub fn vm_preflight(program: &Path, kernel: Option<&Path>, memory: Option<&Path>) -> Vec<Finding> {
    match Qemu::find(program, kernel) {
        Ok(qemu) => qemu.probe(memory),
        Err(_) => {
            let kernel = kernel.unwrap_or(Path::new(kernel::INSTALLED));
            let mut findings = vec![qemu_finding(find_qemu().map(drop))];
            findings.push(kernel_finding(Kernel::find(kernel).map(drop)));
            findings.extend(all(program, None, memory));
            findings
        }
    }
}

pub(super) fn all(_program: &Path, qemu: Option<&Qemu>, memory: Option<&Path>) -> Vec<Finding> {
    let Some(qemu) = qemu else {
        return vec![bad(
            "vm-kvm",
            "not tried: something it needs is not there",
            "see the findings above",
        )];
    };
    vec![
        qemu_finding(Ok(())),
        kernel_finding(Ok(())),
        sharing(qemu),
        kvm(qemu, memory),
    ]
}

fn qemu_finding(found: Result<(), VmError>) -> Finding {
    explained("vm-qemu", found)
}

fn kernel_finding(found: Result<(), VmError>) -> Finding {
    explained("vm-kernel", found)
}

fn explained(name: &str, found: Result<(), VmError>) -> Finding {
    match found {
        Ok(()) => good(name),
        Err(VmError::Missing { what, cure }) => bad(name, format!("{what} is not there"), cure),
        Err(error) => {
            let cause = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            bad(name, cause, kernel::CURE)
        }
    }
}

/// A guest needs virtiofsd on the host, or 9p in its kernel.
fn sharing(qemu: &Qemu) -> Finding {
    const NAME: &str = "vm-sharing";
    if qemu.virtiofsd.is_some() {
        return good(NAME);
    }
    let has_9p = qemu
        .kernel
        .module_files()
        .is_ok_and(|files| files.iter().any(|(name, _)| name.starts_with("9p.ko")));
    if has_9p {
        return good(NAME);
    }
    bad(
        NAME,
        "virtiofsd is not there, and the guest kernel has no 9p module (cloud kernels have none)",
        "as root: apt-get install virtiofsd (Debian 13) or qemu-system-common (Debian 12); or a kernel with 9p",
    )
}

/// Whether KVM starts this kernel, by starting it.
pub(super) fn kvm(qemu: &Qemu, memory: Option<&Path>) -> Finding {
    const NAME: &str = "vm-kvm";
    let device = fs::File::options().read(true).write(true).open("/dev/kvm");
    if let Err(error) = device {
        return bad(
            NAME,
            format!("/dev/kvm cannot be opened ({error}); machines run without it, slowly"),
            "enable virtualisation in the firmware or, in a virtual machine, nested virtualisation; add the user to the group of /dev/kvm",
        );
    }
    let state = state(qemu);
    let remembered = memory.and_then(|path| fs::read_to_string(path).ok());
    let cause = match remembered
        .as_deref()
        .and_then(|text| text.strip_prefix(&state))
    {
        Some(cause) => cause.trim().to_owned(),
        None => {
            let cause = try_kvm(qemu);
            if let Some(path) = memory {
                // Not remembering costs the same few seconds again.
                let _ = fs::write(path, format!("{state}{cause}\n"));
            }
            cause
        }
    };
    if cause.is_empty() {
        return good(NAME);
    }
    bad(
        NAME,
        format!("KVM does not start this kernel here ({cause}); machines run without it, slowly"),
        "a host with hardware virtualisation, or a guest kernel made for this host's kind of it",
    )
}

/// What the answer depends on: this boot of the host, QEMU, and the kernel.
fn state(qemu: &Qemu) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!(
        "{} {} {}\n",
        boot.trim(),
        qemu.qemu.display(),
        qemu.kernel.image.display()
    )
}

/// Why KVM does not work; empty when it does.
fn try_kvm(qemu: &Qemu) -> String {
    let mut attempt = qemu.clone();
    attempt.kvm = true;
    let spec = MachineSpec {
        name: "kvm-probe".to_owned(),
        memory_mib: KVM_MEMORY_MIB,
        cpus: 1,
        shares: None,
    };
    let outcome = attempt.start(&spec).and_then(|started| {
        let greeted = link::greet(&started.machine, KVM_PATIENCE);
        started.machine.end();
        greeted
    });
    match outcome {
        Ok(_) => String::new(),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let text = match source {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            text.replace('\n', " ").trim().to_owned()
        }
    }
}
