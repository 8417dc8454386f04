//! Second walls: Landlock, the system call filter's arguments, W^X, noexec, masks; and that the
//! launcher gives nothing of itself away.

mod common;

use std::os::unix::fs::symlink;

use common::{Ran, World, quiet, run, sh, skip};
use sandbox::{Environment, ExecMode, ExitStatus, SandboxError};

/// Runs a perl program, whose `syscall` reaches what no shell does.
fn perl(environment: &Environment, program: &str) -> Ran {
    let mut step = quiet("");
    step.argv = ["perl", "-e", program].map(str::to_owned).to_vec();
    run(environment, step)
}

fn in_mode(world: &World, name: &str, mode: ExecMode) -> Environment {
    let mut spec = world.spec(name, None);
    let out = world.place.join(format!("out-{name}"));
    std::fs::create_dir(&out).expect("a folder");
    spec.outputs = Some(out);
    spec.exec.mode = mode;
    world.supervisor.create(&spec).expect("an environment")
}

/// Folders that steps write to.
const WRITABLE: [&str; 6] = [
    "/work",
    "/tmp",
    "/run",
    "/dev/shm",
    "/home/agent",
    "/nightcrew/out",
];

#[test]
fn landlock_is_enforced_and_its_version_reported() {
    let world = World::new();
    let environment = world.empty("landlock");
    let report = environment.report();
    if !report.layers.iter().any(|layer| layer == "landlock") {
        assert!(
            report.weaker.iter().any(|line| line.contains("Landlock")),
            "{report:?}"
        );
        return skip("this kernel has no Landlock");
    }
    let probe = report
        .self_test
        .iter()
        .find(|probe| probe.name == "landlock-enforced")
        .unwrap();
    assert!(probe.detail.starts_with("EACCES, version "), "{probe:?}");
    // The owner and the mount of these permit it.
    for file in ["comm", "oom_score_adj", "coredump_filter"] {
        let ran = sh(&environment, &format!("echo 0 >/proc/self/{file}"));
        assert!(ran.err.contains("Permission denied"), "{file}: {ran:?}");
    }
}

#[test]
fn everyday_work_with_files_goes_on_under_landlock() {
    let world = World::new();
    let environment = in_mode(&world, "everyday", ExecMode::Off);
    for folder in WRITABLE {
        let script = format!(
            "cd {folder} && mkdir -p a/b && echo 1 >a/one && ln -s one a/link && ln a/one a/hard && \
             mv a/one a/b/two && echo 2 >>a/b/two && cat a/hard && mkfifo a/pipe && : >a/hard && \
             cp /bin/true a/true && a/true && rm -r a && echo fine >/dev/null && head -c1 /dev/zero | wc -c"
        );
        let ran = sh(&environment, &script);
        assert_eq!(ran.out, "1\n2\n1\n", "{folder}: {ran:?}");
    }
    let script = "exec 5>&1; echo by number >/dev/fd/5; echo to out >/dev/stdout";
    assert_eq!(sh(&environment, script).ok(), "by number\nto out\n");
}

#[test]
fn nothing_writable_executes_in_strict_mode_and_interpreters_still_read() {
    let world = World::new();
    let environment = in_mode(&world, "strict", ExecMode::Strict);
    for folder in WRITABLE {
        let script = format!(
            "cp /bin/true {folder}/copy; printf '#!/bin/sh\\necho ran\\n' >{folder}/script; \
             chmod +x {folder}/copy {folder}/script; \
             {folder}/copy; echo $?; {folder}/script; echo $?; \
             for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1; do \
                 [ -e $loader ] && $loader {folder}/copy; echo $?; done 2>/dev/null; sh {folder}/script"
        );
        let ran = sh(&environment, &script);
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines[..2], ["126", "126"], "{folder}: {ran:?}");
        assert!(!lines[2..4].contains(&"0"), "{folder}: {ran:?}");
        assert_eq!(lines[4], "ran", "{folder}: {ran:?}");
        assert!(ran.err.contains("Permission denied"), "{folder}: {ran:?}");
    }
    // The root's own programs are not among them.
    let script = "git --version >/dev/null && perl -e 'print 6*7' && awk 'BEGIN{print 1}'";
    assert_eq!(sh(&environment, script).ok(), "421\n");
}

