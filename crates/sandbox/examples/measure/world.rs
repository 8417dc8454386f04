//! Supervisor, base trees and steps in a line.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sandbox::{
    Environment, EnvironmentSpec, ExecMode, ExecPolicy, ExecRule, ExecSpec, ExecTarget, ExitStatus,
    RuleVerdict, Supervisor, SupervisorOptions, Workspace,
};

/// A supervisor and a folder for everything that is written.
pub(crate) struct World {
    pub(crate) supervisor: Supervisor,
    pub(crate) place: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let program = std::env::current_exe().expect("this program");
        let place = tempfile::Builder::new()
            .prefix("nightcrew-measure.")
            .tempdir()
            .expect("a folder");
        passable(place.path());
        Self {
            supervisor: Supervisor::start(SupervisorOptions::new(program)).expect("a supervisor"),
            place,
        }
    }

    /// A tree of `files` small files in folders of a hundred, prepared as a base.
    pub(crate) fn tree(&self, name: &str, files: usize) -> PathBuf {
        let base = self.place.path().join(name);
        for folder in 0..files.div_ceil(100) {
            std::fs::create_dir_all(base.join(folder.to_string())).expect("a folder");
        }
        for file in 0..files {
            let path = base.join((file / 100).to_string()).join(file.to_string());
            std::fs::write(path, format!("content of {file}\n")).expect("a file");
        }
        sandbox::prepare_base(&base).expect("a base");
        base
    }

    /// A spec over a base, with its own layer.
    pub(crate) fn spec(&self, name: &str, base: &Path, mode: ExecMode) -> EnvironmentSpec {
        let workspace = Workspace {
            base: Some(base.to_owned()),
            frozen: Vec::new(),
            layer: self.layer(name),
        };
        let mut spec = EnvironmentSpec::new(name, workspace);
        spec.exec = policy(mode);
        spec.program = std::env::current_exe().ok();
        spec.limits.processes = 4096;
        spec
    }

    pub(crate) fn layer(&self, name: &str) -> PathBuf {
        self.place.path().join(format!("layer-{name}"))
    }

    pub(crate) fn remove(&self, name: &str) {
        sandbox::remove_layer(&self.layer(name)).expect("a layer removed");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = sandbox::remove_layer(self.place.path());
    }
}

/// Two denials by name, as people write them; nothing where nothing is judged.
pub(crate) fn policy(mode: ExecMode) -> ExecPolicy {
    let deny = |name: &str| ExecRule {
        verdict: RuleVerdict::Deny,
        target: ExecTarget::Name(name.to_owned()),
        reason: "for the measurement".to_owned(),
    };
    ExecPolicy {
        mode,
        rules: match mode {
            ExecMode::Off => Vec::new(),
            _ => vec![deny("npx"), deny("curl")],
        },
        ..ExecPolicy::default()
    }
}

/// Modes that this host can enforce.
pub(crate) fn modes() -> Vec<(&'static str, ExecMode)> {
    let mut modes = vec![("no gate", ExecMode::Off)];
    if is_root() {
        modes.push(("deny-list", ExecMode::DenyList));
    }
    modes
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// Environments run as another user, who must be able to pass through.
pub(crate) fn passable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Runs a step to its end and returns what it printed; it must exit 0.
pub(crate) fn step(environment: &Environment, argv: &[&str], env: &[(&str, &str)]) -> String {
    let (read, write) = std::io::pipe().expect("a pipe");
    let log = tempfile::tempfile().expect("a file");
    let running = environment
        .exec(ExecSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            cwd: None,
            stdin: None,
            stdout: OwnedFd::from(write),
            stderr: OwnedFd::from(log.try_clone().expect("a file")),
            timeout: None,
            terminal: None,
        })
        .expect("a step");
    let output = std::io::read_to_string(read).expect("output");
    let exit = running.wait().expect("an end");
    if exit.status != ExitStatus::Code(0) {
        use std::io::Seek;
        let mut log = log;
        let _ = log.rewind();
        let words = std::io::read_to_string(log).unwrap_or_default();
        panic!("{argv:?} ended with {:?}:\n{output}\n{words}", exit.status);
    }
    output
}
