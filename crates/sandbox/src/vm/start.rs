//! Starting a machine whose guest serves, and making environments in it.

use std::path::Path;
use std::sync::Arc;

use super::driver::{MachineSpec, Shares, Started, VmDriver};
use super::environment::{ANSWER, VmEnvironment, invalid};
use super::error::VmError;
use super::frame::{self, Frame, Kind, Setup, Sharing, Wanted};
use super::link::{self, Link};
use crate::client::stack::{self, Held};
use crate::client::{request, requirement};
use crate::error::SandboxError;
use crate::exec_policy::{ExecMode, ExecPolicy, ExecRule, ExecTarget};
use crate::identity;
use crate::layer;
use crate::lsm::Denial;
use crate::message::{OVERLAY_STAGE, Reply, Stack};
use crate::report::{IsolationLevel, IsolationReport, ProbeResult};
use crate::spec::{EnvironmentSpec, Workspace};

/// A machine and the environment it is for.
#[derive(Clone, Debug)]
pub struct VmSpec {
    /// The environment, as without a machine. Its paths are the host's.
    pub environment: EnvironmentSpec,
    /// Memory of the guest, in MiB.
    pub memory_mib: u64,
    /// Processors of the guest.
    pub cpus: u32,
    /// Load exec control by BPF-LSM in the guest; needs the feature `bpf-lsm`. Without it the
    /// environment's exec policy must be off: there is no other exec control in a guest.
    pub exec_control: bool,
}

impl VmSpec {
    /// A machine of 1 GiB and one processor for this environment.
    #[must_use]
    pub fn new(environment: EnvironmentSpec) -> Self {
        Self {
            environment,
            memory_mib: 1024,
            cpus: 1,
            exec_control: false,
        }
    }
}

/// A running machine. When it and everything made from it are dropped, it ends, and nothing is left.
#[derive(Debug)]
pub struct Vm {
    link: Arc<Link>,
    spec: VmSpec,
    kernel: String,
    layers: Vec<String>,
    weaker: Vec<String>,
}