#[test]
fn unknown_content_executes_neither_in_allow_list_mode() {
    let world = World::new();
    let environment = in_mode(&world, "allow", ExecMode::AllowList);
    for folder in WRITABLE {
        let script = format!(
            "printf '#!/bin/sh\\necho ran\\n' >{folder}/script; chmod +x {folder}/script; {folder}/script"
        );
        let ran = sh(&environment, &script);
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (ExitStatus::Code(126), ""),
            "{folder}: {ran:?}"
        );
    }
}

#[test]
fn memory_that_was_writable_becomes_executable_only_outside_of_strict_mode() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the system call numbers of this test are of x86_64");
    }
    // mmap(RW), mprotect(RX); mmap(RWX); what a child process of it can do.
    let program = "my $page = syscall(9, 0, 4096, 3, 0x22, -1, 0); \
                   print syscall(10, $page, 4096, 5) == 0 ? 'gained ' : 'kept '; \
                   print syscall(9, 0, 4096, 7, 0x22, -1, 0) == -1 ? 'refused' : 'both';";
    let twice = format!("{program} $| = 1; print ' '; exec 'perl', '-e', q{{{program}}}");
    let world = World::new();
    for (mode, expected) in [
        (ExecMode::Off, "gained both gained both"),
        (ExecMode::Strict, "kept refused kept refused"),
    ] {
        let environment = in_mode(&world, &format!("{mode:?}").to_lowercase(), mode);
        let wx = environment
            .report()
            .layers
            .iter()
            .any(|layer| layer == "wx");
        if mode == ExecMode::Strict && !wx {
            assert!(
                environment
                    .report()
                    .weaker
                    .iter()
                    .any(|line| line.contains("executable"))
            );
            return skip("this kernel has no PR_SET_MDWE");
        }
        assert_eq!(perl(&environment, &twice).ok(), expected, "{mode:?}");
    }
}

#[test]
fn calls_that_no_step_needs_are_refused_live() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the system call numbers of this test are of x86_64");
    }
    let world = World::new();
    let environment = world.empty("calls");
    // Number, arguments, errno.
    let calls: &[(&str, &str, i32)] = &[
        ("memfd_create", "319, $name, 0", 1),
        ("memfd_secret", "447, 0", 1),
        ("io_uring_setup", "425, 1, 0", 1),
        ("userfaultfd", "323, 0", 1),
        ("bpf", "321, 0, 0, 0", 1),
        ("perf_event_open", "298, 0, 0, -1, -1, 0", 1),
        ("ptrace", "101, 0, 0, 0, 0", 1),
        ("keyctl", "250, 0, 0, 0", 1),
        ("unshare", "272, 0x10000000", 1),
        ("clone with CLONE_NEWUSER", "56, 0x10000011, 0, 0, 0, 0", 1),
        ("clone3", "435, 0, 0", 38),
        ("open_tree", "428, -100, $name, 0", 1),
        ("open_tree_attr", "467, -100, $name, 0, 0, 0", 1),
        ("move_mount", "429, 0, $name, 0, $name, 0", 1),
        ("personality(ADDR_NO_RANDOMIZE)", "135, 0x40000", 1),
        ("prctl(PR_SET_MM)", "157, 35, 0, 0, 0, 0", 1),
        ("seccomp with a listener", "317, 1, 8, 0", 1),
        ("socket(AF_VSOCK)", "41, 40, 1, 0", 97),
        ("socket(AF_ALG)", "41, 38, 5, 0", 97),
        ("socket(AF_PACKET)", "41, 17, 3, 0", 97),
        ("socket(SOCK_RAW)", "41, 2, 3, 1", 1),
        ("socketpair(AF_TIPC)", "53, 30, 5, 0, 0", 97),
        ("SCTP", "41, 2, 1, 132", 93),
        ("the future", "470, 0", 38),
        ("x32", "0x40000001, 1, 0, 0", 38),
        ("modify_ldt", "154, 0, 0, 0", 1),
        ("name_to_handle_at", "303, -100, $name, 0, 0, 0", 1),
        ("fanotify_init", "300, 0, 0", 1),
        ("reboot", "169, 0, 0, 0, 0", 1),
    ];
    for (name, arguments, errno) in calls {
        let program = format!("my $name = 'x'; print syscall({arguments}), q( ), $! + 0;");
        let ran = perl(&environment, &program).ok();
        assert_eq!(ran, format!("-1 {errno}"), "{name}");
    }
}

