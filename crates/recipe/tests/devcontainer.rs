//! `devcontainer.json`: each key behaves as its row says, and the book says the same.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use recipe::devcontainer::{Context, KEYS, Reading, Treatment, book_page, find, read};
use recipe::{Cache, Command, Error, ImageSource, Root, setup_files};
use serde_json::{Map, Value};

const FILE: &str = ".devcontainer/devcontainer.json";

fn repository(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for feature in ["hello", "other"] {
        let path = folder.path().join(".devcontainer").join(feature);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("install.sh"), "#!/bin/sh\ntouch /done\n").unwrap();
        let description = r#"{"id": "hello", "version": "1", "name": "x", // a comment
            "options": {"greeting": {"type": "string", "default": "hey"}, "a-b.c": {"type": "boolean", "default": false},
                        "how": {"type": "string", "enum": ["loud", "low"], "default": "low"}},
            "containerEnv": {"PATH": "/opt/hello:${PATH}"},
            "postStartCommand": "hello start",}"#;
        fs::write(path.join("devcontainer-feature.json"), description).unwrap();
    }
    fs::write(folder.path().join(FILE), text).unwrap();
    folder
}

fn context() -> Context {
    Context {
        repository: "team/shop".into(),
        default_registry: None,
    }
}

fn reading(text: &str) -> Result<Reading, Error> {
    read(repository(text).path(), FILE, &context())
}

fn good(members: &str) -> Reading {
    reading(&format!(
        r#"{{"image": "registry.example/dev:1", {members}}}"#
    ))
    .unwrap()
}

fn refused(members: &str) -> (String, String) {
    match reading(&format!(
        r#"{{"image": "registry.example/dev:1", {members}}}"#
    )) {
        Err(Error::Devcontainer { key, problem, .. }) => (key, problem),
        other => panic!("{members}: {other:?}"),
    }
}

#[test]
fn every_key_behaves_as_its_row_says() {
    for row in KEYS {
        let mut members: Map<String, Value> =
            serde_json::from_str(&format!("{{{}}}", row.example)).unwrap();
        members
            .entry("image")
            .or_insert_with(|| "registry.example/dev:1".into());
        let with = reading(&serde_json::to_string(&members).unwrap());
        let top = row.key.split('.').next().unwrap();
        assert!(
            members.remove(top).is_some(),
            "the example of {} has it",
            row.key
        );
        let without = reading(&serde_json::to_string(&members).unwrap());
        match row.treatment {
            Treatment::Refused => match with {
                Err(Error::Devcontainer { key, problem, .. }) => {
                    assert!(key == row.key || key == top, "{key} for {}", row.key);
                    assert!(key != row.key || problem == row.sentence, "{problem}");
                }
                other => panic!("{}: {other:?}", row.key),
            },
            Treatment::Ignored => {
                let with = with.unwrap();
                assert_eq!(with.recipe, without.unwrap().recipe, "{}", row.key);
                assert!(with.notes.iter().any(|(key, _)| key == top), "{}", row.key);
            }
            Treatment::Supported => {
                let with = with.unwrap_or_else(|error| panic!("{}: {error}", row.key));
                let differs = without.map_or(true, |without| without.recipe != with.recipe);
                assert!(differs, "{} makes no difference", row.key);
            }
        }
    }
}

