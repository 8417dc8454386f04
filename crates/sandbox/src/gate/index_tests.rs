//! What targets mean in a root.

use std::os::unix::fs::symlink;

use super::*;

struct Made {
    _folder: tempfile::TempDir,
    root: Root,
}

/// `/usr` from one folder over another, and a top with a link.
fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in [
        "top",
        "usr/bin",
        "usr/lib/node_modules/npm/bin",
        "usr/lib/python3/site-packages/some_tool-1.0.dist-info",
        "usr/lib/python3/site-packages/some_tool",
        "low/bin",
    ] {
        fs::create_dir_all(at(path)).unwrap();
    }
    let file = |path: &str, content: &str| {
        fs::write(at(path), content).unwrap();
        fs::set_permissions(at(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    file(
        "usr/lib/node_modules/npm/bin/npx-cli.js",
        "#!/usr/bin/env node\n",
    );
    file("usr/lib/node_modules/npm/README", "");
    file("usr/bin/real", "x");
    file("low/bin/lower", "yy");
    file("usr/lib/python3/site-packages/some_tool/main.py", "print()");
    fs::write(
        at("usr/lib/python3/site-packages/some_tool-1.0.dist-info/RECORD"),
        "some_tool/main.py,sha256=x,7\n../../../bin/real,,\n../../../../../../etc/passwd,,\n",
    )
    .unwrap();
    symlink("../lib/node_modules/npm/bin/npx-cli.js", at("usr/bin/npx")).unwrap();
    symlink("/bin/npx", at("usr/bin/round")).unwrap();
    symlink("loop", at("usr/bin/loop")).unwrap();
    symlink("../../../../../../../../etc/passwd", at("usr/bin/out")).unwrap();
    symlink("usr/bin", at("top/bin")).unwrap();
    let mounts = crate::sys::mounts::parse(
        format!(
            "1 0 0:9 / /t/usr ro - overlay root ro,lowerdir={}:{}\n",
            at("usr").display(),
            at("low").display()
        )
        .as_bytes(),
    );
    let root = Root::of(&mounts, Path::new("/t")).with_top(at("top"));
    Made {
        _folder: folder,
        root,
    }
}

fn inside(root: &Root, target: &ExecTarget) -> Vec<String> {
    root.find(target)
        .into_iter()
        .map(|place| place.inside.display().to_string())
        .collect()
}

const CLI: &str = "/usr/lib/node_modules/npm/bin/npx-cli.js";

#[test]
fn a_name_means_what_its_links_lead_to() {
    let made = made();
    let name = |name: &str| inside(&made.root, &ExecTarget::Name(name.to_owned()));
    assert_eq!(name("npx"), [CLI]);
    assert_eq!(name("round"), [CLI]);
    assert_eq!(name("real"), ["/usr/bin/real"]);
    assert_eq!(name("lower"), ["/usr/bin/lower"]);
    assert!(name("loop").is_empty() && name("out").is_empty() && name("absent").is_empty());
}

#[test]
fn a_path_is_followed_inside_and_never_out() {
    let made = made();
    let path = |path: &str| inside(&made.root, &ExecTarget::Path(path.to_owned()));
    assert_eq!(path("/bin/npx"), [CLI]);
    assert_eq!(path("/usr/bin/../bin/real"), ["/usr/bin/real"]);
    assert!(path("/usr/bin/out").is_empty());
    assert!(path("/usr/bin").is_empty());
    assert!(path("/etc/passwd").is_empty());
}

#[test]
fn a_package_means_its_executable_files() {
    let made = made();
    let package = |name: &str| inside(&made.root, &ExecTarget::Package(name.to_owned()));
    assert_eq!(package("npm"), [CLI]);
    assert_eq!(
        package("some-tool"),
        [
            "/usr/bin/real",
            "/usr/lib/python3/site-packages/some_tool/main.py"
        ]
    );
    assert!(package("bin").is_empty());
}

#[test]
fn content_is_looked_for_among_files_of_its_size() {
    let made = made();
    assert_eq!(made.root.of_size(2).len(), 1);
    assert!(made.root.of_size(2)[0].ends_with("bin/lower"));
    assert!(made.root.of_size(12345).is_empty());
}

#[test]
fn of_stacked_layers_the_highest_counts_and_hides_what_is_below() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let file = |path: &str, content: &str| {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), content).unwrap();
        fs::set_permissions(at(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    file("outside/secret", "of the host");
    for name in ["gone", "file", "opaque/tool", "node_modules/pack/a"] {
        file(&format!("low/bin/{name}"), "low");
    }
    symlink("gone", at("low/bin/link")).unwrap();
    symlink(at("outside"), at("low/bin/folder")).unwrap();
    symlink(at("outside"), at("low/bin/node_modules/pack/away")).unwrap();
    file("low/bin/below", "below");
    file("high/bin/link", "no link");
    file("high/bin/folder/own", "own");
    fs::create_dir_all(at("high/bin/file")).unwrap();
    fs::create_dir_all(at("high/bin/opaque")).unwrap();
    crate::layer::tree::make_opaque(&at("high/bin/opaque")).unwrap();
    attribute::make_node(&at("high/bin/gone"), libc::S_IFCHR).unwrap();
    fs::create_dir_all(at("high/bin/node_modules/pack/away")).unwrap();
    fs::create_dir(at("top")).unwrap();
    let trees = [at("high"), at("low")];
    let root = Root::default().with_trees(&trees).with_top(at("top"));
    let host = |path: &str| root.follow(Path::new(path)).map(|place| place.host);
    assert_eq!(host("/bin/below"), Some(at("low/bin/below")));
    // Not what the lower link of the name leads to.
    assert_eq!(host("/bin/link"), Some(at("high/bin/link")));
    assert_eq!(host("/bin/gone"), None);
    assert_eq!(host("/bin/file"), None);
    assert_eq!(host("/bin/opaque/tool"), None);
    assert_eq!(host("/bin/folder/own"), Some(at("high/bin/folder/own")));
    assert_eq!(host("/bin/folder/secret"), None);
    let name = |name: &str| inside(&root, &ExecTarget::Name(name.to_owned()));
    assert!(name("gone").is_empty() && name("tool").is_empty() && name("secret").is_empty());
    let package = inside(&root, &ExecTarget::Package("pack".to_owned()));
    assert_eq!(package, ["/bin/node_modules/pack/a"]);
    // What is hidden is no content of the root.
    assert_eq!(
        root.of_size(3),
        [at("high/bin/folder/own"), at("low/bin/node_modules/pack/a")]
    );
}
