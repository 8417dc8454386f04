#![cfg(feature = "bpf-lsm")]
mod common;
use sandbox::vm::*;
use sandbox::*;
#[test]
fn first() {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("guest-kernel");
    let qemu = Qemu::find(env!("CARGO_BIN_EXE_sandbox-supervisor"), Some(&target)).unwrap();
    let place = tempfile::tempdir().unwrap();
    let spec = EnvironmentSpec::new(
        "vm-test",
        Workspace {
            base: None,
            layer: place.path().join("lay,er"),
        },
    );
    let t = std::time::Instant::now();
    println!("{:?}", sandbox::lsm::probe());
    let mut spec = VmSpec::new(spec);
    spec.exec_control = true;
    let vm = Vm::start(&qemu, &spec).unwrap_or_else(|e| {
        use std::error::Error;
        panic!("{e} {:?}", e.source())
    });
    println!("booted {:?}", t.elapsed());
    let probes = vm.attack_exec_control().unwrap_or_else(|e| {
        use std::error::Error;
        panic!("{e} {:?}", e.source())
    });
    for p in probes {
        println!("{:5} {:30} {}", p.passed, p.name, p.detail);
    }
    for d in vm.denials() {
        println!("{:?}", sandbox::lsm::Denial::decode(&d));
    }
    println!("{}", vm.console());
}
