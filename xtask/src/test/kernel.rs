//! A kernel for the guests of tests: Debian's for clouds, unpacked below the build folder and never
//! installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{must, on_path, output, say, target_dir};

/// Provides the kernel; a line about it when there is none.
pub(super) fn provide() -> Result<Option<String>> {
    let place = target_dir().join("guest-kernel");
    if has_kernel(&place) || std::env::var_os("NIGHTCREW_TEST_KERNEL").is_some() {
        return Ok(None);
    }
    let unpacked = unpack(&place).or_else(|error| {
        if !nix::unistd::geteuid().is_root() {
            return Err(error);
        }
        // The lists may be absent, or older than what the archive still has.
        let _ = must(Command::new("apt-get").args(["-qq", "update"]));
        unpack(&place)
    });
    if let Err(error) = unpacked {
        let line = format!(
            "SKIP no kernel for virtual machines ({error:#}); unpack a package linux-image-*-cloud-amd64 (dpkg -x) and name the folder in NIGHTCREW_TEST_KERNEL"
        );
        say(&line);
        return Ok(Some(line));
    }
    Ok(None)
}

fn has_kernel(place: &Path) -> bool {
    fs::read_dir(place.join("boot")).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
    })
}

fn unpack(place: &Path) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg"] {
        ensure!(on_path(program), "{program} is not there");
    }
    let package = newest()?;
    say(format!(
        "Downloading the Debian package {package}, a kernel for virtual machines of tests (about 35 MB)."
    ));
    let download = tempfile::tempdir().context("make a temporary folder")?;
    must(
        Command::new("apt-get")
            .args(["-qq", "download", &package])
            .current_dir(download.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let archive = fs::read_dir(download.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("nothing was downloaded")?;
    // Complete, or absent: a folder that is there is taken as it is.
    let unpacked = PathBuf::from(format!("{}.part", place.display()));
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked)?;
    must(Command::new("dpkg").arg("-x").args([&archive, &unpacked]))?;
    let _ = fs::remove_dir_all(place);
    fs::rename(&unpacked, place).context("put the kernel in its place")
}

/// The newest kernel of the cloud flavour that the package lists know.
fn newest() -> Result<String> {
    let listed = output(Command::new("apt-cache").args([
        "search",
        "--names-only",
        "^linux-image-[0-9].*-cloud-amd64$",
    ]))?;
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("linux-image-") && name.ends_with("-cloud-amd64"))
        // Names without a build number are those of packages that contain nothing.
        .filter(|name| numbers(name).len() > 3)
        .max_by_key(|name| numbers(name))
        .map(str::to_owned)
        .context("the package lists know none; as root: apt-get update")
}

fn numbers(name: &str) -> Vec<u64> {
    name.trim_end_matches("-cloud-amd64")
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
