//! `nightcrew env`: what environments are made from, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::process::Command;

use common::Place;

/// A folder to work on.
fn place() -> Place {
    let place = Place::new();
    place.write("work/a.txt", "hello\n");
    place
}

/// Removes what a test made, also when the test fails.
struct Clear<'a>(&'a Place);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        let _ = self.0.command(&["env", "rm", "--all"]).output();
    }
}

/// A repository whose `devcontainer.json` uses most of what is supported.
fn with_devcontainer(place: &Place, image: &str) {
    place.write(
        "work/.devcontainer/devcontainer.json",
        format!(
            r#"{{"image": "{image}", "features": {{"./tool": {{"greeting": "hi"}}}},
                "remoteUser": "dev", "workspaceFolder": "/srv/shop",
                "containerEnv": {{"COLOUR": "red"}},
                "postCreateCommand": "echo once >>made; pwd >>made",
                "postStartCommand": {{"one": "echo start >>started", "two": "echo no network >&2; exit 7"}}}}"#
        ),
    );
    place.write(
        "work/.devcontainer/tool/devcontainer-feature.json",
        r#"{"id": "tool", "version": "1", "name": "Tool",
            "options": {"greeting": {"type": "string", "default": "hey"}}}"#,
    );
    place.write(
        "work/.devcontainer/tool/install.sh",
        "#!/bin/sh\nset -e\nmkdir -p /opt/tool/bin\nprintf '#!/bin/sh\\necho %s %s\\n' \"$GREETING\" \"$_REMOTE_USER\" >/opt/tool/bin/greet\nchmod 755 /opt/tool/bin/greet\ncp words /opt/tool/words\n",
    );
    place.write("work/.devcontainer/tool/words", "some words\n");
}

#[test]
fn another_version_than_the_workspace_asks_for_is_told() {
    let place = place();
    let _clear = Clear(&place);
    place.write("work/.python-version", "2.1\n");
    let said = place.say(&["env", "create", "--name", "a", "--workspace", "work"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err.contains(".python-version:1 wants Python 2.1"),
        "{}",
        said.err
    );
}

#[test]
fn a_devcontainer_with_a_feature_works_from_its_script_to_its_commands() {
    let place = place();
    let _clear = Clear(&place);
    let registry = testkit::registry::Registry::start(&[]).unwrap();
    // A repository may name a registry of this machine only where the operator did.
    let image = registry.image();
    let host = image.split('/').next().unwrap();
    place.write(
        "registry.toml",
        format!("[registry]\ndefault = \"{host}\"\n"),
    );
    with_devcontainer(&place, &image);
    let create = [
        "--config",
        "registry.toml",
        "env",
        "create",
        "--name",
        "dev",
        "--workspace",
        "work",
        "--devcontainer",
        ".devcontainer/devcontainer.json",
    ];
    let said = place.say(&create);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err.contains("no network") && said.err.contains("exited with 7"),
        "{}",
        said.err
    );
    assert!(said.err.contains("remoteUser"), "{}", said.err);
    let look = "greet; cat /opt/tool/words made started; pwd; echo $COLOUR $KIND; cat /work/made; ls /nightcrew";
    let seen = place.must(&["env", "exec", "dev", "--", "sh", "-c", look]);
    assert_eq!(
        seen,
        "hi root\nsome words\nonce\n/srv/shop\nstart\n/srv/shop\nred image\nonce\n/srv/shop\nbin\netc\nin\nout\n"
    );
    // What belongs to a new workspace ran; what belongs to a start runs again.
    place.must(&["env", "snapshot", "dev", "--as", "s"]);
    let seen = place.must(&["env", "exec", "dev", "--", "cat", "made", "started"]);
    assert_eq!(seen, "once\n/srv/shop\nstart\nstart\n");
    // Another content of the feature's files is another set-up.
    place.write("work/.devcontainer/tool/words", "other words\n");
    place.must(&["env", "rm", "dev"]);
    place.say(&create);
    let seen = place.must(&["env", "exec", "dev", "--", "cat", "/opt/tool/words"]);
    assert_eq!(seen, "other words\n");
}

/// Images and set-ups of this place, by number.
fn roots(place: &Place) -> (usize, usize) {
    let folders = |below: &str| {
        let folder = place.path("data/environments/.roots").join(below);
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
    };
    let owners = std::fs::read_dir(place.path("data/environments/.roots/images")).unwrap();
    let owners = owners.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let trees = owners.map(|owner| folders(&format!("images/{owner}/trees")));
    (trees.sum(), folders("set-up"))
}

#[test]
fn images_and_set_ups_go_when_nothing_stands_on_them_and_their_time_is_over() {
    let place = place();
    let _clear = Clear(&place);
    let registry = testkit::registry::Registry::start(&[]).unwrap();
    let image = registry.image();
    let create = |name: &str, setup: &str| {
        let arguments = [
            "env", "create", "--image", &image, "--setup", setup, "--name", name,
        ];
        place.must(&arguments);
    };
    create("a", "touch /one");
    create("b", "touch /two");
    place.must(&["env", "snapshot", "b", "--as", "s"]);
    assert_eq!(roots(&place), (1, 2));
    place.must(&["env", "rm", "b"]);
    assert_eq!(roots(&place), (1, 2), "a snapshot stands on it");
    place.must(&["env", "rm", "s"]);
    assert_eq!(roots(&place), (1, 2), "it was used a moment ago");
    // So that the rest is old.
    let old = "touch -d @0 .roots/images/*/trees/* .roots/set-up/*/outcome.json";
    let age = || {
        let folder = place.path("data/environments");
        let mut command = Command::new("sh");
        let aged = command.args(["-c", old]).current_dir(folder).status();
        assert!(aged.unwrap().success());
    };
    age();
    place.must(&["env", "create", "--name", "c"]);
    place.must(&["env", "rm", "c"]);
    assert_eq!(
        roots(&place),
        (1, 1),
        "one still stands on what it was made of"
    );
    place.must(&["env", "exec", "a", "--", "ls", "/one"]);
    age();
    place.must(&["env", "rm", "a"]);
    assert_eq!(roots(&place), (0, 0));
    create("a", "touch /one");
    place.must(&["env", "exec", "a", "--", "ls", "/one"]);
}
