//! A Nightcrew server as a process group that can be killed.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::api::Api;

/// Longest time for a start or a stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a process that starts or ends.
const PACE: Duration = Duration::from_millis(5);

/// The program, its data directory, and what its commands say.
#[derive(Debug, Clone)]
pub struct Program {
    /// The `nightcrew` executable.
    pub path: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
}

/// What a command said, and its exit code.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Program {
    /// A command of the program on its data directory, untouched by settings of the person who tests.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_under(&[], arguments)
    }

    /// The same, started by another program.
    fn command_under(&self, starter: &[&str], arguments: &[&str]) -> Command {
        let mut command = match starter.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(&self.data_dir);
        command.env("XDG_CONFIG_HOME", self.data_dir.join("no-configuration"));
        command
            .env_remove("NIGHTCREW_CONFIG")
            .env_remove("NIGHTCREW_STORE")
            .env_remove(FAULT);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn say(&self, arguments: &[&str]) -> io::Result<Said> {
        let output = self.command(arguments).output()?;
        Ok(Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed; its standard output.
    ///
    /// # Errors
    /// When it cannot be started or fails, with what it said.
    pub fn must(&self, arguments: &[&str]) -> io::Result<String> {
        let said = self.say(arguments)?;
        if said.code == Some(0) {
            return Ok(said.out);
        }
        let words = format!(
            "`nightcrew {}` ended with {:?}: {}{}",
            arguments.join(" "),
            said.code,
            said.out,
            said.err
        );
        Err(io::Error::other(words))
    }
}

/// Environment variable of the fault points.
pub const FAULT: &str = "NIGHTCREW_FAULT";

/// A running server, the leader of its own process group. Dropping it kills the group.
#[derive(Debug)]
pub struct Server {
    child: Child,
    data_dir: PathBuf,
}

impl Server {
    /// Starts `nightcrew up`, to die at a fault point if one is given (`NAME:N`). Its log goes
    /// to `server.log` in the data directory's parent.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Program, fault: Option<&str>) -> io::Result<Self> {
        let beside = program.data_dir.parent().unwrap_or(&program.data_dir);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(beside.join("server.log"))?;
        // It must not outlive a test that is interrupted.
        let mut command =
            program.command_under(&["setpriv", "--pdeathsig", "KILL", "--"], &["up", "--json"]);
        if let Some(fault) = fault {
            command.env(FAULT, fault);
        }
        command.stdout(Stdio::null()).stderr(log).process_group(0);
        Ok(Self {
            child: command.spawn()?,
            data_dir: program.data_dir.clone(),
        })
    }

    /// Process id of the leader, and id of the group.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Waits until it answers; `None` when it died before.
    ///
    /// # Errors
    /// When it neither answers nor ends in time.
    pub fn api(&mut self) -> io::Result<Option<Api>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(mut api) = Api::of(&self.data_dir).filter(|api| api.pid == self.pid())
                && api.get("/status").is_ok()
            {
                return Ok(Some(api));
            }
            if self.ended()?.is_some() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server does not answer",
                ));
            }
            std::thread::sleep(PACE);
        }
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Whether it was killed by SIGKILL, as a fault point does.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn was_killed(&mut self) -> io::Result<bool> {
        Ok(self
            .ended()?
            .is_some_and(|status| status.signal() == Some(Signal::SIGKILL as i32)))
    }

    /// SIGKILL for the whole group, as a power cut would.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> io::Result<()> {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        self.child.wait().map(drop)
    }

    /// Asks it to end, and waits; how it ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server does not stop",
                ));
            }
            std::thread::sleep(PACE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.kill();
        }
    }
}

/// Processes that execute this program or have their working folder or root below `place`, other
/// than this one: leaked environments.
#[must_use]
pub fn processes_of(program: &Path, place: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .filter(|name| name.parse::<u32>().is_ok() && *name != own)
            .map(str::to_owned)
        else {
            continue;
        };
        let points = |name: &str| std::fs::read_link(entry.path().join(name)).unwrap_or_default();
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let named = command.contains(&*place.to_string_lossy()) && points("exe") == program;
        if named || points("cwd").starts_with(place) {
            found.push(format!("{pid} {}", command.trim()));
        }
    }
    found
}

/// Mounts below a folder, as this process sees them.
#[must_use]
pub fn mounts_below(place: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = place.to_string_lossy();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with(&*place))
        .map(str::to_owned)
        .collect()
}

/// Lets other users pass through a folder.
///
/// # Errors
/// When the folder is not ours.
pub fn passable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}
