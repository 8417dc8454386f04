//! Roots of their own: an unpacked tree in place of the host's, and what set-up commands leave.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{World, quiet, run, sh};
use sandbox::storage::{SetUp, SetUpCommand, SetUpError, SetUpFiles, forget_set_ups, prepare_root};
use sandbox::{ExitStatus, FolderMount, Limits, RootRecipe, SandboxError};

/// A tree with a shell, made from the host's programs: what an unpacked image looks like.
fn tree(world: &World) -> PathBuf {
    let tree = world.place.join("tree");
    for folder in [
        "bin",
        "etc",
        "root",
        "home/someone",
        "dev",
        "opt/tool",
        "var/lib",
    ] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    for program in [
        "sh", "cat", "ls", "mkdir", "rm", "stat", "id", "sleep", "readlink", "touch", "mv",
    ] {
        copy(program, &tree);
    }
    for (name, content) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nimage:x:7:7::/:/bin/sh\n",
        ),
        ("etc/group", "root:x:0:\nimage:x:7:\n"),
        ("etc/shadow", "root:secret\n"),
        ("etc/hosts", "6.6.6.6 localhost\n"),
        ("etc/image", "an image\n"),
        ("opt/tool/private", "readable\n"),
    ] {
        fs::write(tree.join(name), content).unwrap();
    }
    fs::set_permissions(
        tree.join("opt/tool/private"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    fs::write(tree.join("dev/odd"), "").unwrap();
    // Where an image would lead a careless launcher.
    symlink("/etc/shadow", tree.join("etc/hostname")).unwrap();
    sandbox::prepare_base(&tree).unwrap();
    tree
}

/// Copies a program and its libraries, to where the loader looks for them.
fn copy(program: &str, tree: &Path) {
    let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
    let found = found.iter().find(|path| path.exists()).unwrap();
    let target = tree.join("bin").join(program);
    common::copy_program(found.to_str().unwrap(), &target);
    let output = std::process::Command::new("ldd")
        .arg(found)
        .output()
        .unwrap();
    for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if word.starts_with('/') && !tree.join(&word[1..]).exists() {
            let target = tree.join(&word[1..]);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            common::copy_program(
                &fs::canonicalize(word).unwrap().display().to_string(),
                &target,
            );
        }
    }
}

fn recipe(tree: &Path) -> RootRecipe {
    RootRecipe {
        tree: Some(tree.to_owned()),
        ..RootRecipe::default()
    }
}

#[test]
fn a_tree_takes_the_place_of_the_hosts_root() {
    let world = World::new();
    let tree = tree(&world);
    let mut spec = world.spec("tree", None);
    spec.root = recipe(&tree);
    let environment = world.supervisor.create(&spec).unwrap();
    let seen = |script: &str| sh(&environment, script).ok();
    assert_eq!(
        seen("cat /etc/image /opt/tool/private"),
        "an image\nreadable\n"
    );
    assert_eq!(seen("stat -c %u /opt/tool/private"), "0\n");
    assert_eq!(
        seen("cat /etc/passwd"),
        "root:x:0:0:agent:/home/agent:/bin/sh\nimage:x:7:7::/:/bin/sh\n"
    );
    assert_eq!(seen("cat /etc/hostname; ls /home"), "environment\nagent\n");
    assert!(seen("cat /etc/hosts").starts_with("127.0.0.1 "));
    assert_eq!(
        seen("ls /dev"),
        "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
    );
    assert_eq!(
        seen("echo x >/dev/null; echo x >/tmp/f; cat /tmp/f; echo y >f; cat f"),
        "x\ny\n"
    );
    // Nothing of the host, and nothing secret.
    assert_eq!(
        seen("ls /usr 2>/dev/null; ls /etc/shadow /etc/debian_version 2>/dev/null; true")
            .replace("lib\nlib64\n", "")
            .replace("lib\n", ""),
        ""
    );
    for path in ["/etc/new", "/new", "/opt/tool/new", "/etc/passwd"] {
        assert_ne!(
            sh(&environment, &format!("echo x >{path}")).status,
            ExitStatus::Code(0),
            "{path}"
        );
    }
    assert!(!tree.join("etc/new").exists());
    assert!(
        environment
            .report()
            .self_test
            .iter()
            .all(|probe| probe.passed)
    );
}

