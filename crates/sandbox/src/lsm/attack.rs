//! The proof: exec control attacked in every way known, in a cgroup of its own.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Cgroup, FINDING, Lsm, LsmError};
use crate::exec_policy::{Digest, ExecMode, RuleVerdict};
use crate::preflight::Finding;
use crate::report::ProbeResult;
use crate::sys::trial::{self, Mapping};
use crate::sys::{file, spawn};

/// A program of every system that does nothing and succeeds.
const HARMLESS: &str = "/bin/true";

/// Number of the trial's own policy; callers count theirs from below.
const POLICY: u32 = u32::MAX;

/// A place with a program nobody else has.
struct Trial {
    place: PathBuf,
    members: File,
    interpreter: Option<PathBuf>,
    content: Vec<u8>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// What became of an attempt.
type Outcome = io::Result<bool>;

fn prepared(stage: &'static str) -> impl Fn(io::Error) -> LsmError {
    move |source| LsmError::Trial { stage, source }
}

/// Attacks exec control as loaded: a program whose digest is denied, in every way there is to
/// execute it, and the same outside the cgroup, where it must work. Names are stable.
///
/// # Errors
/// [`LsmError`] when the attacks could not be made; a success of one is in the results.
pub fn self_test(lsm: &mut Lsm) -> Result<Vec<ProbeResult>, LsmError> {
    let cgroup = Cgroup::create(&format!("nightcrew-trial-{}", std::process::id()))?;
    let trial = Trial::new(&cgroup)?;
    let digest = trial.digest()?;
    lsm.enroll_cgroup(&cgroup, ExecMode::DenyList, POLICY)?;
    lsm.set_verdict(POLICY, &digest, Some(RuleVerdict::Deny))?;
    let mut probes = trial.deny_list();
    lsm.enroll_cgroup(&cgroup, ExecMode::Observe, POLICY)?;
    probes.push(permitted("observed-only", trial.run(&trial.program())));
    lsm.enroll_cgroup(&cgroup, ExecMode::AllowList, POLICY)?;
    probes.push(refused(
        "unknown-in-allow-list",
        trial.run(Path::new(HARMLESS)),
    ));
    probes.extend(trial.strict(lsm, &cgroup)?);
    lsm.enroll_cgroup(&cgroup, ExecMode::DenyList, POLICY)?;
    lsm.set_verdict(POLICY, &digest, None)?;
    probes.push(permitted("verdict-taken-back", trial.run(&trial.program())));
    lsm.dismiss_cgroup(&cgroup)?;
    Ok(probes)
}

/// Loads exec control and tries it once; for `doctor`.
pub(super) fn probe() -> Finding {
    let outcome = Lsm::load().and_then(|mut lsm| self_test(&mut lsm));
    let (cause, cure) = match outcome {
        Ok(probes) => match probes.iter().find(|probe| !probe.passed) {
            None => (String::new(), String::new()),
            Some(probe) => (
                format!(
                    "loaded, but {} was not stopped: {}",
                    probe.name, probe.detail
                ),
                "use exec control by fanotify on this kernel".to_owned(),
            ),
        },
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            (
                format!("{error} ({})", source.unwrap_or_default()),
                "root, and a kernel with CONFIG_BPF_LSM, CONFIG_IMA and `bpf` in its lsm= list (Debian's are) that can attach programs; a virtual machine with such a kernel has it inside".to_owned(),
            )
        }
    };
    if cause.is_empty() {
        return Finding::active(FINDING, "loaded, and attacked in every way known");
    }
    Finding::absent(FINDING, cause, cure)
}

fn refused(name: &str, outcome: Outcome) -> ProbeResult {
    let (passed, detail) = match outcome {
        Ok(true) => (false, "it executed".to_owned()),
        Ok(false) => (true, "it did not start".to_owned()),
        Err(error) if is_refusal(&error) => (true, "EPERM".to_owned()),
        Err(error) => (false, format!("not tried: {error}")),
    };
    ProbeResult {
        name: name.to_owned(),
        passed,
        detail,
    }
}