#[test]
fn the_book_has_the_table_of_the_code() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/devcontainer.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&book, book_page()).unwrap();
    }
    let there = fs::read_to_string(&book).unwrap_or_default();
    assert!(
        there == book_page(),
        "run UPDATE=1 cargo test -p recipe, and look at what changed"
    );
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    assert_eq!(refused(r#""postCreatCommand": "x""#).0, "postCreatCommand");
    assert_eq!(
        refused(r#""hostRequirements": {"cpu": 1}"#).0,
        "hostRequirements.cpu"
    );
}

#[test]
fn what_asks_for_nothing_is_fine() {
    good(
        r#""privileged": false, "capAdd": [], "securityOpt": [], "runArgs": [], "initializeCommand": "", "hostRequirements": {"gpu": "optional"}"#,
    );
}

#[test]
fn comments_and_trailing_commas_are_fine() {
    let reading = reading("// x\n{\n  /* y */ \"image\": \"registry.example/dev:1\", // z\n  \"containerEnv\": {\"URL\": \"http://x//y\",},\n}\n").unwrap();
    assert_eq!(reading.recipe.env["URL"], "http://x//y");
    let Root::Image(image) = reading.recipe.root else {
        panic!()
    };
    assert_eq!(
        image.source,
        ImageSource::Registry("registry.example/dev:1".into())
    );
}

#[test]
fn variables_are_filled_in_and_the_host_is_never_read() {
    let recipe = good(
        r#""workspaceFolder": "/srv/shop",
           "containerEnv": {"A": "${containerWorkspaceFolder}/a", "B": "${localWorkspaceFolder}", "N": "${localWorkspaceFolderBasename}", "H": "${HOME}"},
           "remoteEnv": {"C": "${containerEnv:A}:c", "PATH": "/opt/bin:${containerEnv:PATH}", "D": "${containerEnv:NOPE:x}"},
           "postCreateCommand": "echo ${HOME} ${containerWorkspaceFolder}""#,
    )
    .recipe;
    assert_eq!(recipe.env["A"], "/srv/shop/a");
    assert_eq!(recipe.env["B"], "/srv/shop");
    assert_eq!(recipe.env["N"], "shop");
    assert_eq!(recipe.env["H"], "${HOME}");
    assert_eq!(
        recipe.prepare,
        [Command::Line("echo ${HOME} /srv/shop".into())]
    );
    let root = [("PATH".to_owned(), "/usr/bin".to_owned())].into();
    let all = recipe.variables(&root).unwrap();
    assert_eq!(all["PATH"], "/opt/bin:/usr/bin");
    assert_eq!(
        (all["C"].as_str(), all["D"].as_str()),
        ("/srv/shop/a:c", "x")
    );

    for (members, key) in [
        (
            r#""containerEnv": {"T": "${localEnv:TOKEN}"}"#,
            "containerEnv.T",
        ),
        (
            r#""remoteEnv": {"T": "x${localEnv:TOKEN:default}"}"#,
            "remoteEnv.T",
        ),
        (r#""remoteEnv": {"T": "${env:TOKEN}"}"#, "remoteEnv.T"),
        (
            r#""postCreateCommand": ["echo", "${localEnv:TOKEN}"]"#,
            "postCreateCommand",
        ),
        (
            r#""mounts": ["type=volume,source=${localEnv:HOME},target=/x"]"#,
            "mounts",
        ),
    ] {
        let (found, problem) = refused(members);
        assert_eq!(found, key);
        assert!(problem.contains("never read"), "{problem}");
    }
}

#[test]
fn remote_variables_win_and_null_removes() {
    let recipe =
        good(r#""containerEnv": {"A": "1", "B": "2"}, "remoteEnv": {"A": "3", "B": null}"#).recipe;
    assert_eq!(recipe.env, [("A".to_owned(), "3".to_owned())].into());
}

#[test]
fn lifecycle_commands_keep_their_order_in_all_forms() {
    let recipe = good(
        r#""postCreateCommand": {"z": "three", "a": ["four", "x y"]}, "onCreateCommand": "one", "updateContentCommand": ["two"],
           "postAttachCommand": "six", "postStartCommand": "five""#,
    )
    .recipe;
    let line = |text: &str| Command::Line(text.into());
    let program =
        |words: &[&str]| Command::Program(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(
        recipe.prepare,
        [
            line("one"),
            program(&["two"]),
            line("three"),
            program(&["four", "x y"])
        ]
    );
    assert_eq!(recipe.start, [line("five"), line("six")]);
    assert_eq!(refused(r#""postStartCommand": 3"#).0, "postStartCommand");
}

#[test]
fn volumes_become_caches_and_the_host_stays_out() {
    let recipe = good(r#""mounts": ["source=shop-target,target=${containerWorkspaceFolder}/target,type=volume", {"type": "volume", "source": "x-${devcontainerId}", "target": "/x"}]"#).recipe;
    let [
        Cache::Folder { name, path },
        Cache::Folder { name: second, .. },
    ] = &recipe.caches[..]
    else {
        panic!("{:?}", recipe.caches)
    };
    assert_eq!(
        (name.as_str(), path.as_str()),
        ("shop-target", "/work/target")
    );
    assert_eq!(second.len(), 2 + 52);
    for mount in [
        "source=/var/run/docker.sock,target=/var/run/docker.sock,type=bind",
        "source=${localWorkspaceFolder}/..,target=/x,type=bind",
        "type=tmpfs,target=/x",
        "type=volume,source=x",
        "type=volume,source=x,target=/x,readonly",
    ] {
        assert_eq!(refused(&format!(r#""mounts": ["{mount}"]"#)).0, "mounts");
    }
    assert!(matches!(
        reading(
            r#"{"image": "registry.example/a", "mounts": ["source=x,target=/proc/x,type=volume"]}"#
        ),
        Err(Error::Field { .. })
    ));
}

#[test]
fn a_workspace_mount_may_only_be_the_repository() {
    let recipe = good(r#""workspaceMount": "source=${localWorkspaceFolder},target=/w,type=bind,consistency=cached", "workspaceFolder": "/w/sub""#).recipe;
    assert_eq!((recipe.workspace(), recipe.workdir()), ("/w", "/w/sub"));
    assert_eq!(
        refused(r#""workspaceMount": "source=/home,target=/w,type=bind", "workspaceFolder": "/w""#)
            .0,
        "workspaceMount"
    );
}

#[test]
fn a_local_feature_becomes_a_set_up_command_with_its_files() {
    let text = r#"{"image": "registry.example/dev:1", "remoteUser": "dev", "features": {"./hello": {"greeting": "hi", "how": "loud"}}, "containerEnv": {"X": "${containerEnv:PATH}"}}"#;
    let folder = repository(text);
    let recipe = read(folder.path(), FILE, &context()).unwrap().recipe;
    let step = &recipe.setup[0];
    assert_eq!(step.folder.as_deref(), Some(".devcontainer/hello"));
    assert_eq!(
        step.files,
        [
            ".devcontainer/hello/devcontainer-feature.json",
            ".devcontainer/hello/install.sh"
        ]
    );
    for (name, value) in [
        ("GREETING", "hi"),
        ("A_B_C", "false"),
        ("HOW", "loud"),
        ("_REMOTE_USER", "root"),
        ("_REMOTE_USER_HOME", "/home/agent"),
    ] {
        assert_eq!(step.env[name], value);
    }
    assert_eq!(recipe.env["PATH"], "/opt/hello:${env:PATH}");
    assert_eq!(recipe.env["X"], "/opt/hello:${env:PATH}");
    assert_eq!(recipe.start, [Command::Line("hello start".into())]);
    let files = setup_files(folder.path(), &recipe).unwrap();
    assert_eq!(files.len(), 2);
}

#[test]
fn features_from_elsewhere_and_engines_are_refused_by_name() {
    for (name, says) in [
        ("registry.example/features/go:1", "does not lie beside"),
        ("https://x.example/f.tgz", "does not lie beside"),
        (
            "registry.example/features/docker-in-docker:2",
            "docker-in-docker",
        ),
        ("./docker-outside-of-docker", "docker-outside-of-docker"),
        ("./missing", "has no"),
        ("./../../etc", "not the name of a folder"),
        ("./", "not the name of a folder"),
    ] {
        let (key, problem) = refused(&format!(r#""features": {{"{name}": {{}}}}"#));
        assert_eq!(key, format!("features.{name}"));
        assert!(problem.contains(says), "{name}: {problem}");
    }
    assert!(
        refused(r#""features": {"./hello": {"nope": "x"}}"#)
            .1
            .contains("no option `nope`")
    );
    assert!(
        refused(r#""features": {"./hello": {"how": "never"}}"#)
            .1
            .contains("allows")
    );
}

#[test]
fn a_features_own_keys_are_refused_by_name() {
    for (key, value) in [
        ("privileged", "true"),
        ("capAdd", r#"["X"]"#),
        ("entrypoint", r#""/x""#),
        ("mounts", r#"["type=bind,source=/,target=/x"]"#),
        ("what", "1"),
    ] {
        let folder = repository(r#"{"image": "registry.example/a", "features": {"./hello": {}}}"#);
        let description = format!(r#"{{"id": "hello", "{key}": {value}}}"#);
        fs::write(
            folder
                .path()
                .join(".devcontainer/hello/devcontainer-feature.json"),
            description,
        )
        .unwrap();
        match read(folder.path(), FILE, &context()) {
            Err(Error::Devcontainer { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn features_are_ordered_by_wish() {
    let folder = |recipe: &recipe::Recipe| {
        recipe
            .setup
            .iter()
            .map(|step| step.folder.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let as_written = good(r#""features": {"./hello": {}, "./other": {}}"#).recipe;
    assert_eq!(
        folder(&as_written),
        [".devcontainer/hello", ".devcontainer/other"]
    );
    let ordered = good(
        r#""features": {"./hello": {}, "./other": {}}, "overrideFeatureInstallOrder": ["./other"]"#,
    )
    .recipe;
    assert_eq!(
        folder(&ordered),
        [".devcontainer/other", ".devcontainer/hello"]
    );
}

#[test]
fn a_link_out_of_the_repository_is_not_followed() {
    let folder = repository("{}");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("install.sh"), "x").unwrap();
    fs::write(outside.path().join("devcontainer-feature.json"), "{}").unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join(".devcontainer/link")).unwrap();
    fs::write(
        folder.path().join(FILE),
        r#"{"image": "registry.example/a", "features": {"./link": {}}}"#,
    )
    .unwrap();
    assert!(read(folder.path(), FILE, &context()).is_err());

    fs::remove_file(folder.path().join(FILE)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join(FILE)).unwrap();
    assert!(read(folder.path(), FILE, &context()).is_err());
    assert!(find(folder.path()).is_err());
}

#[test]
fn a_short_name_needs_a_default_registry() {
    let folder = repository(r#"{"image": "debian:12"}"#);
    match read(folder.path(), FILE, &context()) {
        Err(Error::Devcontainer { key, problem, .. }) => assert!(
            key == "image" && problem.contains("names no registry"),
            "{problem}"
        ),
        other => panic!("{other:?}"),
    }
    let context = Context {
        default_registry: Some("registry.example".into()),
        ..context()
    };
    let Root::Image(image) = read(folder.path(), FILE, &context).unwrap().recipe.root else {
        panic!()
    };
    assert_eq!(
        image.source,
        ImageSource::Registry("registry.example/library/debian:12".into())
    );
}

#[test]
fn the_file_is_found_where_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(find(folder.path()).unwrap(), None);
    fs::write(folder.path().join(".devcontainer.json"), "{}").unwrap();
    assert_eq!(find(folder.path()).unwrap(), Some(".devcontainer.json"));
    fs::create_dir(folder.path().join(".devcontainer")).unwrap();
    fs::write(folder.path().join(FILE), "{}").unwrap();
    assert_eq!(find(folder.path()).unwrap(), Some(FILE));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(\\$\\{)?[a-zA-Z:./=,-]{0,12}\\}?".prop_map(Value::from),
        Just(Value::from("type=volume,source=x,target=/x")),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z./_-]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_values_are_read_or_refused(values in proptest::collection::vec((0..KEYS.len(), json()), 0..6)) {
        let mut members = Map::new();
        members.insert("image".into(), "registry.example/a".into());
        for (row, value) in values {
            members.insert(KEYS[row].key.split('.').next().unwrap().into(), value);
        }
        if let Ok(reading) = reading(&serde_json::to_string(&members).unwrap()) {
            prop_assert!(reading.recipe.validate().is_ok());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        let _ = reading(&text);
    }
}

#[test]
fn a_repository_does_not_choose_which_services_of_this_machine_are_asked() {
    let with = |image: &str, registry: Option<&str>| {
        let folder = repository(&format!(r#"{{"image": "{image}"}}"#));
        let context = Context {
            default_registry: registry.map(str::to_owned),
            ..context()
        };
        read(folder.path(), FILE, &context)
    };
    for image in [
        "localhost:5000/a/b",
        "127.0.0.1:5000/a",
        "127.7.7.7:80/a:1",
        "localhost/x",
    ] {
        match with(image, None) {
            Err(Error::Devcontainer { key, problem, .. }) => {
                assert_eq!(key, "image");
                assert!(problem.contains("this machine"), "{problem}");
            }
            other => panic!("{image}: {other:?}"),
        }
        assert!(with(image, Some("registry.example")).is_err(), "{image}");
    }
    // What whoever runs this has chosen himself is his own.
    assert!(with("a/b", Some("localhost:5000")).is_ok());
    assert!(with("registry.example/a", None).is_ok());
}
