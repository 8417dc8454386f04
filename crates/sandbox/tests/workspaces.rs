//! Workspaces: the base stays, the layer resumes, removal copes with anything.

mod common;

use std::os::unix::ffi::OsStrExt;

use common::{World, quiet, run, sh};
use sandbox::ExitStatus;

#[test]
fn the_base_is_untouched_and_the_layer_resumes() {
    let world = World::new();
    let base = world.base(&[
        ("kept", "old"),
        ("changed", "old"),
        ("deleted", "old"),
        ("folder/inner", "old"),
    ]);
    let spec = world.spec("resume", Some(&base));
    let environment = world.supervisor.create(&spec).unwrap();
    sh(&environment, "echo new >changed; rm deleted; echo new >added; rm -r folder; mkdir folder; chmod 600 kept").ok();
    environment.destroy().unwrap();
    assert_eq!(
        std::fs::read_to_string(base.join("changed")).unwrap(),
        "old"
    );
    assert_eq!(
        std::fs::read_to_string(base.join("deleted")).unwrap(),
        "old"
    );
    assert_eq!(
        std::fs::read_to_string(base.join("folder/inner")).unwrap(),
        "old"
    );
    assert!(!base.join("added").exists());
    let again = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(
            &again,
            "cat changed added; ls; ls -A folder; stat -c %a kept"
        )
        .ok(),
        "new\nnew\nadded\nchanged\nfolder\nkept\n600\n"
    );
}

#[test]
fn many_environments_share_one_base() {
    let world = World::new();
    let base = world.base(&[("file", "base")]);
    let environments: Vec<_> = (0..4)
        .map(|n| {
            world
                .supervisor
                .create(&world.spec(&format!("share-{n}"), Some(&base)))
                .unwrap()
        })
        .collect();
    for (n, environment) in environments.iter().enumerate() {
        sh(environment, &format!("echo {n} >file")).ok();
    }
    for (n, environment) in environments.iter().enumerate() {
        assert_eq!(sh(environment, "cat file").ok(), format!("{n}\n"));
    }
}

#[test]
fn a_workspace_appears_at_a_second_place_and_nowhere_that_is_taken() {
    let world = World::new();
    let base = world.base(&[("file", "base\n")]);
    for (n, mode) in [sandbox::ExecMode::Off, sandbox::ExecMode::Strict]
        .into_iter()
        .enumerate()
    {
        let mut spec = world.spec(&format!("also-{n}"), Some(&base));
        spec.workspace_also = Some("/srv/shop/app".into());
        spec.exec.mode = mode;
        let environment = world.supervisor.create(&spec).unwrap();
        let script = "cat /srv/shop/app/file; echo one >/srv/shop/app/new; echo two >>/work/new; cat /srv/shop/app/new";
        assert_eq!(sh(&environment, script).ok(), "base\none\ntwo\n");
        let script = "printf '#!/bin/sh\necho ran\n' >p; chmod +x p; /srv/shop/app/p";
        let ran = sh(&environment, script);
        // What holds for /work holds for its other name.
        assert_eq!(
            ran.out.is_empty(),
            mode == sandbox::ExecMode::Strict,
            "{ran:?}"
        );
        assert_ne!(
            sh(&environment, "echo x >/srv/shop/x").status,
            ExitStatus::Code(0)
        );
    }
    let mut spec = world.spec("also-not", Some(&base));
    for place in [
        "/work",
        "/work/sub",
        "/proc/x",
        "/etc",
        "/nightcrew/in",
        "srv",
        "/srv/../etc",
    ] {
        spec.workspace_also = Some(place.into());
        let error = world.supervisor.create(&spec).unwrap_err();
        assert!(
            error.to_string().contains("workspace_also"),
            "{place}: {error}"
        );
    }
}