fn permitted(name: &str, outcome: Outcome) -> ProbeResult {
    let (passed, detail) = match outcome {
        Ok(true) => (true, "it executed".to_owned()),
        Ok(false) => (false, "it failed".to_owned()),
        Err(error) => (false, error.to_string()),
    };
    ProbeResult {
        name: name.to_owned(),
        passed,
        detail,
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

impl Trial {
    fn new(cgroup: &Cgroup) -> Result<Self, LsmError> {
        let stage = "prepare a program to deny";
        let place = std::env::temp_dir().join(format!("nightcrew-trial-{}", std::process::id()));
        fs::create_dir_all(&place).map_err(prepared(stage))?;
        // Bytes after the end of an ELF file change its digest and nothing else.
        let mut content = fs::read(HARMLESS).map_err(prepared(stage))?;
        content.extend_from_slice(format!("trial of {}", std::process::id()).as_bytes());
        let interpreter = crate::vm::interpreter(&content).map_err(prepared(stage))?;
        let members = File::options()
            .write(true)
            .open(cgroup.members())
            .map_err(prepared("open the members of a cgroup"))?;
        let trial = Self {
            place,
            members,
            interpreter,
            content,
        };
        trial.write("program").map_err(prepared(stage))?;
        Ok(trial)
    }

    fn program(&self) -> PathBuf {
        self.place.join("program")
    }

    fn write(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.place.join(name);
        fs::write(&path, &self.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// The digest, by another program, so that it is not our own mistake that is tested.
    fn digest(&self) -> Result<Digest, LsmError> {
        digest_of(&self.program())
    }

    /// With the harmless program and its libraries allowed: it works, and what they do not cover
    /// does not.
    fn strict(&self, lsm: &mut Lsm, cgroup: &Cgroup) -> Result<Vec<ProbeResult>, LsmError> {
        let stage = "find what a program needs";
        let harmless = fs::read(HARMLESS).map_err(prepared(stage))?;
        let mut allowed = vec![PathBuf::from(HARMLESS)];
        allowed.extend(
            crate::vm::dependencies(&harmless)
                .map_err(prepared(stage))?
                .into_iter()
                .map(|file| file.source),
        );
        let digests: Vec<Digest> = allowed
            .iter()
            .map(|path| digest_of(path))
            .collect::<Result<_, _>>()?;
        for digest in &digests {
            lsm.set_verdict(POLICY, digest, Some(RuleVerdict::Allow))?;
        }
        let copy = self.place.join("harmless");
        fs::write(&copy, &harmless).map_err(prepared(stage))?;
        let mut probes = vec![permitted(
            "allowed-in-allow-list",
            self.run(Path::new(HARMLESS)),
        )];
        // Its bytes are allowed; that they can be changed afterwards is not.
        probes.push(refused("map-what-can-be-written", self.map_writable(&copy)));
        probes.push(refused("write-what-is-mapped", self.write_mapped(&copy)));
        lsm.enroll_cgroup(cgroup, ExecMode::Strict, POLICY)?;
        probes.push(permitted(
            "allowed-in-strict",
            self.run(Path::new(HARMLESS)),
        ));
        probes.push(refused("anonymous-in-strict", self.map(Mapping::Anonymous)));
        for digest in &digests {
            lsm.set_verdict(POLICY, digest, None)?;
        }
        Ok(probes)
    }

    fn map_writable(&self, path: &Path) -> Outcome {
        let file = OwnedFd::from(File::options().read(true).write(true).open(path)?);
        self.run_as(
            Self::command(Path::new(HARMLESS)),
            Some((Mapping::Executable, &file)),
        )
    }

    fn write_mapped(&self, path: &Path) -> Outcome {
        let file = OwnedFd::from(File::open(path)?);
        let mut command = Self::command(Path::new(HARMLESS));
        let mapping = Some((Mapping::Executable, file.as_fd()));
        trial::attempt(&mut command, self.members.as_fd(), mapping);
        trial::reopen_for_writing(&mut command, file.as_fd());
        command.status().map(|status| status.success())
    }

    fn command(program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a program in the cgroup; whether it succeeded.
    fn run(&self, program: &Path) -> Outcome {
        self.run_as(Self::command(program), None)
    }

    fn run_as(&self, mut command: Command, mapping: Option<(Mapping, &OwnedFd)>) -> Outcome {
        let mapping = mapping.map(|(kind, file)| (kind, file.as_fd()));
        trial::attempt(&mut command, self.members.as_fd(), mapping);
        command.status().map(|status| status.success())
    }

    fn linker(&self, program: &Path) -> Outcome {
        let Some(linker) = &self.interpreter else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let mut command = Self::command(linker);
        command.arg(program);
        self.run_as(command, None)
    }

    fn map(&self, kind: Mapping) -> Outcome {
        let file = OwnedFd::from(File::open(self.program())?);
        self.run_as(Self::command(Path::new(HARMLESS)), Some((kind, &file)))
    }

    fn memory(&self, by_linker: bool) -> Outcome {
        let memory = file::memory_file(&self.content)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        let mut command = match (&self.interpreter, by_linker) {
            (Some(linker), true) => {
                let mut command = Self::command(linker);
                command.arg(path);
                command
            }
            _ => Self::command(&path),
        };
        spawn::pass_descriptor(&mut command, memory.as_fd());
        self.run_as(command, None)
    }

    fn deny_list(&self) -> Vec<ProbeResult> {
        let program = self.program();
        let copied = || self.write("copy").and_then(|path| self.run(&path));
        let renamed = || {
            let (from, to) = (self.write("before")?, self.place.join("after"));
            fs::rename(from, &to)?;
            self.run(&to)
        };
        let linked = |hard: bool| {
            let path = self.place.join(if hard { "hard" } else { "soft" });
            if hard {
                fs::hard_link(&program, &path)?;
            } else {
                symlink(&program, &path)?;
            }
            self.run(&path)
        };
        let script = || {
            let path = self.place.join("script");
            fs::write(&path, format!("#!{}\n", program.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            self.run(&path)
        };
        let rooted = || {
            self.run(
                &Path::new("/proc/self/root").join(program.strip_prefix("/").unwrap_or(&program)),
            )
        };
        vec![
            permitted("outside-the-cgroup", outside(&program)),
            permitted("harmless-in-the-cgroup", self.run(Path::new(HARMLESS))),
            refused("exec-direct", self.run(&program)),
            refused("exec-copied", copied()),
            refused("exec-renamed", renamed()),
            refused("exec-linked", linked(false)),
            refused("exec-hard-linked", linked(true)),
            refused("exec-through-proc-root", rooted()),
            refused("exec-as-interpreter", script()),
            refused("exec-by-linker", self.linker(&program)),
            refused("map-executable", self.map(Mapping::Executable)),
            refused("map-then-protect", self.map(Mapping::MadeExecutable)),
            refused("exec-from-memory", self.memory(false)),
            refused("exec-from-memory-by-linker", self.memory(true)),
            permitted("anonymous-in-deny-list", self.map(Mapping::Anonymous)),
        ]
    }
}

fn outside(program: &Path) -> Outcome {
    Trial::command(program)
        .status()
        .map(|status| status.success())
}

fn digest_of(path: &Path) -> Result<Digest, LsmError> {
    let stage = "take a digest with sha256sum";
    let output = Command::new("sha256sum")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(prepared(stage))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| LsmError::Trial {
        stage,
        source: io::Error::from(io::ErrorKind::InvalidData),
    })
}

fn parse(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    let text = text.get(..64)?;
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}
