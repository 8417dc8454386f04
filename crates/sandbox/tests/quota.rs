//! What environments may add on disk: refused by the file system where it can, else noticed while
//! steps run.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::time::Duration;

use common::{Ran, World, loop_file_system, sh, skip};
use sandbox::storage::{Bases, Origin, Storage, quota_kind};
use sandbox::{Environment, ExitStatus};

const MIB: u64 = 1 << 20;

fn limited(world: &World, bytes: Option<u64>, inodes: Option<u64>) -> Environment {
    let mut spec = world.spec("limited", None);
    spec.home = Some(world.spec("home", None).workspace);
    spec.limits.disk_bytes = bytes;
    spec.limits.disk_inodes = inodes;
    world.supervisor.create(&spec).unwrap()
}

/// A step that would go on for ever was killed, and this is why.
fn reason(ran: Ran) -> String {
    assert_eq!(ran.status, ExitStatus::Signal(9), "{ran:?}");
    assert!(ran.exit.wall < Duration::from_secs(20), "{ran:?}");
    ran.exit.reason.expect("a reason")
}

#[test]
fn a_step_that_writes_too_much_is_killed_and_told_why_and_the_next_one_may_clean_up() {
    let world = World::new();
    let environment = limited(&world, Some(8 * MIB), None);
    sh(&environment, "head -c 4000000 /dev/zero >small").ok();
    let fill = "i=0; while :; do head -c 1000000 /dev/zero >~/f$i; i=$((i+1)); sleep 0.01; done";
    let why = reason(sh(&environment, fill));
    assert!(
        why.contains("bytes") && why.contains(&(8 * MIB).to_string()),
        "{why}"
    );
    // Over the quota from its beginning, a step may free space.
    sh(
        &environment,
        "sleep 0.5; rm ~/f*; sleep 0.5; echo fine >note",
    )
    .ok();
    sh(&environment, "head -c 2000000 /dev/zero >more; sleep 0.5").ok();
    reason(sh(&environment, fill));
    // But it may not write still more.
    reason(sh(&environment, fill));
}

#[test]
fn what_a_step_hands_out_counts_too() {
    let world = World::new();
    let outputs = world.place.join("outputs");
    std::fs::create_dir(&outputs).unwrap();
    sandbox::prepare_base(&outputs).unwrap();
    let mut spec = world.spec("outputs", None);
    spec.outputs = Some(outputs);
    spec.limits.disk_bytes = Some(8 * MIB);
    let environment = world.supervisor.create(&spec).unwrap();
    let fill = "i=0; while :; do head -c 1000000 /dev/zero >/nightcrew/out/f$i; i=$((i+1)); sleep 0.01; done";
    let why = reason(sh(&environment, fill));
    assert!(why.contains("outputs"), "{why}");
}

#[test]
fn a_step_that_makes_too_many_files_is_killed() {
    let world = World::new();
    let environment = limited(&world, None, Some(1000));
    sh(
        &environment,
        "for i in $(seq 900); do : >f$i; done; sleep 0.3",
    )
    .ok();
    let bomb = "i=0; while :; do mkdir -p ~/d$i; : >~/d$i/f; i=$((i+1)); done";
    let why = reason(sh(&environment, bomb));
    assert!(why.contains("files") && why.contains("1000"), "{why}");
}

#[test]
fn holes_and_further_names_take_no_space() {
    let world = World::new();
    let environment = limited(&world, Some(8 * MIB), None);
    let script = "truncate -s 1G sparse; head -c 5000000 /dev/zero >f; ln f g; ln f h; sleep 0.5";
    sh(&environment, script).ok();
}

#[test]
fn a_file_that_is_open_and_has_no_name_is_counted() {
    let world = World::new();
    let environment = limited(&world, Some(8 * MIB), None);
    let why = reason(sh(
        &environment,
        "exec 3>f; rm f; while :; do head -c 1000000 /dev/zero >&3; sleep 0.02; done",
    ));
    assert!(why.contains("bytes"), "{why}");
    // What is in memory is bounded already.
    sh(
        &environment,
        "exec 3>/tmp/f; rm /tmp/f; head -c 20000000 /dev/zero >&3; sleep 0.5",
    )
    .ok();
}

