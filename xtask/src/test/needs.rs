//! Programs that tests start: installed where this may be done, named where not.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell::{on_path, run, say};

/// A program, its Debian package, and what it is for.
struct Need {
    there: fn() -> bool,
    package: &'static str,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        there: || on_path("git"),
        package: "git",
        why: "repositories of the tests",
    },
    Need {
        there: has_postgres,
        package: "postgresql",
        why: "the store's tests start a throw-away server",
    },
    Need {
        there: || on_path("chromium"),
        package: "chromium",
        why: "the console is tested in a browser",
    },
    Need {
        there: || on_path("busybox"),
        package: "busybox-static",
        why: "a shell that an image of the tests can hold",
    },
];

/// Installs what is missing when this is root on a Debian-like system; lines about what stays missing.
pub(super) fn provide() -> Result<Vec<String>> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.there)()).collect();
    if missing.is_empty() {
        say("Nothing needs to be installed: git, PostgreSQL and Chromium are here.");
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

fn absence(need: &Need) -> String {
    format!(
        "SKIP {} is not installed ({}); as root: apt-get install {}",
        need.package, need.why, need.package
    )
}

fn install(missing: &[&Need]) -> Result<()> {
    for need in missing {
        say(format!(
            "Installing the Debian package {}: {}.",
            need.package, need.why
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
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
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

fn has_postgres() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let debian = versions
        .map(|entry| entry.path().join("bin/initdb"))
        .any(|path| Path::is_file(&path));
    (debian || on_path("initdb")) && on_path("psql")
}
