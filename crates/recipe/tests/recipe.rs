//! Recipes: their forms, what makes no sense, and their digests.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use recipe::{
    Cache, Command, Digest, Ecosystem, Error, HostRoot, Image, ImageSource, Ready, Recipe,
    ResolvedRoot, Root, Service, SetupFiles, SetupStep, lay_out, setup_files,
};

fn line(text: &str) -> Command {
    Command::Line(text.to_owned())
}

fn program(words: &[&str]) -> Command {
    Command::Program(words.iter().map(|word| (*word).to_owned()).collect())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn folder(name: &str, path: &str) -> Cache {
    Cache::Folder {
        name: name.to_owned(),
        path: path.to_owned(),
    }
}

fn service(name: &str, command: Command, ready: Ready, seconds: u64) -> Service {
    Service {
        name: name.to_owned(),
        command,
        env: BTreeMap::new(),
        ready,
        timeout: Duration::from_secs(seconds),
    }
}

/// A recipe with something in every field.
fn full() -> Recipe {
    let mut recipe = Recipe::new(Root::Image(Image {
        source: ImageSource::Registry("registry.example/dev:1".to_owned()),
        digest: Some(Digest::of(b"pinned")),
    }));
    recipe.setup = vec![
        line("apt-get install -y postgresql").into(),
        SetupStep {
            run: program(&["pip", "install", "-r", "requirements.txt"]),
            files: vec!["requirements.txt".to_owned()],
            env: map(&[("PIP_NO_INPUT", "1")]),
            folder: None,
        },
    ];
    recipe.prepare = vec![line("make deps")];
    recipe.start = vec![program(&["redis-cli", "ping"])];
    recipe.env = map(&[("PATH", "/opt/bin:${env:PATH}")]);
    recipe.workspace = Some("/srv/app".to_owned());
    recipe.workdir = Some("/srv/app/sub".to_owned());
    recipe.caches = vec![
        Cache::Ecosystem(Ecosystem::Cargo),
        Cache::Ecosystem(Ecosystem::Npm),
        folder("target", "/srv/app/target"),
    ];
    recipe.services = vec![
        Service {
            env: map(&[("PGDATA", "/data")]),
            ..service("db", line("postgres -D /data"), Ready::Port(5432), 30)
        },
        service(
            "web",
            program(&["serve"]),
            Ready::Command(line("curl localhost")),
            120,
        ),
        service("file", line("x"), Ready::File("/run/x".to_owned()), 60),
    ];
    recipe.toolchains = map(&[("rust", "1.95")]);
    recipe
}

fn resolved() -> ResolvedRoot {
    ResolvedRoot::Image(Digest::of(b"image"))
}

fn files() -> SetupFiles {
    [(
        "requirements.txt".to_owned(),
        (0o644, Digest::of(b"requests")),
    )]
    .into()
}

fn digest(recipe: &Recipe) -> Digest {
    recipe.digest(resolved(), &files()).unwrap()
}

#[test]
fn what_makes_no_sense_is_named_by_its_field() {
    full().validate().unwrap();
    let image = |source| {
        Root::Image(Image {
            source,
            digest: None,
        })
    };
    let host = |folder: &str| {
        Root::Host(HostRoot {
            folders: vec![folder.to_owned()],
        })
    };
    let roots = [
        (host("opt"), "root.host.folders[0]"),
        (host("/a/../b"), "root.host.folders[0]"),
        (
            Root::Folder {
                path: "x".to_owned(),
            },
            "root.folder.path",
        ),
        (
            image(ImageSource::Registry("debian".to_owned())),
            "root.image.registry",
        ),
        (
            image(ImageSource::Layout(String::new())),
            "root.image.layout",
        ),
    ];
    for (root, field) in roots {
        refused(&Recipe::new(root), field);
    }
    type Change = (fn(&mut Recipe), &'static str);
    let changes: &[Change] = &[
        (|r| r.setup[0].run = line(""), "setup[0].run"),
        (
            |r| r.setup[0].files = vec!["/etc/passwd".into()],
            "setup[0].files[0]",
        ),
        (
            |r| r.setup[0].files = vec!["../x".into()],
            "setup[0].files[0]",
        ),
        (|r| r.setup[0].env = map(&[("A B", "c")]), "setup[0].env"),
        (
            |r| {
                r.setup[0].files = vec!["a/b".into()];
                r.setup[0].folder = Some("b".into());
            },
            "setup[0].folder",
        ),
        (|r| r.prepare = vec![program(&[])], "prepare[0]"),
        (|r| r.start = vec![line("ok"), line(" ")], "start[1]"),
        (|r| r.env = map(&[("1A", "x")]), "env"),
        (|r| r.env = map(&[("A", "${env:")]), "env.A"),
        (|r| r.env = map(&[("A", "${env:B C}")]), "env.A"),
        (|r| place(r, "work"), "workspace"),
        (|r| place(r, "/"), "workspace"),
        (|r| place(r, "/home/dev/app"), "workspace"),
        (|r| place(r, "/run/x"), "workspace"),
        (|r| place(r, "/etc"), "workspace"),
        (|r| place(r, "/work/sub"), "workspace"),
        (|r| r.workdir = Some("/proc/1".into()), "workdir"),
        (|r| r.workdir = Some("/srv".into()), "workdir"),
        (|r| r.caches[1] = r.caches[0].clone(), "caches[1]"),
        (|r| r.caches[1] = folder("target", "/y"), "caches[2]"),
        (|r| r.caches[0] = folder("../x", "/x"), "caches[0].name"),
        (
            |r| r.caches[0] = folder("x", "/nightcrew/in"),
            "caches[0].path",
        ),
        (
            |r| r.services[0].ready = Ready::Port(0),
            "services[0].ready.port",
        ),
        (
            |r| r.services[0].ready = Ready::File("x".into()),
            "services[0].ready.file",
        ),
        (
            |r| r.services[0].timeout = Duration::from_secs(7200),
            "services[0].timeout",
        ),
        (|r| r.services[1].name = "db".into(), "services[1].name"),
    ];
    for (change, field) in changes {
        let mut recipe = full();
        change(&mut recipe);
        refused(&recipe, field);
    }
}

fn place(recipe: &mut Recipe, path: &str) {
    recipe.workspace = Some(path.to_owned());
    recipe.workdir = None;
}

fn refused(recipe: &Recipe, field: &str) {
    match recipe.validate() {
        Err(Error::Field { field: named, .. }) => assert_eq!(named, field),
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn everything_that_changes_the_environment_changes_the_digest() {
    let base = digest(&full());
    assert_eq!(digest(&full()), base);
    type Change = (&'static str, fn(&mut Recipe));
    let changes: &[Change] = &[
        ("a set-up command", |r| {
            r.setup[0].run = Command::Line("true".into());
        }),
        ("its variables", |r| {
            drop(r.setup[1].env.insert("A".into(), "b".into()));
        }),
        ("its folder", |r| r.setup[1].folder = Some("sub".into())),
        ("the order of set-up", |r| r.setup.swap(0, 1)),
        ("prepare", |r| r.prepare.clear()),
        ("start", |r| r.start.clear()),
        ("a command moved from prepare to start", |r| {
            r.start
                .splice(0..0, std::mem::take(&mut r.prepare))
                .for_each(drop);
        }),
        ("a variable", |r| drop(r.env.insert("A".into(), "b".into()))),
        ("the workspace", |r| r.workspace = None),
        ("the folder to begin in", |r| r.workdir = None),
        ("a cache", |r| drop(r.caches.pop())),
        ("a service's command", |r| {
            r.services[0].command = Command::Line("x".into());
        }),
        ("a service's variables", |r| r.services[0].env.clear()),
        ("readiness", |r| r.services[0].ready = Ready::Port(1)),
        ("the order of services", |r| r.services.swap(0, 1)),
    ];
    let mut seen = std::collections::BTreeMap::from([(base, "nothing")]);
    for (what, change) in changes {
        let mut recipe = full();
        change(&mut recipe);
        assert_eq!(seen.insert(digest(&recipe), what), None, "{what}");
    }
    let other_image = full()
        .digest(ResolvedRoot::Image(Digest::of(b"other")), &files())
        .unwrap();
    assert_ne!(other_image, base);
    for file in [
        (0o755, Digest::of(b"requests")),
        (0o644, Digest::of(b"other")),
    ] {
        let files = [("requirements.txt".to_owned(), file)].into();
        assert_ne!(full().digest(resolved(), &files).unwrap(), base);
    }
}

#[test]
fn what_changes_nothing_changes_no_digest() {
    let base = digest(&full());
    let mut recipe = full();
    recipe.toolchains.clear();
    recipe.services[0].timeout = Duration::from_secs(1);
    recipe.caches.reverse();
    assert_eq!(digest(&recipe), base);
    // A tag is only a way to find the image.
    let Root::Image(image) = &mut recipe.root else {
        panic!()
    };
    image.source = recipe::ImageSource::Tarball("/x.tar".into());
    assert_eq!(digest(&recipe), base);
}

#[test]
fn lists_do_not_flow_into_each_other() {
    let with = |words: &[&[&str]]| {
        let mut recipe = Recipe::new(Root::Host(HostRoot::default()));
        recipe.prepare = words
            .iter()
            .map(|words| Command::Program(words.iter().map(|w| (*w).to_owned()).collect()))
            .collect();
        recipe
            .digest(ResolvedRoot::Host(None), &SetupFiles::new())
            .unwrap()
    };
    let all = [
        with(&[&["a", "b"]]),
        with(&[&["ab"]]),
        with(&[&["a"], &["b"]]),
        with(&[&["a", ""], &["b"]]),
        with(&[]),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn the_digest_of_today_is_the_digest_of_tomorrow() {
    // Environments are kept by it: a change here throws all of them away.
    assert_eq!(
        digest(&full()).to_string(),
        "sha256:2b5c14fdc1c4034e6c17c70e2e578d668022822c8e4b93ef4d28ed40a104f3e4"
    );
}

#[test]
fn a_host_root_is_not_reproducible_and_follows_the_host() {
    let recipe = Recipe::new(Root::Host(HostRoot::default()));
    assert!(!recipe.reproducible());
    let path = "/srv/root".to_owned();
    assert!(!Recipe::new(Root::Folder { path }).reproducible());
    assert!(full().reproducible());
    let none = SetupFiles::new();
    let one = recipe
        .digest(ResolvedRoot::Host(Some(Digest::of(b"a"))), &none)
        .unwrap();
    assert_ne!(
        one,
        recipe
            .digest(ResolvedRoot::Host(Some(Digest::of(b"b"))), &none)
            .unwrap()
    );
    assert!(matches!(
        recipe.digest(resolved(), &none),
        Err(Error::Field { .. })
    ));
}

#[test]
fn files_of_set_up_are_read_without_following_links() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::new(Root::Host(HostRoot::default()));
    recipe.setup = full().setup;
    match setup_files(folder.path(), &recipe) {
        Err(Error::Field { field, .. }) => assert_eq!(field, "setup[1].files[0]"),
        other => panic!("{other:?}"),
    }
    fs::write(folder.path().join("requirements.txt"), "requests").unwrap();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.path().join("requirements.txt"), mode).unwrap();
    assert_eq!(setup_files(folder.path(), &recipe).unwrap(), files());
    let target = tempfile::tempdir().unwrap();
    lay_out(folder.path(), &recipe.setup[1], &files(), target.path()).unwrap();
    let copy = fs::read_to_string(target.path().join("requirements.txt"));
    assert_eq!(copy.unwrap(), "requests");
    // What changed since its digest was taken is not what the digest names.
    fs::write(folder.path().join("requirements.txt"), "other").unwrap();
    let again = tempfile::tempdir().unwrap();
    match lay_out(folder.path(), &recipe.setup[1], &files(), again.path()) {
        Err(Error::Field { problem, .. }) => assert!(problem.contains("changed"), "{problem}"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(folder.path().join("requirements.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("requirements.txt")).unwrap();
    assert!(setup_files(folder.path(), &recipe).is_err());
    assert!(matches!(
        recipe.digest(ResolvedRoot::Host(None), &SetupFiles::new()),
        Err(Error::Field { .. })
    ));
}

#[test]
fn variables_of_the_root_are_filled_in() {
    let root = [
        ("PATH".to_owned(), "/usr/bin".to_owned()),
        ("LANG".to_owned(), "C".to_owned()),
    ]
    .into();
    let all = full().variables(&root).unwrap();
    assert_eq!(
        (all["PATH"].as_str(), all["LANG"].as_str()),
        ("/opt/bin:/usr/bin", "C")
    );
    match full().variables(&std::collections::BTreeMap::new()) {
        Err(Error::Field { field, .. }) => assert_eq!(field, "env.PATH"),
        other => panic!("{other:?}"),
    }
}
