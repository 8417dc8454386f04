//! What the tests share: one supervisor per test, places that remove themselves, steps in a line.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub(crate) mod stage;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{
    Environment, EnvironmentSpec, ExecSpec, Exit, ExitStatus, Supervisor, SupervisorOptions,
    Workspace,
};

/// A supervisor and a place for layers.
pub(crate) struct World {
    pub(crate) supervisor: Supervisor,
    pub(crate) place: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut SupervisorOptions)) -> Self {
        let mut options = SupervisorOptions::new(supervisor_program());
        change(&mut options);
        let supervisor = Supervisor::start(options).expect("a supervisor");
        let place = tempfile::Builder::new()
            .prefix("sandbox-test-")
            .tempdir()
            .unwrap()
            .keep();
        Self { supervisor, place }
    }

    /// A folder with these files, prepared as a base.
    pub(crate) fn base(&self, files: &[(&str, &str)]) -> PathBuf {
        let base = self.place.join("base");
        std::fs::create_dir(&base).unwrap();
        for (name, content) in files {
            let path = base.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        sandbox::prepare_base(&base).unwrap();
        base
    }

    pub(crate) fn spec(&self, name: &str, base: Option<&Path>) -> EnvironmentSpec {
        let layer = self.place.join(format!("layer-{name}"));
        EnvironmentSpec::new(
            name,
            Workspace {
                base: base.map(Path::to_owned),
                frozen: Vec::new(),
                layer,
            },
        )
    }

    /// An environment with an empty workspace.
    pub(crate) fn empty(&self, name: &str) -> Environment {
        self.supervisor
            .create(&self.spec(name, None))
            .expect("an environment")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = sandbox::remove_layer(&self.place);
    }
}

/// What a step printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output of a step that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, ExitStatus::Code(0), "{self:?}");
        self.out
    }
}

pub(crate) fn null() -> OwnedFd {
    File::options()
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

/// A step whose output goes nowhere.
pub(crate) fn quiet(script: &str) -> ExecSpec {
    ExecSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: null(),
        stderr: null(),
        terminal: None,
        timeout: None,
    }
}

/// Runs a shell script as a step and collects its output.
pub(crate) fn sh(environment: &Environment, script: &str) -> Ran {
    run(environment, quiet(script))
}

/// Runs a step and collects its output.
pub(crate) fn run(environment: &Environment, mut spec: ExecSpec) -> Ran {
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
    let exit = environment
        .exec(spec)
        .expect("a step")
        .wait()
        .expect("its end");
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    Ran {
        status: exit.status,
        exit,
        out,
        err,
    }
}

/// Host processes whose command line contains `mark`, this one left out.
pub(crate) fn processes(mark: &str) -> Vec<String> {
    matching(|path| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(mark).then_some(line)
    })
}

/// Host processes named `name`, as `ps` shows names, zombies left out.
pub(crate) fn named(name: &str) -> Vec<String> {
    matching(|path| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let is = status
            .lines()
            .next()
            .is_some_and(|line| line == format!("Name:\t{name}"));
        (is && !status.contains("State:\tZ")).then(|| path.display().to_string())
    })
}

fn matching(test: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let own = format!("/proc/{}", std::process::id());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.as_os_str() != own.as_str())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok())
        })
        .filter_map(|path| test(&path))
        .collect()
}

/// Waits for a condition that the kernel brings about soon, or fails.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within 10 seconds");
        std::thread::yield_now();
    }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Says that a test cannot run here; fails where everything is required.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(),
        "required, but {reason}"
    );
    println!("SKIP {reason}");
}

/// The program that serves as a supervisor: where it was built, or where another user can reach it.
pub(crate) fn supervisor_program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(
        || env!("CARGO_BIN_EXE_sandbox-supervisor").into(),
        PathBuf::from,
    )
}

const PROGRAM: &str = "SANDBOX_TEST_SUPERVISOR";

/// Runs the tests of this test program again as an ordinary user, `shell` before them as root with
/// the user's number in `$USER_ID`. Only the names that begin with one of `tests`.
pub(crate) fn again_as_an_ordinary_user(shell: &str, tests: &[&str]) {
    if !is_root() {
        // The suite, or this very repetition, runs as one already.
        return;
    }
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let supervisor = place.path().join("sandbox-supervisor");
    copy_program(&supervisor_program().display().to_string(), &supervisor);
    let program = place.path().join("tests");
    let own = std::env::current_exe().unwrap();
    copy_program(&own.display().to_string(), &program);
    let script =
        format!("{shell}\nexec setpriv --reuid=$USER_ID --regid=$USER_ID --clear-groups -- \"$@\"");
    let output = std::process::Command::new("sh")
        .args(["-ec", &script, "sh"])
        .arg(&program)
        .args(["--test-threads=2", "--nocapture"])
        .args(tests)
        .env(PROGRAM, &supervisor)
        .env("USER_ID", "65534")
        .env("TMPDIR", place.path())
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{output:?}");
    assert!(!said.contains("running 0 tests"), "{said}");
    print!("{said}");
}

/// Copies a program in a process of its own: a copy made here might be open for writing in a process
/// that another test forks at that moment, and could then not be executed.
pub(crate) fn copy_program(from: &str, to: &Path) {
    assert!(
        std::process::Command::new("cp")
            .arg(from)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

/// A file system of its own in a file, mounted; gone with this value.
pub(crate) struct LoopMount(PathBuf);

impl LoopMount {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        // Lazily: an environment that dies at this moment may still be using it.
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status();
    }
}

/// Makes and mounts a file system of this kind; why not, where that cannot be.
pub(crate) fn loop_file_system(at: &Path, kind: &str) -> Result<LoopMount, String> {
    if !is_root() {
        return Err(format!("mounting {kind} needs root"));
    }
    let image = at.with_extension("img");
    File::create(&image).unwrap().set_len(512 << 20).unwrap();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(program).args(arguments).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let make = format!("mkfs.{kind}");
    run(&make, &["-q".as_ref(), image.as_os_str()])
        .map_err(|error| format!("{make} does not work: {error}"))?;
    std::fs::create_dir(at).unwrap();
    run(
        "mount",
        &[
            "-o".as_ref(),
            "loop".as_ref(),
            image.as_os_str(),
            at.as_os_str(),
        ],
    )
    .map_err(|error| format!("{kind} cannot be mounted: {error}"))?;
    Ok(LoopMount(at.to_owned()))
}

/// Runs the other tests of this test program as an ordinary user; those that this user must skip pass.
pub(crate) fn as_ordinary_user(variables: &[(&str, &str)]) {
    if std::env::var_os(PROGRAM).is_some() {
        return;
    }
    if !is_root() {
        return skip("the suite runs as an ordinary user already");
    }
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let (supervisor, tests) = (
        place.path().join("sandbox-supervisor"),
        place.path().join("tests"),
    );
    copy_program(env!("CARGO_BIN_EXE_sandbox-supervisor"), &supervisor);
    copy_program(std::env::current_exe().unwrap().to_str().unwrap(), &tests);
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&tests)
        .env(PROGRAM, &supervisor)
        .env("TMPDIR", place.path())
        .env_remove("NIGHTCREW_REQUIRE_ALL")
        .envs(variables.iter().copied())
        .current_dir("/")
        .output();
    match output {
        Err(error) => skip(&format!("setpriv cannot be run: {error}")),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
}