#[test]
fn git_works_in_a_workspace() {
    let world = World::new();
    let base = world.base(&[]);
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .args(["-c", "safe.directory=*", "-C"])
            .arg(&base)
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    };
    std::fs::write(base.join("file"), "one\n").unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&[
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.com",
        "commit",
        "-q",
        "-m",
        "one",
    ]);
    sandbox::prepare_base(&base).unwrap();
    let environment = world
        .supervisor
        .create(&world.spec("git", Some(&base)))
        .unwrap();
    let script = "git status --porcelain && echo two >>file && git -c user.name=b -c user.email=b@example.com commit -qam two && git log --format=%s";
    assert_eq!(sh(&environment, script).ok(), "two\none\n");
}

#[test]
fn inputs_are_read_only_and_outputs_come_out() {
    let world = World::new();
    let (inputs, outputs) = (world.place.join("in"), world.place.join("out"));
    std::fs::create_dir_all(&inputs).unwrap();
    std::fs::create_dir_all(&outputs).unwrap();
    std::fs::write(inputs.join("event.json"), "{}").unwrap();
    let program = world.place.join("program");
    common::copy_program("/bin/echo", &program);
    let mut spec = world.spec("exchange", None);
    spec.inputs = Some(inputs.clone());
    spec.outputs = Some(outputs.clone());
    spec.program = Some(program);
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(
            &environment,
            "cat /nightcrew/in/event.json; echo result >/nightcrew/out/result; nightcrew called"
        )
        .ok(),
        "{}called\n"
    );
    assert_eq!(
        std::fs::read_to_string(outputs.join("result")).unwrap(),
        "result\n"
    );
    assert_ne!(
        sh(&environment, "echo x >/nightcrew/in/event.json").status,
        ExitStatus::Code(0)
    );
    assert_ne!(
        sh(&environment, "echo x >/nightcrew/in/new").status,
        ExitStatus::Code(0)
    );
    assert_ne!(
        sh(&environment, "echo x >/nightcrew/bin/nightcrew").status,
        ExitStatus::Code(0)
    );
    assert_eq!(
        std::fs::read_to_string(inputs.join("event.json")).unwrap(),
        "{}"
    );
}

#[test]
fn links_out_of_the_workspace_lead_nowhere() {
    let world = World::new();
    let outside = world.place.join("outside");
    std::fs::write(&outside, "host").unwrap();
    let base = world.base(&[("file", "")]);
    std::os::unix::fs::symlink(&outside, base.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../outside", base.join("relative")).unwrap();
    let environment = world
        .supervisor
        .create(&world.spec("links", Some(&base)))
        .unwrap();
    assert_eq!(
        sh(
            &environment,
            "cat absolute relative; echo x >absolute; echo x >relative"
        )
        .out,
        ""
    );
    environment.destroy().unwrap();
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "host");
}

#[test]
fn names_that_are_not_text_survive() {
    let world = World::new();
    let base = world.base(&[]);
    let name = std::ffi::OsStr::from_bytes(b"f\xff\n,:\\name");
    std::fs::write(base.join(name), "inside").unwrap();
    sandbox::prepare_base(&base).unwrap();
    let odd = world
        .place
        .join(std::ffi::OsStr::from_bytes(b"lay\xffer,upper:\\x"));
    let mut spec = world.spec("names", Some(&base));
    spec.workspace.layer = odd.clone();
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(
            &environment,
            "cat f*; for f in f*; do echo more >>\"$f\"; done"
        )
        .ok(),
        "inside"
    );
    environment.destroy().unwrap();
    assert_eq!(
        std::fs::read_to_string(odd.join("upper").join(name)).unwrap(),
        "insidemore\n"
    );
    sandbox::remove_layer(&odd).unwrap();
    assert!(!odd.exists());
}

