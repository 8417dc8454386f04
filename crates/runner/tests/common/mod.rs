//! What the tests share: repositories, a supervisor, a control plane in memory, a runner.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed, and one that is skipped says so"
)]

pub(crate) mod plane;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use model::ids::TaskId;
use model::task::Task;
use runner::{Runner, RunnerHandle, RunnerOptions};
use sandbox::{Supervisor, SupervisorOptions};

use self::plane::Plane;

/// A folder with repositories, a control plane over them, and what runners need.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) plane: Arc<Plane>,
    pub(crate) supervisor: Arc<Supervisor>,
}

impl World {
    /// `None`, said loudly, where environments cannot be made.
    pub(crate) fn new() -> Option<Self> {
        // Once per program: it makes and removes a folder of a fixed name.
        static PREFLIGHT: OnceLock<sandbox::Preflight> = OnceLock::new();
        let preflight = PREFLIGHT.get_or_init(sandbox::preflight);
        if preflight.level.is_none() {
            let causes: Vec<String> = preflight
                .findings
                .iter()
                .filter(|f| !f.ok)
                .map(|f| f.cause.clone())
                .collect();
            let cause = causes.join("; ");
            assert!(
                std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(),
                "environments are refused here: {cause}"
            );
            println!("SKIP environments are refused here: {cause}");
            return None;
        }
        let options = SupervisorOptions::new(env!("CARGO_BIN_EXE_runner-supervisor"));
        let folder = tempfile::Builder::new()
            .prefix("runner-test-")
            .tempdir()
            .unwrap()
            .keep();
        Some(Self {
            folder: folder.clone(),
            plane: Arc::new(Plane::new(folder)),
            supervisor: Arc::new(Supervisor::start(options).expect("a supervisor")),
        })
    }

    /// A repository with these files; those that end in `.sh` can be executed.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.folder.join("repositories").join(name);
        std::fs::create_dir_all(&path).unwrap();
        git(&path, &["init", "-q", "-b", "main"]);
        for (file, content) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, content).unwrap();
            if file.extension().is_some_and(|end| end == "sh") {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        if !files.is_empty() {
            git(&path, &["add", "-A"]);
            git(&path, &["commit", "-q", "-m", "base"]);
        }
        path
    }

    pub(crate) fn options(&self) -> RunnerOptions {
        let plane = Arc::clone(&self.plane);
        let mut options = RunnerOptions::new(
            "r1",
            self.folder.join("state"),
            Arc::new(move || plane.now()),
        );
        options.heartbeat = Duration::from_millis(50);
        options
    }

    pub(crate) fn runner(&self) -> RunnerHandle {
        self.runner_with(self.options())
    }

    pub(crate) fn runner_with(&self, options: RunnerOptions) -> RunnerHandle {
        let control: Arc<dyn runner::ControlPlane> = self.plane.clone();
        Runner::start(options, control, Arc::clone(&self.supervisor)).expect("a runner")
    }

    /// Runs one automation on one repository until it stands still.
    pub(crate) async fn run(&self, automation: &str, repository: &str) -> (TaskId, Task) {
        self.run_with(self.options(), automation, repository).await
    }

    /// The same by a runner with these options.
    pub(crate) async fn run_with(
        &self,
        options: RunnerOptions,
        automation: &str,
        repository: &str,
    ) -> (TaskId, Task) {
        let runner = self.runner_with(options);
        let id = self.plane.queue(automation, repository);
        let task = self.plane.settled(id).await;
        runner.shutdown(Duration::from_secs(20)).await;
        (id, task)
    }

    /// The proposed change, taken into a clone of its repository: its work tree.
    pub(crate) fn checkout(&self, repository: &str, task: &Task) -> PathBuf {
        let proposal = task.proposal.as_ref().expect("a proposal");
        let clone = self.folder.join(format!("clone-{}", proposal.commit));
        git(
            &self.folder,
            &[
                "clone",
                "-q",
                &format!("repositories/{repository}"),
                clone.to_str().unwrap(),
            ],
        );
        let pack = self.folder.join("change.pack");
        std::fs::write(&pack, self.plane.blob(&proposal.bundle)).unwrap();
        let input = std::fs::File::open(&pack).unwrap();
        let status = command(&clone, &["index-pack", "--stdin", "--fix-thin", "--strict"])
            .stdin(input)
            .status();
        assert!(status.unwrap().success());
        git(&clone, &["checkout", "-q", &proposal.commit]);
        git(&clone, &["fsck", "--strict"]);
        clone
    }

    /// Folders that runners left behind.
    pub(crate) fn layers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("state/layers")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = sandbox::remove_layer(&self.folder);
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Somebody")
            .env(format!("GIT_{who}_EMAIL"), "some@body.example");
    }
    command
}

/// Runs git; its output.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The time at which a test begins.
pub(crate) fn beginning() -> Timestamp {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

/// Says that a test cannot be done here; a failure where everything is required.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "required: {reason}"
    );
    println!("SKIP {reason}");
}
