//! Environments in a virtual machine. One machine is booted for most of it: a boot takes many seconds
//! where KVM does not work.
#![allow(clippy::print_stdout, reason = "a test says how long a boot took")]
#![expect(clippy::unwrap_used, reason = "checks of a test are functions")]

mod common;
mod machine;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{eventually, is_root, quiet, skip};
use machine::{Place, boot, chain, namespace_members, qemu, qemu_process, run, sh, spec};
#[cfg(not(feature = "bpf-lsm"))]
use sandbox::vm::VmError;
use sandbox::vm::{Vm, VmEnvironment};
use sandbox::{ExecPolicy, ExitStatus, IsolationLevel};

/// A name with everything that means something to QEMU, mount options and shells.
const ODD: &str = "odd, name=x:y\\z 'q' \"d\" %s";

struct World<'a> {
    vm: &'a Vm,
    environment: &'a VmEnvironment,
    place: &'a Path,
}

#[test]
fn an_environment_in_a_machine_does_what_one_without_does() {
    let Some(qemu) = qemu() else {
        return;
    };
    let place = Place::new();
    let (base, frozen) = (place.0.join("base"), place.0.join("frozen"));
    let (inputs, outputs) = (place.0.join("in"), place.0.join("out"));
    for (folder, name, content) in [
        (&base, "file", "base\n"),
        (&base, "gone", "base\n"),
        (&frozen, "upper/over", "frozen\n"),
        (&inputs, "given", "input\n"),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(&outputs).unwrap();
    for folder in [&base, &frozen, &inputs] {
        sandbox::prepare_base(folder).unwrap();
    }
    let mut spec = spec("vm-all", Some(&base), &place.0.join(ODD).join("layer"));
    fs::create_dir(place.0.join(ODD)).unwrap();
    spec.environment.workspace.frozen = vec![frozen];
    spec.environment.inputs = Some(inputs);
    spec.environment.outputs = Some(outputs);
    spec.environment.program = Some(env!("CARGO_BIN_EXE_sandbox-supervisor").into());
    let started = Instant::now();
    let vm = boot(&qemu, &spec);
    println!("a guest serves after {:?}", started.elapsed());
    let environment = vm
        .environment()
        .unwrap_or_else(|error| panic!("{}\n{}", chain(&error), vm.console()));
    println!("its environment is ready after {:?}", started.elapsed());
    let world = World {
        vm: &vm,
        environment: &environment,
        place: &place.0,
    };
    type Check = fn(&World<'_>);
    let checks: [(&str, Check); 13] = [
        ("the report names level, layers and proof", report),
        ("files go both ways through the workspace", files),
        ("inputs, outputs and the program are there", exchange),
        ("steps end as they end", ends),
        ("much output and input arrive whole", much),
        ("a reader that does not read holds up nobody else", unread),
        ("a step is killed with all it started", killed),
        ("a timeout ends a step", timed_out),
        ("every escape attempt is refused", escapes),
        (
            "the machine has no network and its programs no rights",
            confined,
        ),
        ("environments in a guest are apart", apart),
        ("what is not acceptable is refused", refused),
        ("one step at a time", one_at_a_time),
    ];
    for (name, check) in checks {
        let started = Instant::now();
        check(&world);
        println!("{name}: {:?}", started.elapsed());
    }
    let (_, namespace) = qemu_process("vm-all").unwrap();
    assert!(namespace_members(&namespace).len() >= 2);
    let running = environment.exec(quiet("sleep 87101")).unwrap();
    vm.end();
    assert_eq!(running.wait().status, ExitStatus::EnvironmentGone);
    assert_eq!(namespace_members(&namespace), Vec::<String>::new());
    assert!(environment.exec(quiet("true")).is_err());
    drop(environment);
    resumed_without_a_machine(&spec.environment);
}

fn report(world: &World<'_>) {
    let report = world.environment.report();
    assert_eq!(report.level, IsolationLevel::L3);
    assert!(report.self_test.len() >= 17, "{report:?}");
    assert!(report.self_test.iter().all(|probe| probe.passed));
    for layer in [
        "virtual-machine",
        "overlay",
        "user",
        "pid",
        "net",
        "seccomp",
    ] {
        assert!(report.layers.iter().any(|name| name == layer), "{report:?}");
    }
    assert!(report.weaker[0].contains("KVM"), "{report:?}");
    let inside = sh(world.environment, "cat /proc/sys/kernel/osrelease").ok();
    assert_eq!(inside.trim(), world.vm.kernel());
    let host = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_ne!(inside, host, "the environment has the host's kernel");
}

fn files(world: &World<'_>) {
    let script = "cat file over; echo new >made; echo more >>file; rm gone; mkdir -p d/e; mv over d/e/; chmod 700 made; ln -s file link; ln made hard; setfattr -n user.x -v 1 made 2>/dev/null; ls";
    assert_eq!(
        sh(world.environment, script).ok(),
        "base\nfrozen\nd\nfile\nhard\nlink\nmade\n"
    );
    let upper = world.place.join(ODD).join("layer/upper");
    assert_eq!(fs::read_to_string(upper.join("made")).unwrap(), "new\n");
    assert_eq!(
        fs::read_to_string(upper.join("file")).unwrap(),
        "base\nmore\n"
    );
    assert_eq!(
        fs::read_to_string(world.place.join("base/file")).unwrap(),
        "base\n"
    );
    let meta = fs::metadata(upper.join("made")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o700);
    assert_eq!(meta.nlink(), 2);
    if is_root() {
        assert_eq!(meta.uid(), sandbox::SANDBOX_UID);
    }
    // The environment's user owns what is its own, and can use what it made.
    assert_eq!(
        sh(
            world.environment,
            "stat -c '%u %g' made file; cat made; rm -r d hard link"
        )
        .ok(),
        "0 0\n0 0\nnew\n"
    );
}

fn exchange(world: &World<'_>) {
    let script = "cat /nightcrew/in/given; echo result >/nightcrew/out/result; test -x /nightcrew/bin/nightcrew; echo x >/nightcrew/in/given";
    let ran = sh(world.environment, script);
    assert_eq!(ran.out, "input\n");
    assert!(
        ran.err.contains("Read-only") || ran.err.contains("denied"),
        "{ran:?}"
    );
    let result = world.place.join("out/result");
    assert_eq!(fs::read_to_string(result).unwrap(), "result\n");
    // What the host adds is seen.
    fs::write(world.place.join("out/late"), "late\n").unwrap();
    assert_eq!(
        sh(world.environment, "cat /nightcrew/out/late").ok(),
        "late\n"
    );
}

fn ends(world: &World<'_>) {
    let ran = sh(world.environment, "echo out; echo err >&2; exit 7");
    assert_eq!(
        (ran.code(), ran.out.as_str(), ran.err.as_str()),
        (7, "out\n", "err\n")
    );
    let ran = sh(world.environment, "kill -TERM $$");
    assert_eq!(ran.exit.status, ExitStatus::Signal(15));
    let mut absent = quiet("");
    absent.argv = vec!["no-such-program".to_owned()];
    assert_eq!(run(world.environment, absent).code(), 127);
    let mut given = quiet("pwd; echo \"$GIVEN\"; id -u; cat");
    given.cwd = Some("/tmp".to_owned());
    given.env = vec![("GIVEN".to_owned(), "a b\n=c".to_owned())];
    let (read, mut write) = std::io::pipe().unwrap();
    given.stdin = Some(read.into());
    write.write_all(b"from stdin").unwrap();
    drop(write);
    assert_eq!(
        run(world.environment, given).ok(),
        "/tmp\na b\n=c\n0\nfrom stdin"
    );
    // Longer than a message between guest and supervisor takes inline.
    let mut long = quiet("");
    long.argv = vec!["echo".to_owned(), "x".repeat(100_000)];
    assert_eq!(run(world.environment, long).ok().len(), 100_001);
}

fn much(world: &World<'_>) {
    let ran = sh(
        world.environment,
        "head -c 3000000 /dev/zero | tr '\\0' a; head -c 1000000 /dev/zero | tr '\\0' b >&2",
    );
    assert_eq!(
        (ran.code(), ran.out.len(), ran.err.len()),
        (0, 3_000_000, 1_000_000)
    );
    assert!(ran.out.bytes().all(|byte| byte == b'a'));
    let mut counting = quiet("wc -c");
    let (read, mut write) = std::io::pipe().unwrap();
    counting.stdin = Some(read.into());
    let feeder = std::thread::spawn(move || write.write_all(&vec![b'x'; 1_500_000]));
    assert_eq!(run(world.environment, counting).ok().trim(), "1500000");
    feeder.join().unwrap().unwrap();
}

fn unread(world: &World<'_>) {
    let other = world.vm.scratch("other", ExecPolicy::default()).unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let mut flood = quiet("yes");
    flood.stdout = write.into();
    let running = other.exec(flood).unwrap();
    assert_eq!(sh(world.environment, "echo on").ok(), "on\n");
    running.kill();
    // Ended although its output could not all be written.
    assert_eq!(running.wait().status, ExitStatus::Signal(9));
    drop(read);
}

fn killed(world: &World<'_>) {
    let (mut read, write) = std::io::pipe().unwrap();
    let mut long = quiet("sleep 87111 & sleep 87112 & echo started; wait");
    long.stdout = write.into();
    let running = world.environment.exec(long).unwrap();
    let mut line = [0; 8];
    std::io::Read::read_exact(&mut read, &mut line).unwrap();
    running.kill();
    assert_eq!(running.wait().status, ExitStatus::Signal(9));
    let left = sh(world.environment, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out;
    assert!(!left.contains("8711"), "{left}");
}

fn timed_out(world: &World<'_>) {
    let mut long = quiet("sleep 87121");
    long.timeout = Some(Duration::from_secs(2));
    let ran = run(world.environment, long);
    assert_eq!(ran.exit.status, ExitStatus::TimedOut);
}

fn escapes(world: &World<'_>) {
    for attempt in sandbox::escape_attempts() {
        let mut spec = quiet(attempt.script);
        spec.env = vec![("HOST_PID".to_owned(), "1".to_owned())];
        // Process 1 is the environment's own init; the guest's is another.
        if attempt.script.contains("HOST_PID") {
            spec.env[0].1 = "2".to_owned();
        }
        let ran = run(world.environment, spec);
        assert_ne!(ran.code(), 0, "{} escaped: {ran:?}", attempt.name);
        assert_ne!(ran.code(), 125, "{}: {ran:?}", attempt.name);
    }
}

fn confined(world: &World<'_>) {
    let (qemu, _) = qemu_process(world.environment.id()).unwrap();
    let devices = fs::read_to_string(format!("/proc/{qemu}/net/dev")).unwrap();
    assert_eq!(devices.lines().count(), 3, "only a loopback: {devices}");
    let status = fs::read_to_string(format!("/proc/{qemu}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    if is_root() {
        assert_ne!(field("Uid:"), "0");
    }
    let root = fs::read_dir(format!("/proc/{qemu}/root/")).unwrap();
    let names: Vec<_> = root.flatten().map(|entry| entry.file_name()).collect();
    assert!(
        !names.iter().any(|name| name == "root" || name == "home"),
        "{names:?}"
    );
}

fn apart(world: &World<'_>) {
    let other = world.vm.scratch("apart", ExecPolicy::default()).unwrap();
    assert_eq!(other.report().level, IsolationLevel::L3);
    sh(
        world.environment,
        "echo secret >/tmp/secret; echo secret >secret",
    )
    .ok();
    assert_eq!(sh(&other, "ls -A /tmp /work | grep secret").out, "");
    other.destroy().unwrap();
    let again = world.vm.scratch("apart", ExecPolicy::default()).unwrap();
    assert_eq!(sh(&again, "echo alive").ok(), "alive\n");
}

fn refused(world: &World<'_>) {
    let error = world
        .vm
        .scratch("not good", ExecPolicy::default())
        .unwrap_err();
    assert!(error.to_string().starts_with("`id` is not"), "{error}");
    let mut nul = quiet("true");
    nul.argv.push("a\0b".to_owned());
    let error = world.environment.exec(nul).unwrap_err();
    assert!(error.to_string().starts_with("`argv` is not"), "{error}");
    #[cfg(not(feature = "bpf-lsm"))]
    {
        let error = chain(&world.vm.attack_exec_control().unwrap_err());
        assert!(error.contains("without the feature"), "{error}");
        let error = world.environment.judge(&[([0; 32], None)]).unwrap_err();
        assert!(matches!(error, VmError::Guest { .. }), "{error}");
    }
}

fn one_at_a_time(world: &World<'_>) {
    let first = world.environment.exec(quiet("sleep 87131")).unwrap();
    let second = world.environment.exec(quiet("true")).unwrap();
    assert_eq!(second.wait().status, ExitStatus::EnvironmentGone);
    first.kill();
    assert_eq!(first.wait().status, ExitStatus::Signal(9));
}

/// A layer goes on in an environment of the host.
fn resumed_without_a_machine(spec: &sandbox::EnvironmentSpec) {
    let world = common::World::new();
    let environment = world.supervisor.create(spec).unwrap();
    assert_eq!(
        common::sh(&environment, "cat made file; ls gone").out,
        "new\nbase\nmore\n"
    );
}

#[test]
#[ignore = "needs a kernel with 9p, which Debian's for clouds has not: NIGHTCREW_TEST_KERNEL=folder"]
fn without_virtiofsd_folders_are_shared_by_9p() {
    let Some(mut qemu) = qemu() else {
        return;
    };
    qemu.virtiofsd = None;
    let place = Place::new();
    let base = place.0.join("base");
    fs::create_dir_all(&base).unwrap();
    fs::write(base.join("file"), "base\n").unwrap();
    sandbox::prepare_base(&base).unwrap();
    let vm = boot(&qemu, &spec("vm-9p", Some(&base), &place.0.join("layer")));
    let environment = vm.environment().unwrap();
    let weaker = &environment.report().weaker;
    assert!(weaker.iter().any(|line| line.contains("9p")), "{weaker:?}");
    let script =
        "cat file; echo more >>file; mkdir d; ln file d/hard; stat -c %u d/hard; rm d/hard; ls";
    assert_eq!(sh(&environment, script).ok(), "base\n0\nd\nfile\n");
    let upper = place.0.join("layer/upper/file");
    assert_eq!(fs::read_to_string(upper).unwrap(), "base\nmore\n");
}

#[test]
fn a_killed_qemu_ends_steps_and_leaves_nothing() {
    let Some(qemu) = qemu() else {
        return;
    };
    let place = Place::new();
    let vm = boot(&qemu, &spec("vm-killed", None, &place.0.join("layer")));
    let environment = vm.environment().unwrap();
    let running = environment.exec(quiet("sleep 87201")).unwrap();
    let (process, namespace) = qemu_process("vm-killed").unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-9", &process])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(running.wait().status, ExitStatus::EnvironmentGone);
    let error = match environment.exec(quiet("true")) {
        Err(error) => error,
        Ok(running) => {
            assert_eq!(running.wait().status, ExitStatus::EnvironmentGone);
            vm.scratch("more", ExecPolicy::default()).unwrap_err()
        }
    };
    assert!(error.to_string().contains("signal: 9"), "{error}");
    eventually("no process is left", || {
        namespace_members(&namespace).is_empty()
    });
}

#[test]
fn the_machine_ends_with_the_program_that_started_it() {
    let Some(qemu) = qemu() else {
        return;
    };
    let place = Place::new();
    let kernel = qemu.kernel.image;
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_sandbox-supervisor"))
        .arg("machine")
        .args([&place.0, &kernel])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = server.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "0 started\n");
    let (_, namespace) = qemu_process("machine").unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("no process is left", || {
        namespace_members(&namespace).is_empty()
    });
}

#[test]
fn an_ordinary_user_has_machines_too() {
    let Some(qemu) = qemu() else {
        return;
    };
    if !is_root() {
        return skip("the suite runs as an ordinary user already");
    }
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let program = place.path().join("sandbox-supervisor");
    common::copy_program(env!("CARGO_BIN_EXE_sandbox-supervisor"), &program);
    // Names and folders as an unpacked package has them, where that user can read them.
    let root = qemu.kernel.image.parent().unwrap().parent().unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", "--"])
        .arg(root)
        .arg(place.path().join("kernel"))
        .status();
    assert!(copied.unwrap().success());
    let output = std::process::Command::new("timeout")
        .args(["-k", "5", "240"])
        .args([
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ])
        .arg(&program)
        .arg("machine")
        .arg(place.path().join("work"))
        .arg(place.path().join("kernel"))
        .arg("once")
        .env("TMPDIR", place.path())
        .current_dir("/")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "0 started\n", "{output:?}");
    let made = place.path().join("work/layer/upper/made");
    assert_eq!(fs::metadata(made).unwrap().uid(), 65534);
}
