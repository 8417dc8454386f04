//! What lies on the host: denied files, carriers, a secret to steal, folders for environments.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sandbox::Supervisor;

use crate::adapter;
use crate::common::copy_program;

const PROGRAMS: [&str; 3] = ["sandbox-attacker", "sandbox-victim", "sandbox-supervisor"];

/// Where the programs under test lie: with cargo, or where an ordinary user can reach them.
pub(crate) fn programs() -> PathBuf {
    match std::env::var_os("NIGHTCREW_ATTACK_PROGRAMS") {
        Some(place) => place.into(),
        None => Path::new(env!("CARGO_BIN_EXE_sandbox-attacker"))
            .parent()
            .unwrap()
            .to_owned(),
    }
}

/// Puts the programs where everybody can execute them.
pub(crate) fn copy_programs(to: &Path) {
    for name in PROGRAMS {
        let from = programs().join(name);
        copy_program(from.to_str().unwrap(), &to.join(name));
    }
}

/// A stage for attacks; removes itself.
pub(crate) struct Scene {
    place: PathBuf,
    /// A process of the host to aim at.
    outsider: Child,
}

impl Scene {
    pub(crate) fn new() -> Self {
        // Not below /tmp, which an environment has of its own.
        let place = tempfile::Builder::new()
            .prefix("attacks-")
            .tempdir_in("/var/tmp")
            .unwrap()
            .keep();
        mode(&place, 0o755);
        for folder in [
            "tools",
            "state",
            "base",
            "base/bin",
            "inputs",
            "home",
            "home/.ssh",
            "trap",
            "control",
            "closed",
        ] {
            std::fs::create_dir(place.join(folder)).unwrap();
            mode(&place.join(folder), 0o755);
        }
        mode(&place.join("trap"), 0o777);
        mode(&place.join("closed"), 0);
        let scene = Self {
            outsider: outsider(),
            place,
        };
        scene.furnish();
        scene
    }

    fn furnish(&self) {
        let tools = self.tools();
        copy_programs(&tools);
        copy_program(
            tools.join("sandbox-victim").to_str().unwrap(),
            &tools.join("tool"),
        );
        for kind in ["tiny", "library", "script", "plain", "benign"] {
            self.craft(kind, &tools.join(kind));
        }
        for denied in ["tool", "tiny", "library", "script", "plain"] {
            let kind = format!("carrier:{}", tools.join(denied).display());
            self.craft(&kind, &tools.join(format!("carrier-{denied}")));
        }
        for place in [self.base().join("bin/tool"), self.inputs().join("tool")] {
            copy_program(tools.join("tool").to_str().unwrap(), &place);
        }
        std::fs::write(self.inputs().join("input"), "an input\n").unwrap();
        std::fs::write(self.place.join("canary"), "NIGHTCREW-HOST-SECRET\n").unwrap();
        std::fs::write(self.place.join("home/.ssh/id_rsa"), "a key\n").unwrap();
        sandbox::prepare_base(&self.base()).unwrap();
    }

    fn craft(&self, kind: &str, file: &Path) {
        let status = Command::new(self.tools().join("sandbox-attacker"))
            .args(["--craft", kind])
            .arg(file)
            .status()
            .unwrap();
        assert!(status.success(), "{kind}");
    }

    /// The recipe's folder: the denied files, the carriers, the attacker.
    pub(crate) fn tools(&self) -> PathBuf {
        self.place.join("tools")
    }

    /// The files whose bytes are denied.
    pub(crate) fn denied(&self) -> [PathBuf; 5] {
        ["tool", "tiny", "library", "script", "plain"].map(|name| self.tools().join(name))
    }

    /// The files that are allowed beside those of the system.
    pub(crate) fn allowed(&self) -> [PathBuf; 3] {
        ["sandbox-attacker", "sandbox-supervisor", "benign"].map(|name| self.tools().join(name))
    }

    /// The tree under the workspace; `bin/tool` in it is the tool.
    pub(crate) fn base(&self) -> PathBuf {
        self.place.join("base")
    }

    pub(crate) fn inputs(&self) -> PathBuf {
        self.place.join("inputs")
    }

