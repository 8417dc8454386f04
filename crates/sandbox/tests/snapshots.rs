//! Disks and snapshots: whatever is frozen, forked, flattened and carried elsewhere in between, an
//! environment shows what a plain folder would.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::fs;

use common::stage::{Stage, import};
use common::{World, as_ordinary_user, loop_file_system, quiet, run, sh, skip};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sandbox::SandboxError;
use sandbox::storage::{Backend, Disk, MAX_DEPTH, Origin, Storage, StorageError};

/// One change of a tree, as a line for `sh`; a change that cannot be made is made in neither.
fn change() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["f0", "f1", "f2", "d0", "d1", "d2"]);
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let link = prop::sample::select(vec!["h0", "h1", "h2"]);
    let time = 1_000_000_000..1_700_000_000_u64;
    let mode = prop::sample::select(vec!["755", "700", "644", "600", "555", "400", "000"]);
    let text = "[a-z]{0,12}";
    prop_oneof![
        4 => (path.clone(), text, time.clone()).prop_map(|(path, text, time)| format!(
            "mkdir -p $(dirname {path}); rm -rf {path}; echo {text} >{path} && touch -d @{time}.123456789 {path}"
        )),
        3 => (path.clone(), text, time.clone()).prop_map(|(path, text, time)| format!(
            "[ -f {path} ] && echo {text} >>{path} && touch -d @{time} {path}"
        )),
        3 => path.clone().prop_map(|path| format!("rm -rf {path}")),
        2 => path.clone().prop_map(|path| format!("mkdir -p {path}")),
        2 => (path.clone(), path.clone()).prop_map(|(path, inner)| format!(
            "rm -rf {path}; mkdir {path} && mkdir -p {path}/$(dirname {inner})"
        )),
        4 => (path.clone(), path.clone()).prop_map(|(from, to)| format!(
            // A frozen folder is moved by copying it, so it must be open to its owner.
            "case {to}/ in {from}/*) ;; *) case {from}/ in {to}/*) ;; *) [ -e {from} ] && ([ -L {from} ] || chmod -R u+rwX {from}) && rm -rf {to} && mv {from} {to};; esac;; esac"
        )),
        3 => (path.clone(), mode).prop_map(|(path, mode)| format!(
            "[ -L {path} ] || chmod {mode} {path}"
        )),
        2 => (path.clone(), path.clone(), time.clone()).prop_map(|(path, target, time)| format!(
            "rm -rf {path}; ln -s {target} {path} && touch -h -d @{time} {path}"
        )),
        1 => (path, time.clone()).prop_map(|(path, time)| format!(
            "rm -rf {path}; mkfifo {path} && touch -d @{time} {path}"
        )),
        // Names of one file, kept apart from what is moved and written in place: what was frozen
        // is split then, as the documentation of the storage says.
        2 => (link.clone(), link, text, time).prop_map(|(from, to, text, time)| format!(
            "rm -f {from}; echo {text} >{from}; touch -d @{time} {from}; [ {from} = {to} ] || ln -f {from} {to}"
        )),
    ]
}

/// What happens between two environments.
#[derive(Clone, Debug)]
enum Between {
    Nothing,
    Freeze,
    Fork,
    Capture,
    Flatten,
    Carry,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        Just(Between::Nothing),
        Just(Between::Freeze),
        Just(Between::Fork),
        Just(Between::Capture),
        Just(Between::Flatten),
        Just(Between::Carry),
    ]
}

/// Everything of the tree in the working directory that the same user can see.
const LOOK: &str = r"export LC_ALL=C
find . -type d -printf '%p %y %m\n' -o -type l -printf '%p %y %l %T@\n' -o -printf '%p %y %m %s %T@\n' 2>&1 | sort
find . -type f ! -perm 000 2>/dev/null | sort | while read f; do echo $f $(cat $f 2>&1); done
for h in h0 h1 h2; do for g in h0 h1 h2; do [ $h -ef $g ] && echo $h is $g; done; done; true";

