//! Compiles the kernel's part of exec control, when it is wanted; otherwise does nothing.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SOURCE: &str = "bpf/exec.bpf.c";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_BPF_LSM").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-changed={SOURCE}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("exec.bpf.o");
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let target = match machine.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => other,
    };
    // The same source gives the same bytes wherever it lies: relative path, no debug paths.
    let status = Command::new("clang")
        .args([
            "-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-mcpu=v3",
        ])
        .args(["-fdebug-compilation-dir", ".", "-c", SOURCE])
        .arg(format!("-D__TARGET_ARCH_{target}"))
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .arg("-o")
        .arg(&out)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => fail(&format!("clang could not compile {SOURCE} ({status})")),
        Err(error) => fail(&format!("clang cannot be started ({error})")),
    }
}

fn fail(what: &str) -> ExitCode {
    println!(
        "cargo::error={what}; the feature bpf-lsm needs clang, libbpf-dev, libelf-dev and zlib1g-dev"
    );
    ExitCode::FAILURE
}
