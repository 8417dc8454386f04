//! `cargo xtask dist`: one static program with its checksum.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::shell::{cargo, must, output, root, say, target_dir};

/// What to build for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder for the program
    #[arg(long, default_value = "dist")]
    out: String,
}

/// Builds it. glibc linked in statically: what it cannot do without its shared parts is looking
/// up users and hosts by name, and Nightcrew only speaks to addresses.
pub(crate) fn execute(options: &Options) -> Result<bool> {
    let host = output(
        Command::new("rustc")
            .args(["--version", "--verbose"])
            .current_dir(root()),
    )?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    say(format!("building a static release program for {host} …"));
    let target = target_dir().join("dist");
    let mut build = cargo(&[
        "build",
        "--release",
        "--quiet",
        "-p",
        "nightcrew",
        "--target",
        host,
    ]);
    build
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    must(&mut build)?;
    let built = target.join(host).join("release/nightcrew");
    let bytes = std::fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    ensure!(
        !has_interpreter(&bytes),
        "the program is not static: it names a dynamic loader"
    );
    let folder = root().join(&options.out);
    std::fs::create_dir_all(&folder)?;
    let name = format!("nightcrew-{host}");
    std::fs::copy(&built, folder.join(&name))?;
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    std::fs::write(
        folder.join(format!("{name}.sha256")),
        format!("{sum}  {name}\n"),
    )?;
    say(format!(
        "{}/{name}: {} KiB, SHA-256 {sum}",
        options.out,
        bytes.len() / 1024
    ));
    say(format!(
        "check with: cd {} && sha256sum -c {name}.sha256",
        options.out
    ));
    Ok(true)
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` segment (ELF-64 object file format).
fn has_interpreter(bytes: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let part = bytes.get(at..at + length).unwrap_or_default();
        part.iter()
            .rev()
            .fold(0_usize, |value, byte| (value << 8) | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(table + index * size, 4) == 3)
}
