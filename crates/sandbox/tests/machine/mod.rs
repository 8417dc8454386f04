//! What tests with virtual machines share: the tools, a kernel, steps in a line.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};

use sandbox::vm::{Qemu, Vm, VmEnvironment, VmError, VmSpec};
use sandbox::{EnvironmentSpec, ExecSpec, Exit, ExitStatus, Workspace};

use crate::common::{quiet, skip};

/// QEMU with the kernel that `cargo xtask test` unpacks; says so and is absent where one is missing.
pub(crate) fn qemu() -> Option<Qemu> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let kernel = std::env::var_os("NIGHTCREW_TEST_KERNEL")
        .map_or_else(|| target.join("guest-kernel"), PathBuf::from);
    match Qemu::find(env!("CARGO_BIN_EXE_sandbox-supervisor"), Some(&kernel)) {
        Ok(qemu) => Some(qemu),
        Err(error) => {
            skip(&format!("virtual machines cannot be tested: {error}"));
            None
        }
    }
}

/// A place that removes itself, whatever is in it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let place = tempfile::Builder::new()
            .prefix("sandbox-vm-")
            .tempdir()
            .unwrap();
        Self(place.keep())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = sandbox::remove_layer(&self.0);
    }
}

pub(crate) fn spec(id: &str, base: Option<&Path>, layer: &Path) -> VmSpec {
    VmSpec::new(EnvironmentSpec::new(
        id,
        Workspace {
            base: base.map(Path::to_owned),
            frozen: Vec::new(),
            layer: layer.to_owned(),
        },
    ))
}

/// An error with its causes.
pub(crate) fn chain(error: &VmError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(crate) fn boot(qemu: &Qemu, spec: &VmSpec) -> Vm {
    Vm::start(qemu, spec).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.exit.status, ExitStatus::Code(0), "{self:?}");
        self.out
    }

    pub(crate) fn code(&self) -> i32 {
        match self.exit.status {
            ExitStatus::Code(code) => code,
            other => panic!("{other:?}: {self:?}"),
        }
    }
}

pub(crate) fn sh(environment: &VmEnvironment, script: &str) -> Ran {
    run(environment, quiet(script))
}

pub(crate) fn run(environment: &VmEnvironment, mut spec: ExecSpec) -> Ran {
    let (out, stdout) = std::io::pipe().unwrap();
    let (err, stderr) = std::io::pipe().unwrap();
    spec.stdout = stdout.into();
    spec.stderr = stderr.into();
    let collect = |mut pipe: std::io::PipeReader| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (out, err) = (collect(out), collect(err));
    let running = environment
        .exec(spec)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let exit = running.wait();
    Ran {
        exit,
        out: out.join().unwrap(),
        err: err.join().unwrap(),
    }
}

/// Processes of the host in the pid namespace of `process`.
pub(crate) fn same_namespace(process: &str) -> Vec<String> {
    let Ok(wanted) = std::fs::read_link(format!("/proc/{process}/ns/pid_for_children")) else {
        return Vec::new();
    };
    namespace_members(&wanted)
}

pub(crate) fn namespace_members(wanted: &Path) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path().join("ns/pid")).is_ok_and(|found| found == wanted)
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The QEMU of a machine, by the name of its environment: process id and pid namespace.
pub(crate) fn qemu_process(name: &str) -> Option<(String, PathBuf)> {
    let mark = format!("guest={name}");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            if !words.any(|word| word == mark.as_bytes()) {
                return None;
            }
            let namespace = std::fs::read_link(entry.path().join("ns/pid")).ok()?;
            Some((entry.file_name().into_string().ok()?, namespace))
        })
}