#[test]
fn set_up_runs_once_and_environments_begin_with_what_it_wrote() {
    let world = World::new();
    let tree = tree(&world);
    let cache = world.place.join("cache");
    let wanted = set_up(
        &tree,
        &[
            "echo ran >>/opt/tool/made; rm /etc/image; echo user:x:9:9::/:/bin/sh >>/etc/passwd; echo note >note; ls /root",
        ],
    );
    let first = prepare_root(&world.supervisor, &cache, &wanted).unwrap();
    assert!(first.fresh);
    let again = prepare_root(&world.supervisor, &cache, &wanted).unwrap();
    assert!(!again.fresh);
    assert_eq!(first.root, again.root);
    let mut spec = world.spec("warm", None);
    spec.root = again.root;
    let mut home = world.spec("home", None).workspace;
    home.base = Some(again.home);
    spec.home = Some(home);
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(
            &environment,
            "cat /opt/tool/made ~/note; ls /etc/image 2>/dev/null; cat /etc/passwd"
        )
        .ok(),
        "ran\nnote\nroot:x:0:0:agent:/home/agent:/bin/sh\nimage:x:7:7::/:/bin/sh\nuser:x:9:9::/:/bin/sh\n"
    );
    assert_ne!(
        sh(&environment, "echo x >/opt/tool/made").status,
        ExitStatus::Code(0)
    );
    assert!(tree.join("etc/image").exists());
    assert!(!tree.join("opt/tool/made").exists());
}

fn set_up(tree: &Path, scripts: &[&str]) -> SetUp {
    SetUp {
        key: "0123abc".to_owned(),
        root: recipe(tree),
        commands: scripts
            .iter()
            .map(|script| SetUpCommand {
                argv: ["sh", "-ec", script].map(str::to_owned).to_vec(),
                ..SetUpCommand::default()
            })
            .collect(),
        env: Vec::new(),
        mounts: Vec::new(),
        limits: Limits::default(),
        deadline: Duration::from_secs(30),
        retry: false,
    }
}