impl Vm {
    /// Starts a machine and returns when its guest serves: about 15 seconds without KVM.
    ///
    /// # Errors
    /// [`VmError`]; no process and no file is left then.
    pub fn start(driver: &dyn VmDriver, spec: &VmSpec) -> Result<Self, VmError> {
        request::check(&spec.environment)?;
        check(&spec.environment)?;
        check_exec(&spec.environment.exec, spec.exec_control)?;
        let workspace = &spec.environment.workspace;
        let prepared = stack::prepare(&spec.environment)?;
        let Stack {
            lowers,
            upper,
            work,
        } = prepared.workspace;
        // An empty workspace is laid over an empty folder, which needs no copy.
        let stands_alone = workspace.base.is_none() && workspace.frozen.is_empty();
        if let Some(outputs) = &spec.environment.outputs {
            layer::give(outputs).map_err(|source| VmError::File {
                action: "give the environment",
                path: outputs.clone(),
                source,
            })?;
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let optional = |path: &Option<std::path::PathBuf>| path.as_deref().map(absolute);
        let copied = layer::is_copy(&workspace.layer);
        let mut wanted = MachineSpec {
            name: spec.environment.id.clone(),
            memory_mib: spec.memory_mib,
            cpus: spec.cpus,
            shares: Some(Shares {
                lowers: if copied { Vec::new() } else { lowers },
                upper,
                work,
                inputs: optional(&spec.environment.inputs),
                outputs: optional(&spec.environment.outputs),
                program: optional(&spec.environment.program),
                extra: spec.environment.root.extra.clone(),
            }),
        };
        let started = match driver.start(&wanted) {
            Err(VmError::Start { stage, .. }) if stage == OVERLAY_STAGE => {
                if let Some(shares) = &mut wanted.shares {
                    let mut lowers = std::mem::take(&mut shares.lowers);
                    lowers.reverse();
                    if !stands_alone {
                        layer::copy_into(&workspace.layer, &shares.upper, &lowers)?;
                    }
                }
                driver.start(&wanted)?
            }
            outcome => outcome?,
        };
        Self::meet(driver, spec, started, &wanted, prepared.held)
    }

    /// Greets the guest of a started machine and has it set up.
    fn meet(
        driver: &dyn VmDriver,
        spec: &VmSpec,
        started: Started,
        wanted: &MachineSpec,
        held: Held,
    ) -> Result<Self, VmError> {
        let Started {
            machine,
            sharing,
            accelerated,
            patience,
        } = started;
        let kernel = link::greet(&machine, patience)?;
        let setup = Setup {
            sharing,
            single_user: !identity::current().foreign,
            exec_control: spec.exec_control,
        };
        if link::tell(&machine, Kind::Setup, &setup.encode()).is_err() {
            return Err(machine.closed());
        }
        link::expect(&machine, "set itself up", ANSWER, Kind::Serving)?;
        let accelerator = if accelerated { "kvm" } else { "emulated" };
        let mut layers = vec![
            "virtual-machine".to_owned(),
            format!("{}-{accelerator}", driver.name()),
            sharing.name().to_owned(),
        ];
        let overlay = wanted
            .shares
            .as_ref()
            .is_some_and(|shares| !shares.lowers.is_empty());
        layers.extend(overlay.then(|| "overlay".to_owned()));
        let mut weaker = Vec::new();
        if !accelerated {
            weaker.push("without KVM the guest's processor is emulated by QEMU, whose makers promise isolation only with KVM; QEMU itself is confined".to_owned());
        }
        if setup.single_user {
            weaker.push("without root on the host, the user of the environment owns the guest's system files too (all are mounted read-only)".to_owned());
        }
        if sharing == Sharing::NineP {
            weaker.push(
                "folders are shared by QEMU itself (9p), not by a process apart from it".to_owned(),
            );
        }
        let workspace = &spec.environment.workspace;
        if !overlay && (workspace.base.is_some() || !workspace.frozen.is_empty()) {
            weaker.push(
                "overlay file systems are refused here: the workspace is a full copy of its base"
                    .to_owned(),
            );
        }
        Ok(Self {
            link: Link::new(machine, held)?,
            spec: spec.clone(),
            kernel,
            layers,
            weaker,
        })
    }

    /// The release of the guest's kernel.
    #[must_use]
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The process on the host that keeps the machine.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.link.machine.process_id()
    }

    /// What was printed on the guest's console last.
    #[must_use]
    pub fn console(&self) -> String {
        self.link.machine.console()
    }

    /// Makes the environment the machine is for, and returns when its self-test has passed. Where
    /// exec control is loaded in the guest, it is under its policy's mode and its rules for digests.
    ///
    /// # Errors
    /// [`VmError::Guest`] for what the guest refused, [`SandboxError::SelfTest`] within
    /// [`VmError::Environment`] when isolation did not hold.
    pub fn environment(&self) -> Result<VmEnvironment, VmError> {
        self.create(true, &self.spec.environment)
    }

    /// Makes a further environment, whose workspace is empty, in the guest's memory, and gone with
    /// it.
    ///
    /// # Errors
    /// As [`environment`](Self::environment).
    pub fn scratch(&self, id: &str, exec: ExecPolicy) -> Result<VmEnvironment, VmError> {
        let workspace = Workspace {
            base: None,
            frozen: Vec::new(),
            layer: self.spec.environment.workspace.layer.clone(),
        };
        let mut spec = EnvironmentSpec::new(id, workspace);
        spec.limits = self.spec.environment.limits.clone();
        spec.exec = exec;
        request::check(&spec)?;
        check_exec(&spec.exec, self.spec.exec_control)?;
        self.create(false, &spec)
    }