    /// What an environment writes.
    pub(crate) fn layer(&self, name: &str) -> PathBuf {
        self.place.join("state").join(format!("layer-{name}"))
    }

    /// What an environment hands out.
    pub(crate) fn outputs(&self, name: &str) -> PathBuf {
        let path = self.place.join("state").join(format!("out-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Where a file appears when the host executes what an environment left behind.
    pub(crate) fn trap(&self) -> PathBuf {
        self.place.join("trap")
    }

    /// The mode of a folder of the host that its owner has closed to everybody.
    pub(crate) fn closed_mode(&self) -> u32 {
        let meta = std::fs::symlink_metadata(self.place.join("closed")).unwrap();
        meta.permissions().mode() & 0o7777
    }

    /// What an attack is told.
    pub(crate) fn variables(&self, host: u32) -> Vec<(String, String)> {
        let tools = self.tools().display().to_string();
        let place = self.place.display().to_string();
        let comm = std::fs::read_to_string(format!("/proc/{host}/comm")).unwrap();
        [
            ("TARGET", format!("{tools}/tool")),
            ("TARGET_TINY", format!("{tools}/tiny")),
            ("TARGET_SO", format!("{tools}/library")),
            ("TARGET_SCRIPT", format!("{tools}/script")),
            ("TARGET_PLAIN", format!("{tools}/plain")),
            ("CARRIER", format!("{tools}/carrier-tool")),
            ("CARRIER_TINY", format!("{tools}/carrier-tiny")),
            ("CARRIER_SO", format!("{tools}/carrier-library")),
            ("CARRIER_SCRIPT", format!("{tools}/carrier-script")),
            ("CARRIER_PLAIN", format!("{tools}/carrier-plain")),
            ("BENIGN", format!("{tools}/benign")),
            ("TARGET_WORK", "/work/bin/tool".into()),
            ("TARGET_IN", "/nightcrew/in/tool".into()),
            ("ATTACK_PLACE", "/work".into()),
            ("HOST_CANARY", format!("{place}/canary")),
            ("HOST_HOME", format!("{place}/home")),
            ("HOST_STATE", format!("{place}/state")),
            ("HOST_CLOSED", format!("{place}/closed")),
            ("HOST_TRAP", format!("{place}/trap")),
            ("HOST_PID", host.to_string()),
            ("HOST_COMM", comm.trim().to_owned()),
            ("HOST_VARIABLE", "CARGO_MANIFEST_DIR".into()),
            ("LAUNCHER", format!("{tools}/sandbox-supervisor")),
            ("LIMIT_PROCESSES", adapter::PROCESSES.to_string()),
            ("LIMIT_MEMORY", adapter::MEMORY.to_string()),
            ("QUOTA_TMP_BYTES", adapter::TMP_BYTES.to_string()),
            ("QUOTA_WORK_BYTES", adapter::WORK_BYTES.to_string()),
            ("QUOTA_WORK_INODES", adapter::WORK_INODES.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Carries an attack out where nothing stops it: its exit code and words.
    pub(crate) fn control(&self, attack: &str) -> (i32, String) {
        let place = self.place.join("control");
        std::fs::create_dir_all(place.join("bin")).unwrap();
        let tool = place.join("bin/tool");
        copy_program(self.tools().join("tool").to_str().unwrap(), &tool);
        let output = Command::new(self.tools().join("sandbox-attacker"))
            .args(["--control", attack])
            .current_dir(&place)
            .stdin(Stdio::null())
            .envs(self.variables(self.outsider.id()))
            .env("TARGET_WORK", &tool)
            .env("TARGET_IN", self.inputs().join("tool"))
            .env("ATTACK_PLACE", &place)
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.code().unwrap_or(-1), seen)
    }

    pub(crate) fn supervisor(&self) -> Supervisor {
        let program = self.tools().join("sandbox-supervisor");
        Supervisor::start(sandbox::SupervisorOptions::new(program)).expect("a supervisor")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.outsider.kill();
        let _ = self.outsider.wait();
        let _ = sandbox::remove_layer(&self.place);
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A process that waits until it is killed: its standard input never ends.
fn outsider() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
