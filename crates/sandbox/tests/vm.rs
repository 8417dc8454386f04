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
    let vm = Vm::start(&qemu, &VmSpec::new(spec)).unwrap_or_else(|e| {
        use std::error::Error;
        panic!("{e} {:?}", e.source())
    });
    println!("booted {:?}", t.elapsed());
    let environment = vm.environment(None).unwrap_or_else(|e| {
        use std::error::Error;
        panic!("{e} {:?}\n{}", e.source(), vm.console())
    });
    println!("env {:?} {:#?}", t.elapsed(), environment.report());
    println!("{}", vm.console());
}