#[test]
fn a_set_up_command_has_its_own_files_variables_and_folder() {
    let world = World::new();
    let tree = tree(&world);
    let cache = world.place.join("cache");
    let mut wanted = set_up(
        &tree,
        &[
            "cat one >>~/said; echo $COLOUR $SIZE >>~/said; if echo x >new; then exit 3; fi",
            "cat deep/two >>~/said; if cat one; then exit 4; fi; echo $COLOUR >>~/said",
            "ls /nightcrew/setup >>~/said; echo $PWD >>~/said",
        ],
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    wanted.env = vec![pair("COLOUR", "red"), pair("SIZE", "3")];
    wanted.commands[0].env = vec![pair("COLOUR", "blue")];
    wanted.commands[0].cwd = Some("/nightcrew/setup".to_owned());
    wanted.commands[0].files = Some(SetUpFiles::new(|folder| {
        fs::write(folder.join("one"), "1\n")?;
        fs::set_permissions(folder.join("one"), fs::Permissions::from_mode(0o600))
    }));
    wanted.commands[1].cwd = Some("/nightcrew/setup".to_owned());
    wanted.commands[1].files = Some(SetUpFiles::new(|folder| {
        fs::create_dir(folder.join("deep"))?;
        fs::write(folder.join("deep/two"), "2\n")
    }));
    let warm = prepare_root(&world.supervisor, &cache, &wanted).unwrap();
    assert_eq!(
        fs::read_to_string(warm.home.join("said")).unwrap(),
        "1\nblue 3\n2\nred\n/home/agent\n"
    );
    assert!(!cache.join("0123abc/files").exists());
    // Done: nobody is asked for files again.
    wanted.commands[0].files = Some(SetUpFiles::new(|_| Err(std::io::ErrorKind::Other.into())));
    assert!(
        !prepare_root(&world.supervisor, &cache, &wanted)
            .unwrap()
            .fresh
    );
}

#[test]
fn a_set_up_that_fails_or_hangs_is_remembered_with_its_output_until_it_is_retried() {
    let world = World::new();
    let tree = tree(&world);
    let cache = world.place.join("cache");
    let mut wanted = set_up(
        &tree,
        &[
            "echo fine",
            "echo about to fail; echo x >/opt/x; exit 3",
            "echo never",
        ],
    );
    for expected in [false, true] {
        match prepare_root(&world.supervisor, &cache, &wanted).unwrap_err() {
            SetUpError::Failed {
                how,
                output,
                remembered,
                ..
            } => {
                assert_eq!(
                    (how.as_str(), output.as_str()),
                    ("exited with 3", "about to fail\n")
                );
                assert_eq!(remembered, expected);
            }
            other => panic!("{other}"),
        }
    }
    assert!(!cache.join("0123abc/root").exists());
    wanted.commands = set_up(&tree, &["echo begun; sleep 1000"]).commands;
    wanted.deadline = Duration::from_millis(300);
    wanted.retry = true;
    match prepare_root(&world.supervisor, &cache, &wanted).unwrap_err() {
        SetUpError::Failed { how, output, .. } => {
            assert!(how.contains("was not done"), "{how}");
            assert_eq!(output, "begun\n");
        }
        other => panic!("{other}"),
    }
    wanted.commands = set_up(&tree, &["true"]).commands;
    assert!(
        prepare_root(&world.supervisor, &cache, &wanted)
            .unwrap()
            .fresh
    );
}

#[test]
fn set_ups_that_nobody_needs_are_forgotten_and_the_others_stay() {
    let world = World::new();
    let tree = tree(&world);
    let cache = world.place.join("cache");
    for key in ["kept", "gone", "failed"] {
        let script = if key == "failed" {
            "exit 3"
        } else {
            "echo x >/opt/x"
        };
        let mut wanted = set_up(&tree, &[script]);
        wanted.key = key.to_owned();
        let _ = prepare_root(&world.supervisor, &cache, &wanted);
    }
    let forget =
        |keep: &'static str, before| forget_set_ups(&cache, |key| key == keep, before).unwrap();
    assert_eq!(
        forget("kept", SystemTime::UNIX_EPOCH),
        0,
        "used a moment ago"
    );
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    assert_eq!(forget("kept", later), 2);
    assert!(cache.join("kept/root").exists());
    assert!(!cache.join("gone").exists() && !cache.join("failed").exists());
    let mut wanted = set_up(&tree, &["echo x >/opt/x"]);
    wanted.key = "gone".to_owned();
    let again = prepare_root(&world.supervisor, &cache, &wanted).unwrap();
    assert!(again.fresh);
    assert_eq!(forget("", SystemTime::UNIX_EPOCH), 0);
}

#[test]
fn several_that_ask_at_once_share_one_set_up() {
    let world = Arc::new(World::new());
    let tree = tree(&world);
    let wanted = Arc::new(set_up(&tree, &["echo ran >>/opt/tool/made; sleep 0.2"]));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (world, wanted) = (Arc::clone(&world), Arc::clone(&wanted));
            std::thread::spawn(move || {
                prepare_root(&world.supervisor, &world.place.join("cache"), &wanted)
                    .unwrap()
                    .fresh
            })
        })
        .collect();
    let fresh: Vec<bool> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 1, "{fresh:?}");
    let made = world.place.join("cache/0123abc/root/upper/opt/tool/made");
    assert_eq!(fs::read_to_string(made).unwrap(), "ran\n");
}