#[test]
fn a_layer_is_removed_whatever_is_in_it() {
    let world = World::new();
    let base = world.base(&[("folder/file", "x")]);
    let spec = world.spec("remove", Some(&base));
    let environment = world.supervisor.create(&spec).unwrap();
    let script = "mkdir -p locked/inner && touch locked/inner/f && chmod 000 locked/inner locked && rm -r folder && ln -s / link
long=d; i=0; while [ $i -lt 180 ]; do long=$long/aaaaaaaaaaaaaaa; i=$((i+1)); done
mkdir top0 && for i in 1 2 3 4; do mkdir -p top$i/$long && mv top$((i-1)) top$i/$long/ || exit 1; done";
    sh(&environment, script).ok();
    environment.destroy().unwrap();
    sandbox::remove_layer(&spec.workspace.layer).unwrap();
    assert!(!spec.workspace.layer.exists());
    sandbox::remove_layer(&spec.workspace.layer).unwrap();
}

#[test]
fn where_overlays_are_refused_the_copy_is_recorded_and_resumes() {
    let world = World::with(|options| options.copy_workspaces = true);
    let base = world.base(&[("file", "base\n"), ("folder/script", "echo ran")]);
    std::os::unix::fs::symlink("file", base.join("link")).unwrap();
    let spec = world.spec("copy", Some(&base));
    let environment = world.supervisor.create(&spec).unwrap();
    let report = environment.report().clone();
    assert!(!report.layers.iter().any(|layer| layer == "overlay"));
    assert_eq!(report.weaker.len(), 1);
    assert!(report.weaker[0].contains("copy"), "{report:?}");
    assert_eq!(
        sh(
            &environment,
            "cat link; sh folder/script; echo changed >file; rm -r folder"
        )
        .ok(),
        "base\nran\n"
    );
    environment.destroy().unwrap();
    assert_eq!(
        std::fs::read_to_string(base.join("file")).unwrap(),
        "base\n"
    );
    let again = world.supervisor.create(&spec).unwrap();
    assert_eq!(sh(&again, "cat file; ls").ok(), "changed\nfile\nlink\n");
}

#[test]
fn a_copy_is_never_laid_over_its_base() {
    let copying = World::with(|options| options.copy_workspaces = true);
    let base = copying.base(&[("file", "base\n"), ("deleted", "")]);
    let spec = copying.spec("copy", Some(&base));
    let environment = copying.supervisor.create(&spec).unwrap();
    sh(&environment, "rm deleted").ok();
    environment.destroy().unwrap();
    let overlaying = World::new();
    let environment = overlaying.supervisor.create(&spec).unwrap();
    assert_eq!(sh(&environment, "ls").ok(), "file\n");
    assert_eq!(environment.report().weaker.len(), 1);
}

#[test]
fn copying_into_a_layer_that_an_environment_wrote_is_refused() {
    let overlaying = World::new();
    let base = overlaying.base(&[("file", "base\n")]);
    let outside = overlaying.place.join("outside");
    std::fs::write(&outside, "host").unwrap();
    let spec = overlaying.spec("trap", Some(&base));
    let environment = overlaying.supervisor.create(&spec).unwrap();
    sh(
        &environment,
        &format!("rm file; ln -s {} file", outside.display()),
    )
    .ok();
    environment.destroy().unwrap();
    let copying = World::with(|options| options.copy_workspaces = true);
    let error = copying.supervisor.create(&spec).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot resume without an overlay"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "host");
}

#[test]
fn creating_costs_the_same_for_a_large_base() {
    let world = World::new();
    let base = world.base(&[]);
    for n in 0..5000 {
        std::fs::write(base.join(format!("f{n}")), "").unwrap();
    }
    sandbox::prepare_base(&base).unwrap();
    let environment = world
        .supervisor
        .create(&world.spec("large", Some(&base)))
        .unwrap();
    assert_eq!(run(&environment, quiet("ls | wc -l")).ok().trim(), "5000");
    environment.destroy().unwrap();
    // Nothing was copied: the layer holds its own two folders and the overlay's working space.
    let upper = std::fs::read_dir(world.place.join("layer-large/upper"))
        .unwrap()
        .count();
    assert_eq!(upper, 0);
}
