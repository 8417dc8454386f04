//! Virtual machines: environments with a kernel of their own (isolation level L3).
//!
//! A [`VmDriver`] starts a machine; [`Vm`] speaks to its first process, which is this same program in
//! the guest. That one brings up the layers environments have on a host (namespaces, system call
//! filter, self-test) and runs steps in them. So a hole in the guest's kernel leads to QEMU, which is
//! itself an unprivileged process in namespaces of its own, with a system call filter and no network.
//!
//! | file | what |
//! |---|---|
//! | `driver` | the trait, and QEMU |
//! | `probe` | what a host has for it, with cause and cure |
//! | `kernel`, `initramfs`, `cpio`, `elf` | what the guest starts from |
//! | `machine`, `keeper`, `qemu` | the programs on the host: one process that ends them all |
//! | `frame`, `link`, `running` | the stream between host and guest, at the host's end |
//! | `guest` | the first process in the guest |

#[cfg_attr(not(feature = "bpf-lsm"), path = "no_control.rs")]
mod control;
mod cpio;
mod driver;
pub(crate) mod elf;
mod environment;
mod error;
mod frame;
mod guest;
mod initramfs;
mod keeper;
mod kernel;
mod link;
mod machine;
mod probe;
mod qemu;
mod running;
mod start;

#[cfg(feature = "bpf-lsm")]
pub(crate) use elf::{dependencies, interpreter};

pub use driver::{MachineSpec, Qemu, Shares, Started, VmDriver};
pub use environment::VmEnvironment;
pub use error::VmError;
pub use kernel::Kernel;
pub use machine::Machine;
pub use probe::vm_preflight;
pub use running::VmRunning;
pub use start::{Vm, VmSpec};

use crate::identity::Identity;

/// Where the guest mounts the shared root and the shared work folder.
pub(crate) const SHARED_ROOT: &str = "/nightcrew/root";
pub(crate) const SHARED_WORK: &str = "/nightcrew/work";

/// The host's user and group that QEMU and virtiofsd run as, and that user 0 of the guest is.
fn machine_user(identity: Identity) -> (u32, u32) {
    if identity.foreign {
        (
            identity.uid.saturating_sub(1),
            identity.gid.saturating_sub(1),
        )
    } else {
        (identity.uid, identity.gid)
    }
}

/// Runs a keeper or the first process of a guest, and exits, if this process was started as one.
#[expect(clippy::exit, reason = "this is the main function of those processes")]
pub(crate) fn run_if_requested() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(first) = arguments.next() else {
        return;
    };
    if first == guest::ARGUMENT {
        std::process::exit(guest::main());
    }
    if first == keeper::ARGUMENT {
        let number = arguments
            .next()
            .and_then(|number| number.to_str()?.parse().ok());
        // Nothing else owns a descriptor given by number; main adopts it.
        std::process::exit(keeper::main(number));
    }
}
