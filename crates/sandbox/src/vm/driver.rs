//! What makes virtual machines. QEMU is the first; others share everything but this file's trait.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::VmError;
use super::frame::Sharing;
use super::kernel::{self, Kernel};
use super::machine::{self, Machine, Order};
use super::{initramfs, probe};
use crate::preflight::Finding;

/// Makes machines of one kind.
pub trait VmDriver: std::fmt::Debug + Send + Sync {
    /// Stable name, for reports.
    fn name(&self) -> &'static str;

    /// Tries what a machine needs: one finding each, absences with cause and cure. `memory` is
    /// where a slow answer is remembered between processes.
    fn probe(&self, memory: Option<&Path>) -> Vec<Finding>;

    /// Starts a machine. It runs when this returns; whether its guest comes up is to be seen.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is left then.
    fn start(&self, wanted: &MachineSpec) -> Result<Started, VmError>;
}

/// A machine to start.
#[derive(Clone, Debug, Default)]
pub struct MachineSpec {
    /// Its name in process lists; of the characters that an environment's id may have.
    pub name: String,
    /// Memory of the guest, in MiB.
    pub memory_mib: u64,
    /// Processors of the guest.
    pub cpus: u32,
    /// What the guest shall see, by paths of the host; absent for a machine that only starts.
    pub shares: Option<Shares>,
}

/// What the guest sees of the host, besides `/usr` and public files of `/etc`.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// Trees underneath the workspace, lowest first; none when it is `upper` itself.
    pub lowers: Vec<PathBuf>,
    /// What is written to the workspace.
    pub upper: PathBuf,
    /// Working space of the overlay.
    pub work: PathBuf,
    /// Shown read-only.
    pub inputs: Option<PathBuf>,
    /// Shown writable.
    pub outputs: Option<PathBuf>,
    /// The program shown as `/nightcrew/bin/nightcrew`.
    pub program: Option<PathBuf>,
    /// Shown read-only under their own paths.
    pub extra: Vec<PathBuf>,
}

/// A started machine and how it has to be set up.
#[derive(Debug)]
pub struct Started {
    pub(super) machine: Machine,
    pub(super) sharing: Sharing,
    pub(super) accelerated: bool,
    /// How long its first sign of life may take.
    pub(super) patience: Duration,
}

/// QEMU with a kernel of the host's choice.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// A program whose `main` begins with
    /// [`run_if_requested`](crate::supervisor::run_if_requested), which keeps the machine. Normally
    /// this one, `std::env::current_exe()`.
    pub program: PathBuf,
    /// Such a program for the guest, with everything it needs packed beside it. The smaller, the
    /// less memory the guest needs; normally the same.
    pub guest: PathBuf,
    /// `qemu-system-x86_64`; below `/usr`.
    pub qemu: PathBuf,
    /// `virtiofsd`, where there is one; below `/usr`. Without it folders are shared by 9p, which the
    /// guest's kernel must have.
    pub virtiofsd: Option<PathBuf>,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// Whether KVM starts this kernel; see [`Qemu::try_kvm`].
    pub kvm: bool,
    /// How long the guest may take to its first sign of life.
    pub boot: Duration,
}

/// Life sign of a guest without KVM on a busy host: measured at 15 seconds on a quiet one.
const SLOW_BOOT: Duration = Duration::from_secs(180);

impl Qemu {
    /// QEMU as found on this host, with the kernel at `kernel` (an image, or a folder into which a
    /// kernel package was unpacked), else one installed on the host. Without KVM until
    /// [`try_kvm`](Self::try_kvm) has found that it works.
    ///
    /// # Errors
    /// [`VmError::Missing`] naming the first thing that is absent, with its cure.
    pub fn find(program: impl Into<PathBuf>, kernel: Option<&Path>) -> Result<Self, VmError> {
        let program = program.into();
        Ok(Self {
            guest: program.clone(),
            program,
            qemu: probe::find_qemu()?,
            virtiofsd: probe::find_virtiofsd(),
            kernel: Kernel::find(kernel.unwrap_or(Path::new(kernel::INSTALLED)))?,
            kvm: false,
            boot: SLOW_BOOT,
        })
    }

    /// Sets [`kvm`](Self::kvm) by starting the kernel with it, once per host boot when `memory`
    /// names a file to remember the answer in. Returns what was found.
    pub fn try_kvm(&mut self, memory: Option<&Path>) -> Finding {
        let finding = probe::kvm(self, memory);
        self.kvm = finding.ok;
        finding
    }

    fn order(&self, wanted: &MachineSpec) -> Order {
        let shares = wanted.shares.clone();
        let mut order = Order {
            name: wanted.name.clone(),
            qemu: self.qemu.clone(),
            virtiofsd: self.virtiofsd.clone().unwrap_or_default(),
            kernel: self.kernel.image.clone(),
            memory_mib: wanted.memory_mib,
            cpus: u64::from(wanted.cpus),
            kvm: self.kvm,
            shares: shares.is_some(),
            virtiofs: shares.is_some() && self.virtiofsd.is_some(),
            ..Order::default()
        };
        if let Some(shares) = shares {
            order.lowers = shares.lowers;
            order.upper = Some(shares.upper);
            order.work = Some(shares.work);
            order.inputs = shares.inputs;
            order.outputs = shares.outputs;
            order.program = shares.program;
            order.extra = shares.extra;
        }
        order
    }
}

/// Memory the kernel and the layers need beside the archive, in MiB.
const SYSTEM_MIB: u64 = 160;

impl VmDriver for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn probe(&self, memory: Option<&Path>) -> Vec<Finding> {
        probe::all(&self.program, Some(self), memory)
    }

    fn start(&self, wanted: &MachineSpec) -> Result<Started, VmError> {
        let archive = initramfs::build(&self.guest, &self.kernel)?;
        // The archive lies in the guest's memory twice while it is unpacked.
        let least = SYSTEM_MIB + 2 * (archive.len() as u64).div_ceil(1 << 20);
        if wanted.memory_mib < least {
            return Err(VmError::InvalidSpec {
                field: "memory_mib",
                reason: format!("at least {least} are needed"),
            });
        }
        if wanted.cpus == 0 {
            return Err(VmError::InvalidSpec {
                field: "cpus",
                reason: "at least 1 is needed".to_owned(),
            });
        }
        let archive = machine::memory(&archive)?;
        let order = self.order(wanted);
        let machine = machine::start(&self.program, &order, &archive)?;
        Ok(Started {
            machine,
            sharing: if self.virtiofsd.is_some() {
                Sharing::Virtiofs
            } else {
                Sharing::NineP
            },
            accelerated: self.kvm,
            patience: self.boot,
        })
    }
}
