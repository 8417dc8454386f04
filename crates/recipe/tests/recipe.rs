//! Recipes: their forms, what makes no sense, and their digests.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use recipe::{
    Cache, Command, Digest, Ecosystem, Error, HostRoot, Length, Ready, Recipe, ResolvedRoot, Root,
    SetupFiles, lay_out, setup_files,
};

const FULL: &str = "
root:
  image: { registry: 'registry.example/dev:1', digest: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }
setup:
  - apt-get install -y postgresql
  - run: [pip, install, -r, requirements.txt]
    files: [requirements.txt]
    env: { PIP_NO_INPUT: '1' }
prepare: [make deps]
start: [[redis-cli, ping]]
env: { PATH: '/opt/bin:${env:PATH}' }
workspace: /srv/app
workdir: /srv/app/sub
caches: [cargo, npm, { name: target, path: /srv/app/target }]
services:
  - name: db
    command: postgres -D /data
    env: { PGDATA: /data }
    ready: { port: 5432 }
    timeout: 30s
  - { name: web, command: [serve], ready: { command: curl localhost }, timeout: 2m }
  - { name: file, command: x, ready: { file: /run/x } }
toolchains: { rust: '1.95' }
";

fn full() -> Recipe {
    serde_saphyr::from_str(FULL).unwrap()
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
fn yaml_json_and_toml_are_one_form() {
    let recipe = full();
    recipe.validate().unwrap();
    assert_eq!(recipe.caches[0], Cache::Ecosystem(Ecosystem::Cargo));
    assert_eq!(recipe.services[1].timeout, Length(Duration::from_secs(120)));
    assert_eq!(recipe.services[2].timeout, Length(Duration::from_secs(60)));
    assert_eq!(recipe.services[0].ready, Ready::Port(5432));
    assert_eq!(
        recipe.setup[0].run,
        Command::Line("apt-get install -y postgresql".into())
    );
    let json = serde_json::to_string(&recipe).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
    let yaml = serde_saphyr::to_string(&recipe).unwrap();
    assert_eq!(serde_saphyr::from_str::<Recipe>(&yaml).unwrap(), recipe);
    let toml = "setup = ['make']\n[root.host]\nfolders = ['/opt']\n[[services]]\nname = 'db'\ncommand = ['db']\nready = { port = 1 }\n";
    let recipe: Recipe = toml::from_str(toml).unwrap();
    assert_eq!(
        recipe.root,
        Root::Host(HostRoot {
            folders: vec!["/opt".into()]
        })
    );
}

#[test]
fn unknown_keys_are_errors() {
    for text in [
        "root: { host: {} }\nsetups: []",
        "root: { host: { folder: [] } }",
        "root: { docker: {} }",
        "root: { folder: { path: /x, mode: 1 } }",
        "root: { host: {} }\nservices: [{ name: a, command: b, ready: { port: 1 }, restart: true }]",
        "root: { host: {} }\nservices: [{ name: a, command: b, ready: { url: x } }]",
        "root: { host: {} }\ncaches: [gradle]",
        "root: { host: {} }\nsetup: [{ run: x, file: y }]",
    ] {
        assert!(serde_saphyr::from_str::<Recipe>(text).is_err(), "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_named_by_its_field() {
    let host = "root: { host: {} }\n";
    for (text, field) in [
        (
            "root: { host: { folders: [opt] } }".to_owned(),
            "root.host.folders[0]",
        ),
        (
            "root: { host: { folders: [/a/../b] } }".to_owned(),
            "root.host.folders[0]",
        ),
        (
            "root: { folder: { path: x } }".to_owned(),
            "root.folder.path",
        ),
        (
            "root: { image: { registry: debian } }".to_owned(),
            "root.image.registry",
        ),
        (
            "root: { image: { layout: '' } }".to_owned(),
            "root.image.layout",
        ),
        (format!("{host}setup: ['']"), "setup[0].run"),
        (
            format!("{host}setup: [{{ run: x, files: [/etc/passwd] }}]"),
            "setup[0].files[0]",
        ),
        (
            format!("{host}setup: [{{ run: x, files: [../x] }}]"),
            "setup[0].files[0]",
        ),
        (
            format!("{host}setup: [{{ run: x, env: {{ 'A B': c }} }}]"),
            "setup[0].env",
        ),
        (format!("{host}prepare: [[]]"), "prepare[0]"),
        (format!("{host}start: [ok, \" \"]"), "start[1]"),
        (format!("{host}env: {{ 1A: x }}"), "env"),
        (format!("{host}env: {{ A: '${{env:' }}"), "env.A"),
        (format!("{host}env: {{ A: '${{env:B C}}' }}"), "env.A"),
        (format!("{host}workspace: work"), "workspace"),
        (format!("{host}workdir: /proc/1"), "workdir"),
        (format!("{host}workspace: /"), "workspace"),
        (format!("{host}workspace: /home/dev/app"), "workspace"),
        (format!("{host}workspace: /run/x"), "workspace"),
        (format!("{host}workspace: /etc"), "workspace"),
        (format!("{host}workspace: /work/sub"), "workspace"),
        (format!("{host}workdir: /srv"), "workdir"),
        (
            format!("{host}setup: [{{ run: x, files: [a/b], folder: b }}]"),
            "setup[0].folder",
        ),
        (format!("{host}caches: [cargo, cargo]"), "caches[1]"),
        (
            format!("{host}caches: [{{ name: x, path: /x }}, {{ name: x, path: /y }}]"),
            "caches[1]",
        ),
        (
            format!("{host}caches: [{{ name: ../x, path: /x }}]"),
            "caches[0].name",
        ),
        (
            format!("{host}caches: [{{ name: x, path: /nightcrew/in }}]"),
            "caches[0].path",
        ),
        (
            format!("{host}services: [{{ name: a, command: b, ready: {{ port: 0 }} }}]"),
            "services[0].ready.port",
        ),
        (
            format!("{host}services: [{{ name: a, command: b, ready: {{ file: x }} }}]"),
            "services[0].ready.file",
        ),
        (
            format!(
                "{host}services: [{{ name: a, command: b, ready: {{ port: 1 }}, timeout: 2h }}]"
            ),
            "services[0].timeout",
        ),
        (
            format!(
                "{host}services: [{{ name: a, command: b, ready: {{ port: 1 }} }}, {{ name: a, command: b, ready: {{ port: 2 }} }}]"
            ),
            "services[1].name",
        ),
    ] {
        let recipe: Recipe =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match recipe.validate() {
            Err(Error::Field { field: named, .. }) => assert_eq!(named, field, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
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
    recipe.services[0].timeout = Length(Duration::from_secs(1));
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