    fn create(&self, shared: bool, spec: &EnvironmentSpec) -> Result<VmEnvironment, VmError> {
        let number = self.link.number();
        let wanted = Wanted::new(shared, spec).encode();
        let answer = self.ask(Kind::Create, number, &wanted, "make an environment")?;
        let Ok(Reply::Ready {
            layers,
            self_test,
            weaker,
            ..
        }) = Reply::decode(&answer.body)
        else {
            return Err(VmError::Nonsense);
        };
        let report = IsolationReport {
            level: IsolationLevel::L3,
            layers: self.layers.iter().cloned().chain(layers).collect(),
            self_test,
            weaker: self.weaker.iter().cloned().chain(weaker).collect(),
        };
        // Dropping it destroys the environment.
        let environment = VmEnvironment::new(&self.link, number, spec, report);
        let failed = environment
            .report()
            .self_test
            .iter()
            .find(|probe| !probe.passed);
        if let Some(probe) = failed {
            return Err(VmError::Environment(SandboxError::SelfTest {
                id: environment.id().to_owned(),
                probe: probe.name.clone(),
                detail: probe.detail.clone(),
            }));
        }
        let missing = requirement::missing(&spec.required, environment.report());
        if missing.is_empty() {
            return Ok(environment);
        }
        Err(VmError::Environment(SandboxError::Weaker {
            id: environment.id().to_owned(),
            missing,
        }))
    }

    fn ask(
        &self,
        kind: Kind,
        number: u64,
        body: &[u8],
        what: &'static str,
    ) -> Result<Frame, VmError> {
        self.link.ask(kind, number, body, what, ANSWER)
    }

    /// Attacks exec control in the guest in every way known, and returns how each went.
    ///
    /// # Errors
    /// [`VmError::Guest`] where exec control is not loaded.
    pub fn attack_exec_control(&self) -> Result<Vec<ProbeResult>, VmError> {
        let number = self.link.number();
        let answer = self.ask(Kind::Attack, number, &[], "be attacked")?;
        frame::probed(&answer.body).map_err(|_| VmError::Nonsense)
    }

    /// Denials since the last call; of the oldest, some may be lost under a flood. Their process ids
    /// and cgroups are the guest's.
    #[must_use]
    pub fn denials(&self) -> Vec<Denial> {
        let denials = self.link.take_denials();
        denials
            .iter()
            .filter_map(|bytes| Denial::decode(bytes))
            .collect()
    }

    /// Ends the machine with everything in it. When this returns, no process of it is left.
    pub fn end(&self) {
        self.link.end();
    }
}

/// Refuses what a machine does not show yet; silence would be a lie.
fn check(spec: &EnvironmentSpec) -> Result<(), VmError> {
    let reason = "a virtual machine does not have this yet";
    let asked = [
        ("home", spec.home.is_some()),
        ("mounts", !spec.mounts.is_empty()),
        ("workspace_also", spec.workspace_also.is_some()),
        ("network", spec.network.is_some()),
        ("limits.disk_bytes", spec.limits.disk_bytes.is_some()),
        ("limits.disk_inodes", spec.limits.disk_inodes.is_some()),
        ("root.tree", spec.root.tree.is_some()),
        ("root.layers", !spec.root.layers.is_empty()),
        ("root.writable", spec.root.writable.is_some()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(invalid(field, reason)),
        None => Ok(()),
    }
}

/// Refuses a policy that would not be enforced in the guest.
fn check_exec(exec: &ExecPolicy, loaded: bool) -> Result<(), VmError> {
    if exec.mode == ExecMode::Off {
        return Ok(());
    }
    if !loaded {
        let reason = "in a virtual machine it needs `exec_control`";
        return Err(invalid("exec.mode", reason));
    }
    let is_digest = |rule: &ExecRule| matches!(rule.target, ExecTarget::Digest(_));
    if !exec.rules.iter().all(is_digest) {
        let reason = "in a virtual machine programs are named by their digests";
        return Err(invalid("exec.rules", reason));
    }
    if !exec.trusted_producers.is_empty() || !exec.interpreters.is_empty() {
        let reason =
            "a virtual machine judges digests only: no producers, no scripts of interpreters";
        return Err(invalid("exec", reason));
    }
    Ok(())
}