/// Makes the same changes in an environment and in a plain folder, with `between` in between.
fn follows_the_model(
    stage: &Stage,
    rounds: &[(Vec<String>, Between)],
) -> Result<(), TestCaseError> {
    let model = stage.world.place.join("out/model");
    let _ = sandbox::remove_layer(&model);
    fs::create_dir_all(model.parent().unwrap()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&stage.base, &model])
        .status();
    assert!(copied.unwrap().success());
    // What a case that failed has left.
    for left in stage.storage.disks().unwrap() {
        let left = stage.storage.disk(&left).unwrap();
        stage.storage.remove_disk(&left).unwrap();
    }
    for left in stage.storage.snapshots().unwrap() {
        stage.storage.remove_snapshot(left.id()).unwrap();
    }
    let mut disk = stage.disk("line-0");
    for (number, (changes, between)) in rounds.iter().enumerate() {
        let environment = stage.environment(&disk);
        let script = changes.join("\n");
        for folder in ["/work", "/nightcrew/out/model"] {
            let mut step = quiet(&format!("cd {folder}\n{script}\ntrue"));
            step.cwd = Some(folder.to_owned());
            run(&environment, step).ok();
        }
        let look = |folder: &str| sh(&environment, &format!("cd {folder}; {LOOK}")).ok();
        let (seen, wanted) = (look("/work"), look("/nightcrew/out/model"));
        prop_assert_eq!(seen, wanted, "before {:?} of round {}", between, number);
        let storage = &stage.storage;
        let next = format!("line-{}", number + 1);
        let snapshot = if let Between::Capture = between {
            Some(storage.capture(&disk).unwrap())
        } else {
            None
        };
        environment.destroy().unwrap();
        let snapshot = match between {
            Between::Nothing => None,
            Between::Capture => snapshot,
            Between::Freeze => {
                let snapshot = storage.freeze(&mut disk).unwrap();
                storage.remove_snapshot(snapshot.id()).unwrap();
                None
            }
            Between::Fork => Some(storage.freeze(&mut disk).unwrap()),
            Between::Flatten => {
                let deep = storage.freeze(&mut disk).unwrap();
                let flat = storage.flatten(&deep).unwrap();
                assert!(flat.depth() <= 1);
                storage.remove_snapshot(deep.id()).unwrap();
                Some(flat)
            }
            Between::Carry => {
                let here = storage.freeze(&mut disk).unwrap();
                let (file, _) = stage.export(&here);
                storage.remove_snapshot(here.id()).unwrap();
                let there = import(storage, &file).unwrap();
                let (again, _) = stage.export(&there);
                prop_assert!(file == again, "what was carried is written in another way");
                Some(there)
            }
        };
        if let Some(snapshot) = snapshot {
            let forked = storage.fork(&snapshot, &next).unwrap();
            storage
                .remove_disk(&std::mem::replace(&mut disk, forked))
                .unwrap();
            storage.remove_snapshot(snapshot.id()).unwrap();
        }
    }
    let seen = stage.step(&disk, &format!("cd /work; {LOOK}"));
    let environment = stage.environment(&disk);
    let wanted = sh(&environment, &format!("cd /nightcrew/out/model; {LOOK}")).ok();
    drop(environment);
    prop_assert_eq!(seen, wanted, "at the end");
    stage.storage.remove_disk(&disk).unwrap();
    Ok(())
}

