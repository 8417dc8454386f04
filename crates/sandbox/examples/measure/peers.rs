//! The same for bubblewrap, crun and runc, as far as each can.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{World, is_root};

/// Runs `/bin/true` in bubblewrap with all namespaces and no capabilities; false where it is absent.
/// It has no overlay here (its version may lack it), no seccomp filter, no Landlock and no self-test.
pub(crate) fn bubblewrap(base: &Path) -> bool {
    let status = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--new-session"])
        .args(["--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"])
        .args([
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/lib",
            "/lib",
        ])
        .args(["--symlink", "usr/lib64", "/lib64", "--proc", "/proc"])
        .args(["--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home/agent"])
        .args(["--tmpfs", "/run", "--ro-bind"])
        .arg(base)
        .args(["/work", "--chdir", "/work", "/bin/true"])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// An OCI bundle for one runtime.
pub(crate) struct Bundle {
    runtime: &'static str,
    folder: PathBuf,
    arguments: Vec<&'static str>,
}

impl Bundle {
    pub(crate) fn name(&self) -> &'static str {
        self.runtime
    }

    pub(crate) fn run(&self) -> bool {
        let status = Command::new(self.runtime)
            .args(&self.arguments)
            .args(["run", "--bundle"])
            .arg(&self.folder)
            .arg(format!("nightcrew-measure-{}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

/// Bundles of the runtimes that are installed and run here.
pub(crate) fn bundles(world: &World, base: &Path) -> Vec<Bundle> {
    if !is_root() {
        return Vec::new();
    }
    [
        ("crun", vec!["--cgroup-manager=disabled"]),
        ("runc", Vec::new()),
    ]
    .into_iter()
    .filter_map(|(runtime, arguments)| {
        let folder = world.place.path().join(format!("bundle-{runtime}"));
        let root = folder.join("rootfs");
        for name in ["usr", "proc", "dev", "tmp", "work", "run", "home"] {
            std::fs::create_dir_all(root.join(name)).expect("a folder");
        }
        for name in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).expect("a link");
        }
        std::fs::write(folder.join("config.json"), configuration(base)).expect("a file");
        let bundle = Bundle {
            runtime,
            folder,
            arguments,
        };
        bundle.run().then_some(bundle)
    })
    .collect()
}

fn configuration(base: &Path) -> String {
    let bind = |from: &str, to: &str| {
        serde_json::json!({"destination": to, "source": from, "type": "bind",
            "options": ["rbind", "ro", "nosuid", "nodev"]})
    };
    let memory = |to: &str| {
        serde_json::json!({"destination": to, "source": "tmpfs", "type": "tmpfs",
            "options": ["nosuid", "nodev", "mode=755"]})
    };
    let namespaces: Vec<_> = ["pid", "network", "ipc", "uts", "mount"]
        .iter()
        .map(|kind| serde_json::json!({"type": kind}))
        .collect();
    serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"],
            "env": ["PATH=/usr/bin:/bin"], "cwd": "/work", "noNewPrivileges": true,
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "environment",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "mode=755"]},
            memory("/tmp"), memory("/run"), memory("/home"),
            bind("/usr", "/usr"), bind(&base.to_string_lossy(), "/work"),
        ],
        "linux": {"namespaces": namespaces},
    })
    .to_string()
}
