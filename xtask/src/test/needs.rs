//! Programs that tests start: installed where this may be done, named where not.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use testkit::browser::Browser;
use testkit::postgres;

use crate::shell::{on_path, run, say};

/// Programs, their Debian packages, and what they are for.
struct Need {
    /// Asks as the tests do, so that what is called present here is never missed there.
    there: fn() -> bool,
    packages: &'static [&'static str],
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        there: || on_path("git"),
        packages: &["git"],
        why: "repositories of the tests",
    },
    Need {
        there: postgres::is_installed,
        packages: &["postgresql"],
        why: "the store's tests start a throw-away server",
    },
    Need {
        there: || Browser::programs().is_some(),
        // Debian's browser comes without the program that drives it.
        packages: &["chromium", "chromium-driver"],
        why: "the console is tested in a browser",
    },
    Need {
        there: has_machines,
        packages: &["qemu-system-x86"],
        why: "environments in virtual machines",
    },
    // A package of its own from Debian 13 on; in Debian 12 it comes with the one above.
    Need {
        there: || has_virtiofsd() || !is_package("virtiofsd"),
        packages: &["virtiofsd"],
        why: "folders shared with virtual machines",
    },
    Need {
        there: can_build_exec_control,
        packages: &["clang", "libbpf-dev", "libelf-dev", "zlib1g-dev", "pkgconf"],
        why: "exec control in the kernel is written in C",
    },
    Need {
        there: || on_path("busybox"),
        packages: &["busybox-static"],
        why: "a shell that an image of the tests can hold",
    },
    Need {
        there: || has_tool("mkfs.btrfs"),
        packages: &["btrfs-progs"],
        why: "snapshots and quotas are tested on btrfs",
    },
    Need {
        there: || has_tool("mkfs.xfs"),
        packages: &["xfsprogs"],
        why: "snapshots are tested on xfs",
    },
    Need {
        there: has_node,
        packages: &["nodejs", "npm"],
        why: "attacks by node's interpreter, and the coding agent that tries its forbidden npx",
    },
    Need {
        there: || Path::new("/usr/bin/python3").is_file(),
        packages: &["python3"],
        why: "attacks by python's interpreter, and the scripted model of the coding agent",
    },
];

/// Installs what is missing when this is root on a Debian-like system; lines about what stays missing.
pub(super) fn provide() -> Result<Vec<String>> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.there)()).collect();
    if missing.is_empty() {
        let packages: Vec<&str> = NEEDS
            .iter()
            .flat_map(|need| need.packages.iter().copied())
            .collect();
        say(format!(
            "Nothing needs to be installed, these are here: {}.",
            packages.join(", ")
        ));
        return Ok(Vec::new());
    }
    if nix::unistd::geteuid().is_root() && on_path("apt-get") {
        install(&missing)?;
    }
    let absent = missing.iter().filter(|need| !(need.there)());
    let lines: Vec<String> = absent.map(|need| absence(need)).collect();
    lines.iter().for_each(say);
    Ok(lines)
}

/// Whether the feature `bpf-lsm` of the sandbox can be built here.
pub(super) fn can_build_exec_control() -> bool {
    on_path("clang")
        && on_path("pkg-config")
        && ["bpf/bpf_helpers.h", "libelf.h", "zlib.h"]
            .iter()
            .all(|header| Path::new("/usr/include").join(header).exists())
}

/// Where the sandbox looks for QEMU.
fn has_machines() -> bool {
    ["/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join("qemu-system-x86_64").is_file())
}

/// Where environments show it: a node of somebody's home is not seen inside.
fn has_node() -> bool {
    ["node", "npm", "npx"]
        .iter()
        .all(|program| Path::new("/usr/bin").join(program).exists())
}

fn has_virtiofsd() -> bool {
    ["/usr/libexec", "/usr/lib", "/usr/lib/qemu"]
        .iter()
        .any(|folder| Path::new(folder).join("virtiofsd").is_file())
}

/// Whether this distribution has a package of this name.
fn is_package(name: &str) -> bool {
    let shown = Command::new("apt-cache").args(["show", name]).output();
    shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn absence(need: &Need) -> String {
    format!(
        "SKIP {} is not installed ({}); as root: apt-get install {}",
        need.packages.join(" with "),
        need.why,
        need.packages.join(" ")
    )
}

fn install(missing: &[&Need]) -> Result<()> {
    for need in missing {
        say(format!(
            "Installing from Debian: {} ({}).",
            need.packages.join(" "),
            need.why
        ));
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(std::process::Stdio::null());
        run(&mut command)
    };
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages.iter().copied())
        .collect();
    let arguments = [
        &["install", "--yes", "--no-install-recommends"],
        packages.as_slice(),
    ]
    .concat();
    // Package lists may be absent or old: they are fetched once, and a refusal shows below.
    let _ = apt(&["update"])?;
    if !apt(&arguments)? {
        say(format!("apt-get could not install {}", packages.join(" ")));
    }
    Ok(())
}

/// Tools of the administrator are not on everybody's path.
fn has_tool(name: &str) -> bool {
    let folders = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    on_path(name) || folders.iter().any(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_is_missing_names_the_package_of_its_driver_too() {
        let lines: Vec<String> = NEEDS.iter().map(absence).collect();
        let cure = "apt-get install chromium chromium-driver";
        assert!(lines.iter().any(|line| line.ends_with(cure)), "{lines:?}");
    }
}