#[test]
fn a_file_that_is_mapped_and_neither_open_nor_named_is_counted() {
    let world = World::new();
    let environment = limited(&world, Some(8 * MIB), None);
    let number = if cfg!(target_arch = "x86_64") { 9 } else { 222 };
    let map = |folder: &str, rounds: &str| {
        format!(
            r#"perl -e 'for (my $i = 0; {rounds}; $i++) {{
                open my $f, "+>", "{folder}/f" or die; syswrite $f, "x" x 1000000; unlink "{folder}/f";
                syscall({number}, 0, 1000000, 1, 2, fileno($f), 0) > 0 or die; close $f;
                select undef, undef, undef, 0.02 }} sleep 1'"#
        )
    };
    let why = reason(sh(&environment, &map("/work", "1")));
    assert!(why.contains("bytes"), "{why}");
    // What is in memory is bounded already.
    sh(&environment, &map("/tmp", "$i < 20")).ok();
}

#[test]
fn what_is_written_over_a_mount_counts_too() {
    let world = World::new();
    let below = world.place.join("below");
    std::fs::create_dir(&below).unwrap();
    let mut spec = world.spec("mounts", None);
    spec.mounts = vec![sandbox::FolderMount {
        source: below,
        target: "/mnt/cache".into(),
        writable: true,
        upper: Some(world.place.join("over")),
    }];
    spec.limits.disk_bytes = Some(8 * MIB);
    let environment = match world.supervisor.create(&spec) {
        Ok(environment) => environment,
        Err(error) => return common::skip(&format!("no overlays here: {error}")),
    };
    let fill =
        "i=0; while :; do head -c 1000000 /dev/zero >/mnt/cache/f$i; i=$((i+1)); sleep 0.01; done";
    let why = reason(sh(&environment, fill));
    assert!(why.contains("bytes"), "{why}");
}

#[test]
fn files_too_deep_to_be_measured_are_no_hiding_place() {
    for (name, levels) in [("a".repeat(200), 30), ("a".to_owned(), 600)] {
        let world = World::new();
        let environment = limited(&world, Some(8 * MIB), None);
        let deep = format!(
            "i=0; while [ $i -lt {levels} ]; do mkdir {name} && cd -P {name} || exit 1; i=$((i+1)); done
            while :; do head -c 1000000 /dev/zero >>f; sleep 0.02; done"
        );
        let why = reason(sh(&environment, &deep));
        assert!(why.contains("cannot be measured"), "{why}");
    }
}

#[test]
fn folders_that_are_closed_are_no_hiding_place() {
    let world = World::new();
    let environment = limited(&world, Some(8 * MIB), None);
    let closed = "mkdir -p d/e; exec 3>d/e/f; chmod 000 d/e d; while :; do head -c 1000000 /dev/zero >&3; sleep 0.02; done";
    let why = reason(sh(&environment, closed));
    assert!(why.contains("bytes"), "{why}");
}

#[test]
fn what_keeps_the_quota_is_said_with_the_cure() {
    let world = World::new();
    let kind = quota_kind(&world.place);
    assert_eq!(kind.hard, kind.cure.is_none(), "{kind:?}");
    assert_eq!(std::fs::read_dir(&world.place).unwrap().count(), 0);
}

#[test]
fn btrfs_itself_refuses_more_bytes() {
    let place = tempfile::tempdir().unwrap();
    let mount = match loop_file_system(&place.path().join("disk"), "btrfs") {
        Ok(mount) => mount,
        Err(reason) => return skip(&reason),
    };
    assert!(!quota_kind(mount.path()).hard);
    let enabled = std::process::Command::new("btrfs")
        .args(["quota", "enable"])
        .arg(mount.path())
        .status();
    assert!(enabled.unwrap().success());
    let kind = quota_kind(mount.path());
    assert!(kind.hard, "{kind:?}");
    let world = World::new();
    let storage = Storage::open(&mount.path().join("storage")).unwrap();
    let mut first = storage.create_disk("first", Origin::default()).unwrap();
    let run = |disk: &sandbox::storage::Disk, script: &str| {
        let mut spec = world.spec(disk.name(), None);
        disk.insert_into(&mut spec, Bases::default());
        spec.limits.disk_bytes = Some(16 * MIB);
        let environment = world.supervisor.create(&spec).unwrap();
        sh(&environment, script)
    };
    run(&first, "head -c 12000000 /dev/urandom >f; sync f").ok();
    let snapshot = storage.freeze(&mut first).unwrap();
    // What a fork begins with is not what it adds.
    let fork = storage.fork(&snapshot, "fork").unwrap();
    run(&fork, "head -c 12000000 /dev/urandom >g; sync g; sleep 0.3").ok();
    let ran = run(
        &fork,
        "head -c 50000000 /dev/urandom >h; echo ended with $?; wc -c <h",
    );
    assert!(ran.err.contains("quota exceeded"), "{ran:?}");
    assert!(ran.out.starts_with("ended with 1\n"), "{ran:?}");
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    common::as_ordinary_user(&[]);
}
