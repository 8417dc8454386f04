//! Loading and ruling the kernel's part. All use of libbpf is in this file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, RingBufferBuilder};

use super::{Cgroup, Denial, LsmError, mode_number, verdict_number};
use crate::client::Environment;
use crate::exec_policy::{Digest, ExecMode, ExecPolicy, ExecTarget, RuleVerdict};

/// The kernel's part, compiled from `bpf/exec.bpf.c` when this crate was.
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/exec.bpf.o"));
/// How long the listener waits before it looks whether it is still wanted.
const PAUSE: Duration = Duration::from_millis(200);

/// Exec control in the kernel. Dropping it takes it out of force.
#[derive(Debug)]
pub struct Lsm {
    object: Object,
    /// What keeps the programs attached.
    _links: Vec<Link>,
}

fn refused(stage: &'static str) -> impl Fn(libbpf_rs::Error) -> LsmError {
    move |error| LsmError::Kernel {
        stage,
        // The kernel's errno is at the bottom of the error's causes.
        source: errno(&error).unwrap_or_else(|| io::Error::other(error.to_string())),
    }
}

fn errno(error: &libbpf_rs::Error) -> Option<io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(present) = cause {
        if let Some(number) = present
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(io::Error::from_raw_os_error(number));
        }
        cause = present.source();
    }
    use libbpf_rs::ErrorKind;
    let number = match error.kind() {
        ErrorKind::PermissionDenied => libc::EPERM,
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::AlreadyExists => libc::EEXIST,
        ErrorKind::InvalidInput => libc::EINVAL,
        _ => return None,
    };
    Some(io::Error::from_raw_os_error(number))
}

impl Lsm {
    /// Loads and attaches the programs. Nothing is judged until a cgroup is enrolled.
    ///
    /// # Errors
    /// [`LsmError::Kernel`] when the kernel refuses: no root, no BPF-LSM, no IMA.
    pub fn load() -> Result<Self, LsmError> {
        // Its complaints come back as errors.
        libbpf_rs::set_print(None);
        let object = ObjectBuilder::default()
            .open_memory(OBJECT)
            .map_err(refused("read the programs for exec control"))?
            .load()
            .map_err(refused("load the programs for exec control"))?;
        let mut links = Vec::new();
        for program in object.progs_mut() {
            let link = program
                .attach_lsm()
                .map_err(refused("attach the programs for exec control"))?;
            links.push(link);
        }
        Ok(Self {
            object,
            _links: links,
        })
    }

    fn map(&self, name: &str) -> Result<MapHandle, LsmError> {
        let stage = "find a table of exec control";
        let map = self.object.maps().find(|map| map.name() == name);
        let map = map.ok_or_else(|| LsmError::Kernel {
            stage,
            source: io::Error::from(io::ErrorKind::NotFound),
        })?;
        MapHandle::try_from(&map).map_err(refused(stage))
    }

    /// Says what a policy decides of a content from now on; `None` takes it back. Policies are told
    /// apart by a number of the caller's.
    ///
    /// # Errors
    /// [`LsmError::Kernel`], as when the table is full (131,072 verdicts over all policies).
    pub fn set_verdict(
        &mut self,
        policy: u32,
        digest: &Digest,
        verdict: Option<RuleVerdict>,
    ) -> Result<(), LsmError> {
        let map = self.map("verdicts")?;
        let stage = "set a verdict";
        // `struct subject` of the kernel's part.
        let mut key = policy.to_ne_bytes().to_vec();
        key.extend_from_slice(digest);
        match verdict_number(verdict) {
            0 => match map.delete(&key) {
                Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(()),
                result => result.map_err(refused(stage)),
            },
            number => map
                .update(&key, &[number], MapFlags::ANY)
                .map_err(refused(stage)),
        }
    }

