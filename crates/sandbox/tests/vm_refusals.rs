//! Virtual machines that cannot be: what is missing, guests that do not come up, KVM that does not work.
#![allow(clippy::print_stdout, reason = "a test says what was found")]

mod common;
mod machine;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::skip;
use machine::{Place, qemu, qemu_process, spec};
use sandbox::vm::{Vm, VmError, vm_preflight};
use sandbox::{ExecMode, SandboxError};

#[test]
fn a_guest_that_does_not_come_up_is_explained() {
    let Some(qemu) = qemu() else {
        return;
    };
    let place = Place::new();
    let spec = spec("vm-broken", None, &place.0.join("layer"));
    // No program of ours: it ends, and the kernel with it.
    let mut other = qemu.clone();
    other.guest = "/bin/true".into();
    match Vm::start(&other, &spec) {
        Err(VmError::Panic { message }) => assert!(message.contains("init"), "{message}"),
        other => panic!("{other:?}"),
    }
    // No kernel gets this far in so short a time.
    let mut hurried = qemu.clone();
    hurried.boot = Duration::from_millis(300);
    match Vm::start(&hurried, &spec) {
        Err(VmError::Silent { what, .. }) => assert_eq!(what, "start"),
        other => panic!("{other:?}"),
    }
    // A kernel that is only the beginning of one.
    let mut short = qemu.clone();
    let whole = fs::read(&qemu.kernel.image).unwrap();
    short.kernel.image = place.0.join("vmlinuz-short");
    fs::write(&short.kernel.image, &whole[..whole.len() / 4]).unwrap();
    short.boot = Duration::from_secs(10);
    let error = Vm::start(&short, &spec).unwrap_err();
    assert!(
        matches!(
            error,
            VmError::Panic { .. } | VmError::Silent { .. } | VmError::Ended { .. }
        ),
        "{error}"
    );
    let mut small = spec.clone();
    small.memory_mib = 32;
    let error = Vm::start(&qemu, &small).unwrap_err();
    assert!(
        error.to_string().starts_with("`memory_mib` is not"),
        "{error}"
    );
    let mut judged = spec.clone();
    judged.environment.exec.mode = ExecMode::DenyList;
    let error = Vm::start(&qemu, &judged).unwrap_err();
    assert!(
        error.to_string().starts_with("`exec.mode` is not"),
        "{error}"
    );
    let mut shown = spec;
    shown.environment.home = Some(shown.environment.workspace.clone());
    match Vm::start(&qemu, &shown) {
        Err(VmError::Environment(SandboxError::InvalidSpec { field, .. })) => {
            assert_eq!(field, "home");
        }
        other => panic!("{other:?}"),
    }
    assert!(qemu_process("vm-broken").is_none());
}

#[test]
fn what_is_missing_is_found_with_its_cure() {
    let place = Place::new();
    let findings = vm_preflight(
        Path::new(env!("CARGO_BIN_EXE_sandbox-supervisor")),
        Some(&place.0),
        None,
    );
    let names: Vec<&str> = findings
        .iter()
        .map(|finding| finding.name.as_str())
        .collect();
    assert_eq!(names, ["vm-qemu", "vm-kernel", "vm-kvm"]);
    assert!(!findings[1].ok);
    assert!(findings[1].cure.contains("linux-image-cloud-amd64"));
}

#[test]
fn the_answer_about_kvm_is_found_by_trying_and_remembered() {
    let Some(qemu) = qemu() else {
        return;
    };
    if !Path::new("/dev/kvm").exists() {
        return skip("this host has no /dev/kvm to try");
    }
    let place = Place::new();
    let memory = place.0.join("kvm");
    let mut first = qemu.clone();
    let started = Instant::now();
    let found = first.try_kvm(Some(&memory));
    println!("KVM: {found:?} after {:?}", started.elapsed());
    assert_eq!(first.kvm, found.ok);
    assert_eq!(found.ok, found.cause.is_empty());
    let started = Instant::now();
    let mut second = qemu;
    assert_eq!(second.try_kvm(Some(&memory)), found);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "it was tried again"
    );
}