#[test]
fn no_program_takes_on_its_owner_and_ordinary_tools_do_their_work() {
    let world = World::new();
    let environment = world.empty("modes");
    let ran = sh(&environment, "touch f; chmod u+s f; stat -c %a f");
    assert!(ran.err.contains("Operation not permitted"), "{ran:?}");
    assert_eq!(ran.out, "644\n");
    // A folder that hands on its group, in all the ways that tools make one.
    let tools = "set -e
        git init -q --shared=group repository
        cd repository
        git config user.name a; git config user.email a@b
        mkdir -p deep/er; echo one >deep/er/one; git add .; git commit -qm one; git gc -q
        git clone -q . ../clone
        cd ..
        mkdir shared; chmod 2775 shared; echo two >shared/two; chmod 755 shared/two
        install -m 755 shared/two shared/three
        tar cpf all.tar repository shared; mkdir out; tar xpf all.tar -C out
        cp -a shared again
        perl -e 'open F, \">made\"; chmod 01777, \"out\"; mkdir \"x\", 0777'
        stat -c %a shared out/shared again out again/two";
    let ran = sh(&environment, tools).ok();
    assert_eq!(ran, "2775\n2775\n2775\n1777\n755\n");
}

#[test]
fn what_speaks_for_the_machine_is_masked_or_read_only() {
    let world = World::new();
    let environment = world.empty("masks");
    let script = "for f in interrupts kcore keys key-users kmsg latency_stats sched_debug \
                  sysrq-trigger timer_list timer_stats; do \
                  [ ! -e /proc/$f ] || [ \"$(head -c1 /proc/$f 2>/dev/null | wc -c)\" = 0 ] || echo $f; done; \
                  for d in acpi asound scsi; do ls -A /proc/$d 2>/dev/null; done; ls -A /sys";
    assert_eq!(sh(&environment, script).out, "");
    for place in ["bus", "fs", "irq", "sys"] {
        let script = format!("grep -c '^[^ ]* /proc/{place} [^ ]* ro,' /proc/self/mounts");
        let exists = std::path::Path::new("/proc").join(place).exists();
        let expected = if exists { "1\n" } else { "0\n" };
        assert_eq!(sh(&environment, &script).out, expected, "{place}");
    }
    for file in [
        "sys/kernel/core_pattern",
        "sysrq-trigger",
        "sys/vm/drop_caches",
    ] {
        let ran = sh(&environment, &format!("echo x >/proc/{file}"));
        assert_ne!(ran.status, ExitStatus::Code(0), "{file}: {ran:?}");
    }
    // No mount inside makes devices work or set-user-id programs count.
    let script = "grep -v ' /dev/' /proc/self/mounts | grep -cv 'nosuid,nodev'; \
                  grep ' /dev/' /proc/self/mounts | grep -cv nosuid";
    let ran = sh(&environment, script).out;
    assert_eq!(
        ran,
        "0\n0\n",
        "{}",
        sh(&environment, "cat /proc/self/mounts").out
    );
}