    /// Puts the processes of a cgroup, and those they start, under a policy.
    ///
    /// # Errors
    /// [`LsmError::Kernel`], as when the table is full (4,096 cgroups).
    pub fn enroll_cgroup(
        &mut self,
        cgroup: &Cgroup,
        mode: ExecMode,
        policy: u32,
    ) -> Result<(), LsmError> {
        let Some(mode) = mode_number(mode) else {
            return self.dismiss_cgroup(cgroup);
        };
        // `struct rule` of the kernel's part.
        let rule = [policy.to_ne_bytes(), mode.to_ne_bytes()].concat();
        self.map("rules")?
            .update(&cgroup.id().to_ne_bytes(), &rule, MapFlags::ANY)
            .map_err(refused("enroll a cgroup"))
    }

    /// Puts an environment under exec control, before its first step: by a cgroup of its
    /// own, under policy number `policy`, with the mode and the rules for digests of
    /// `exec`. (Names, paths and packages are resolved to digests by others, who then call
    /// [`set_verdict`](Self::set_verdict).)
    ///
    /// The result stands for the environment: [`dismiss_cgroup`](Self::dismiss_cgroup) it when the
    /// environment is gone.
    ///
    /// # Errors
    /// [`LsmError`]; the environment must then not be used.
    pub fn enroll_environment(
        &mut self,
        environment: &Environment,
        exec: &ExecPolicy,
        policy: u32,
    ) -> Result<Cgroup, LsmError> {
        for rule in &exec.rules {
            if let ExecTarget::Digest(digest) = &rule.target {
                self.set_verdict(policy, digest, Some(rule.verdict))?;
            }
        }
        let gone = || LsmError::Cgroup {
            action: "find the environment for",
            name: environment.id().to_owned(),
            source: io::Error::from_raw_os_error(libc::ESRCH),
        };
        let process = environment.first_process().ok_or_else(gone)?;
        let cgroup = Cgroup::own_of(process, &format!("nightcrew-exec-{policy}"))?;
        self.enroll_cgroup(&cgroup, exec.mode, policy)?;
        Ok(cgroup)
    }

    /// Takes a cgroup out again, before it is removed: its id may come back.
    ///
    /// # Errors
    /// [`LsmError::Kernel`].
    pub fn dismiss_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), LsmError> {
        match self.map("rules")?.delete(&cgroup.id().to_ne_bytes()) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(()),
            result => result.map_err(refused("dismiss a cgroup")),
        }
    }

    /// Denials that were not reported, because too many came at once.
    ///
    /// # Errors
    /// [`LsmError::Kernel`].
    pub fn lost(&self) -> Result<u64, LsmError> {
        let stage = "count lost denials";
        let value = self
            .map("lost")?
            .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(refused(stage))?;
        let bytes = value.and_then(|value| value.try_into().ok());
        Ok(bytes.map_or(0, u64::from_ne_bytes))
    }

    /// Listens for denials in a thread of its own, until the result is dropped.
    ///
    /// # Errors
    /// [`LsmError::Kernel`].
    pub fn events(
        &self,
        mut denied: impl FnMut(&Denial) + Send + 'static,
    ) -> Result<Events, LsmError> {
        let map = self.map("denials")?;
        let wanted = Arc::new(AtomicBool::new(true));
        let listening = Arc::clone(&wanted);
        let thread = std::thread::spawn(move || {
            let mut builder = RingBufferBuilder::new();
            let added = builder.add(&map, move |bytes| {
                if let Some(denial) = Denial::decode(bytes) {
                    denied(&denial);
                }
                0
            });
            if added.is_err() {
                return;
            }
            let Ok(ring) = builder.build() else {
                return;
            };
            while listening.load(Ordering::Acquire) {
                // An interruption is no reason to stop.
                let _ = ring.poll(PAUSE);
            }
        });
        Ok(Events {
            wanted,
            thread: Some(thread),
        })
    }
}

/// Keeps denials coming.
#[derive(Debug)]
pub struct Events {
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