fn check_model(stage: &Stage, cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let round = (prop::collection::vec(change(), 1..14), between());
    let rounds = prop::collection::vec(round, 1..6);
    TestRunner::new(config)
        .run(&rounds, |rounds| follows_the_model(stage, &rounds))
        .unwrap();
    for folder in ["layers", "snapshots", "disks", "imports", "trash"] {
        let left = fs::read_dir(stage.folder.join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

#[test]
fn what_a_disk_takes_up_is_what_was_written_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let disk = storage.create_disk("a", Origin::default()).unwrap();
    let (before, _) = storage.usage(&disk);
    let layer = disk.workspace(None).layer;
    fs::create_dir_all(layer.join("upper")).unwrap();
    fs::write(layer.join("upper/file"), vec![1; 100_000]).unwrap();
    let (after, cut) = storage.usage(&disk);
    let grown = after.bytes - before.bytes;
    assert!((100_000..300_000).contains(&grown) && !cut, "{grown}");
}

#[test]
fn an_environment_shows_what_a_plain_folder_would_whatever_happens_in_between() {
    check_model(&Stage::new(), 16);
}

#[test]
fn the_same_on_btrfs_by_subvolumes() {
    on_image("btrfs", Backend::Btrfs);
}

#[test]
fn the_same_on_xfs_by_shared_blocks() {
    on_image("xfs", Backend::Reflink);
}

fn on_image(kind: &str, backend: Backend) {
    let place = tempfile::tempdir().unwrap();
    // Before the supervisor: on hosts whose mounts do not spread it would not see this one.
    let mount = match loop_file_system(&place.path().join("disk"), kind) {
        Ok(mount) => mount,
        Err(reason) => return skip(&reason),
    };
    let world = World::new();
    let storage = Storage::open(&mount.path().join("storage")).unwrap();
    assert_eq!(storage.backend(), backend);
    let mut stage = Stage::over(world, storage);
    stage.folder = mount.path().join("storage");
    check_model(&stage, 6);
}

#[test]
fn many_candidates_from_one_state_do_not_see_each_other() {
    let stage = Stage::new();
    let mut disk = stage.disk("first");
    stage.step(
        &disk,
        "echo state >f0; rm d2/f1; echo kept >~/note; chmod 700 /work",
    );
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let forks: Vec<Disk> = (0..4)
        .map(|n| {
            stage
                .storage
                .fork(&snapshot, &format!("candidate-{n}"))
                .unwrap()
        })
        .collect();
    let environments: Vec<_> = forks.iter().map(|disk| stage.environment(disk)).collect();
    for (n, environment) in environments.iter().enumerate() {
        sh(
            environment,
            &format!("cat f0 ~/note >seen; echo {n} >f0; echo {n} >~/note"),
        )
        .ok();
    }
    for (n, environment) in environments.iter().enumerate() {
        let out = sh(environment, "cat seen f0 ~/note; ls d2; stat -c %a /work").ok();
        assert_eq!(out, format!("state\nkept\n{n}\n{n}\n700\n"));
    }
    drop(environments);
    // The first one goes on as well.
    assert_eq!(stage.step(&disk, "cat f0 ~/note"), "state\nkept\n");
}

#[test]
fn layers_live_as_long_as_something_stands_on_them() {
    let stage = Stage::stacked();
    let layers = || fs::read_dir(stage.folder.join("layers")).unwrap().count();
    let mut disk = stage.disk("first");
    stage.step(&disk, "echo one >f0");
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let fork = stage.storage.fork(&snapshot, "second").unwrap();
    stage.storage.remove_snapshot(snapshot.id()).unwrap();
    stage.storage.remove_disk(&disk).unwrap();
    assert_eq!(layers(), 2);
    assert_eq!(stage.step(&fork, "cat f0"), "one\n");
    stage.storage.remove_disk(&fork).unwrap();
    assert_eq!(layers(), 0);
    let gone = stage.storage.fork(&snapshot, "third").unwrap_err();
    assert!(matches!(gone, StorageError::NoSnapshot(_)), "{gone}");
}

#[test]
fn a_line_of_snapshots_never_stands_on_more_layers_than_it_may() {
    let stage = Stage::new();
    let mut disk = stage.disk("line");
    for n in 0..2 * MAX_DEPTH + 3 {
        stage.step(
            &disk,
            &format!(
                "echo {n} >>f0; echo {n} >n{n}; rm -f n{}",
                n.wrapping_sub(1)
            ),
        );
        let snapshot = stage.storage.freeze(&mut disk).unwrap();
        assert!(snapshot.depth() < MAX_DEPTH, "{}", snapshot.depth());
        stage.storage.remove_snapshot(snapshot.id()).unwrap();
    }
    let last = 2 * MAX_DEPTH + 2;
    assert_eq!(
        stage.step(&disk, "ls n*; wc -l <f0"),
        format!("n{last}\n{}\n", last + 1)
    );
}

#[test]
fn a_disk_in_use_is_neither_frozen_nor_removed_nor_used_twice() {
    let stage = Stage::new();
    let mut disk = stage.disk("busy");
    let environment = stage.environment(&disk);
    let in_use = |error: StorageError| {
        assert!(
            matches!(error, StorageError::Layer(SandboxError::LayerInUse { .. })),
            "{error}"
        );
    };
    in_use(stage.storage.freeze(&mut disk).unwrap_err());
    in_use(stage.storage.remove_disk(&disk).unwrap_err());
    let mut spec = stage.world.spec("second", None);
    disk.insert_into(&mut spec, stage.bases());
    let second = stage.world.supervisor.create(&spec).unwrap_err();
    assert!(
        matches!(second, SandboxError::LayerInUse { .. }),
        "{second}"
    );
    assert_eq!(sh(&environment, "cat f0").ok(), "base");
    environment.destroy().unwrap();
    stage.storage.freeze(&mut disk).unwrap();
}

#[test]
fn what_a_process_that_died_had_begun_is_finished_or_removed() {
    let stage = Stage::stacked();
    let folder = stage.folder.clone();
    let mut disk = stage.disk("died");
    stage.step(&disk, "echo written >f0");
    let before = folder.join("disks/died");
    // As it is between the first rename and the last file: by taking back what came after.
    let record = fs::read(before.join("disk.json")).unwrap();
    let snapshot = stage.storage.freeze(&mut disk).unwrap();
    let file = folder.join(format!("snapshots/{}.json", snapshot.id()));
    let freezing = format!(
        r#"{{"snapshot":{},"disk":{}}}"#,
        fs::read_to_string(&file).unwrap(),
        fs::read_to_string(before.join("disk.json")).unwrap()
    );
    fs::write(before.join("freezing.json"), freezing).unwrap();
    fs::write(before.join("disk.json"), record).unwrap();
    fs::remove_file(file).unwrap();
    fs::remove_dir(before.join("workspace/upper")).unwrap();
    // And rubbish of other kinds.
    for rubbish in [
        "layers/rubbish/upper",
        "disks/half/workspace/upper",
        "imports/half/home",
        "trash/x/y",
    ] {
        fs::create_dir_all(folder.join(rubbish)).unwrap();
    }
    let again = Storage::open_with(&folder, Backend::Stack).unwrap();
    assert_eq!(again.snapshots().unwrap(), std::slice::from_ref(&snapshot));
    assert_eq!(again.disks().unwrap(), ["died"]);
    for rubbish in ["layers/rubbish", "disks/half", "imports/half", "trash/x"] {
        assert!(!folder.join(rubbish).exists(), "{rubbish}");
    }
    let disk = again.disk("died").unwrap();
    assert_eq!(stage.step(&disk, "cat f0"), "written\n");
    let fork = again.fork(&snapshot, "fork").unwrap();
    assert_eq!(stage.step(&fork, "cat f0"), "written\n");
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    as_ordinary_user(&[]);
}