#[test]
fn the_launchers_own_program_cannot_be_opened_from_inside() {
    let world = World::new();
    let mut spec = world.spec("overwrite", None);
    spec.program = Some(common::supervisor_program());
    let environment = world.supervisor.create(&spec).unwrap();
    // CVE-2019-5736: the init is a clone of the supervisor, whose file it executes.
    let program = r"
        for my $path ('/proc/1/exe', '/proc/1/root', '/proc/1/cwd', '/proc/1/mem', '/proc/1/environ',
                      '/proc/1/maps', glob('/proc/1/fd/*'), glob('/proc/1/task/1/exe')) {
            print qq(read $path\n) if open my $file, '<', $path;
            print qq(write $path\n) if open my $file, '+<', $path;
            print qq(link $path\n) if defined readlink $path;
        }
        print qq(list\n) if opendir my $folder, '/proc/1/fd';
    ";
    assert_eq!(perl(&environment, program).ok(), "");
    // Its own copy inside is the host's file: readable, executable, never writable.
    let script = "/nightcrew/bin/nightcrew; echo $?; for way in /nightcrew/bin/nightcrew; do \
                  (echo x >>$way) 2>/dev/null && echo written; rm -f $way 2>/dev/null && echo removed; done; \
                  perl -e 'open my $f, q(<), q(/nightcrew/bin/nightcrew); \
                  open(my $g, q(+<), q(/proc/self/fd/) . fileno($f)) and print q(reopened)'";
    assert_eq!(sh(&environment, script).out, "0\n");
}

#[test]
fn no_descriptor_of_the_init_is_a_way_to_the_host() {
    let world = World::new();
    let environment = world.empty("descriptors");
    // CVE-2024-21626: a step that starts in a folder by the number of a leaked descriptor.
    for number in 0..64 {
        let mut step = quiet("pwd -P; ls /root /proc/1/root");
        step.cwd = Some(format!("/proc/self/fd/{number}"));
        let ran = run(&environment, step);
        assert_eq!(ran.status, ExitStatus::Code(125), "{number}: {ran:?}");
    }
    let mut step = quiet("pwd -P");
    step.cwd = Some("/proc/1/cwd".to_owned());
    assert_eq!(run(&environment, step).status, ExitStatus::Code(125));
}

#[test]
fn a_layer_whose_folders_became_links_leads_nowhere() {
    let world = World::new();
    let outside = world.place.join("outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["upper", "work"] {
        let spec = world.spec(&format!("linked-{name}"), None);
        std::fs::create_dir(&spec.workspace.layer).unwrap();
        symlink(&outside, spec.workspace.layer.join(name)).unwrap();
        match world.supervisor.create(&spec) {
            Err(error) => assert!(matches!(error, SandboxError::Setup { .. }), "{error}"),
            // The overlay's own folder is made anew each time.
            Ok(environment) if name == "work" => drop(sh(&environment, "echo >file")),
            Ok(_) => panic!("a link was followed"),
        }
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_link_planted_by_a_step_leads_nowhere_when_its_layer_is_used_again() {
    let world = World::new();
    let spec = world.spec("planted", None);
    let environment = world.supervisor.create(&spec).unwrap();
    sh(
        &environment,
        "ln -s / root; ln -s /proc/self/root up; mkdir d; ln -s ../../../../.. d/far",
    )
    .ok();
    environment.destroy().unwrap();
    let environment = world.supervisor.create(&spec).unwrap();
    let ran = sh(
        &environment,
        "ls root/root up/root d/far/root; ls root | tr '\\n' ' '",
    );
    assert!(
        !ran.out.contains("boot") && ran.out.contains("work"),
        "{ran:?}"
    );
}

#[test]
fn the_filter_holds_for_threads_and_children_of_children() {
    let world = World::new();
    let environment = world.empty("inherited");
    let script = "sh -c 'sh -c \"grep -h ^Seccomp: /proc/self/status; \
                  grep -h ^NoNewPrivs /proc/self/status\"'";
    assert_eq!(
        sh(&environment, script).ok(),
        "Seccomp:\t2\nNoNewPrivs:\t1\n"
    );
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    common::again_as_an_ordinary_user(
        "",
        &[
            "landlock_is",
            "everyday",
            "nothing_writable",
            "unknown_content",
            "memory_that",
            "calls_that",
            "what_speaks",
            "the_launchers",
            "no_descriptor",
            "a_layer",
            "a_link",
        ],
    );
}