#[test]
fn layers_without_a_tree_are_refused() {
    let world = World::new();
    let mut spec = world.spec("layers", None);
    spec.root.writable = Some(world.place.join("writable"));
    let error = world.supervisor.create(&spec).unwrap_err();
    assert!(
        matches!(
            error,
            SandboxError::InvalidSpec {
                field: "root.tree",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn folders_are_shown_read_only_writable_or_under_a_layer() {
    let world = World::new();
    let tree = tree(&world);
    let folder = |name: &str| {
        let path = world.place.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "host\n").unwrap();
        sandbox::prepare_base(&path).unwrap();
        path
    };
    let mount = |source: &Path, target: &str, writable, upper: Option<PathBuf>| FolderMount {
        source: source.to_owned(),
        target: target.into(),
        writable,
        upper,
    };
    for (n, root) in [RootRecipe::default(), recipe(&tree)]
        .into_iter()
        .enumerate()
    {
        let [shown, shared, layered] =
            ["shown", "shared", "layered"].map(|name| folder(&format!("{name}-{n}")));
        let layer = world.place.join(format!("cache-layer-{n}"));
        let mut spec = world.spec(&format!("mounts-{n}"), None);
        spec.root = root;
        spec.mounts = vec![
            mount(&shown, "/opt/shown/deep", false, None),
            mount(&shared, "/home/agent/.cache/shared", true, None),
            mount(&layered, "/work/layered", true, Some(layer.clone())),
        ];
        let environment = world.supervisor.create(&spec).unwrap();
        let script = "cat /opt/shown/deep/file ~/.cache/shared/file layered/file
            echo new >~/.cache/shared/file; echo new >layered/file; echo x >/opt/shown/deep/file";
        let ran = sh(&environment, script);
        assert_eq!(ran.out, "host\nhost\nhost\n", "{ran:?}");
        assert_ne!(ran.status, ExitStatus::Code(0));
        environment.destroy().unwrap();
        let content = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(content(shown.join("file")), "host\n");
        assert_eq!(content(shared.join("file")), "new\n");
        assert_eq!(content(layered.join("file")), "host\n");
        assert_eq!(content(layer.join("upper/file")), "new\n");
    }
}

#[test]
fn under_an_exec_policy_everything_executable_lies_on_a_superblock_of_its_own() {
    if !common::is_root() {
        return common::skip("control of what executes needs root");
    }
    let world = World::new();
    let tree = tree(&world);
    let folder = |name: &str| {
        let path = world.place.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (shown, shared) = (folder("shown"), folder("shared"));
    for (n, root) in [RootRecipe::default(), recipe(&tree)]
        .into_iter()
        .enumerate()
    {
        let mut spec = world.spec(&format!("watched-{n}"), None);
        spec.root = root;
        spec.exec.mode = sandbox::ExecMode::Observe;
        spec.inputs = Some(shown.clone());
        spec.outputs = Some(shared.clone());
        spec.home = Some(world.spec(&format!("home-{n}"), None).workspace);
        spec.mounts = [(&shown, "/opt/a", false), (&shared, "/opt/b", true)]
            .map(|(source, target, writable)| FolderMount {
                source: source.clone(),
                target: target.into(),
                writable,
                upper: None,
            })
            .to_vec();
        let environment = world.supervisor.create(&spec).unwrap();
        let mounts = sh(&environment, "cat /proc/self/mountinfo").ok();
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let (target, options) = (fields[4], fields[5]);
            let kind = line.split(" - ").nth(1).unwrap().split(' ').next().unwrap();
            let own = ["overlay", "tmpfs", "proc"].contains(&kind);
            let device = target.starts_with("/dev/");
            let noexec = options.split(',').any(|option| option == "noexec");
            assert!(own || device || noexec, "{line}");
        }
        for place in ["/work", "/home/agent", "/opt/a"] {
            let line = mounts
                .lines()
                .find(|line| line.contains(&format!(" {place} ")));
            assert!(line.unwrap().contains(" - overlay "), "{place}: {mounts}");
        }
    }
}

#[test]
fn a_link_that_an_earlier_environment_left_does_not_move_a_mount() {
    let world = World::new();
    let target = world.place.join("cache-folder");
    fs::create_dir(&target).unwrap();
    let mut spec = world.spec("link", None);
    spec.home = Some(world.spec("link-home", None).workspace);
    let environment = world.supervisor.create(&spec).unwrap();
    run(&environment, quiet("ln -s /work ~/.cache")).ok();
    environment.destroy().unwrap();
    spec.mounts = vec![FolderMount {
        source: target,
        target: "/home/agent/.cache/inner".into(),
        writable: false,
        upper: None,
    }];
    let error = world.supervisor.create(&spec).unwrap_err();
    assert!(
        matches!(&error, SandboxError::Setup { stage, .. } if stage.contains(".cache/inner")),
        "{error:?}"
    );
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    common::as_ordinary_user(&[]);
}
