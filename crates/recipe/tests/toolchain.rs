//! Hints in files, and outputs of `--version`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use recipe::Error;
use recipe::toolchain::{Comparison, Hint, Tool, compare, found, hints};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn seen(files: &[(&str, &str)]) -> Vec<(Tool, String, u32)> {
    let folder = folder(files);
    hints(folder.path())
        .unwrap()
        .into_iter()
        .map(
            |Hint {
                 tool, wanted, line, ..
             }| (tool, wanted, line),
        )
        .collect()
}

#[test]
fn every_file_gives_its_hints_with_lines() {
    assert_eq!(
        seen(&[(
            "rust-toolchain.toml",
            "[toolchain]\n# x\nchannel = \"1.95\"\n"
        )]),
        [(Tool::Rust, "1.95".into(), 3)]
    );
    assert_eq!(
        seen(&[("rust-toolchain", "nightly-2026-01-01\n")]),
        [(Tool::Rust, "nightly-2026-01-01".into(), 1)]
    );
    assert_eq!(
        seen(&[("rust-toolchain", "[toolchain]\nchannel = \"stable\"")]),
        [(Tool::Rust, "stable".into(), 2)]
    );
    assert_eq!(
        seen(&[(".nvmrc", "# why\nlts/hydrogen # x\n")]),
        [(Tool::Node, "lts/hydrogen".into(), 2)]
    );
    assert_eq!(
        seen(&[(".node-version", "v20.1.0\r\n")]),
        [(Tool::Node, "v20.1.0".into(), 1)]
    );
    assert_eq!(
        seen(&[(".python-version", "\n3.11.4\n3.10\n")]),
        [(Tool::Python, "3.11.4".into(), 2)]
    );
    assert_eq!(
        seen(&[(".java-version", "17")]),
        [(Tool::Java, "17".into(), 1)]
    );
    let go = "module m\n\ngo 1.21 // x\n\ntoolchain go1.22.3\nrequire go v1\n";
    assert_eq!(
        seen(&[("go.mod", go)]),
        [(Tool::Go, "1.21".into(), 3), (Tool::Go, "1.22.3".into(), 5)]
    );
    let tools = "nodejs 18.17.1\n# x\npython 3.11.4 3.10.1 # y\ndeno 1.0\n";
    assert_eq!(
        seen(&[(".tool-versions", tools)]),
        [
            (Tool::Node, "18.17.1".into(), 1),
            (Tool::Python, "3.11.4|3.10.1".into(), 3),
            (Tool::Other("deno".into()), "1.0".into(), 4)
        ]
    );
    assert_eq!(seen(&[]), []);
}

#[test]
fn what_is_no_version_is_an_error_with_its_line() {
    for (file, text, wanted) in [
        (".nvmrc", "# only\n", 1),
        (".python-version", "\n3.11 oops\n", 2),
        (".tool-versions", "python 3\nnodejs\n", 2),
        ("rust-toolchain.toml", "[toolchain]\nchannel = 1\n", 2),
        ("go.mod", "toolchain 1.2\n", 1),
    ] {
        let folder = folder(&[(file, text)]);
        match hints(folder.path()) {
            Err(Error::Hint {
                file: named, line, ..
            }) => assert_eq!((named.as_str(), line), (file, wanted)),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_link_out_of_the_repository_is_not_followed() {
    let folder = folder(&[]);
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join(".nvmrc")).unwrap();
    assert!(matches!(hints(folder.path()), Err(Error::Io { .. })));
}

#[test]
fn outputs_of_real_programs_are_understood() {
    for (tool, output, version) in [
        (
            Tool::Rust,
            "rustc 1.95.0 (59807616e 2026-04-14)\n",
            "1.95.0",
        ),
        (
            Tool::Rust,
            "info: syncing\nrustc 1.96.0-nightly (abc 2026-04-01)\n",
            "1.96.0-nightly (2026-04-01)",
        ),
        (Tool::Node, "v18.17.1\n", "18.17.1"),
        (Tool::Python, "Python 3.11.2\n", "3.11.2"),
        (Tool::Go, "go version go1.22.3 linux/amd64\n", "1.22.3"),
        (
            Tool::Java,
            "openjdk version \"17.0.9\" 2023-10-17\nOpenJDK Runtime\n",
            "17.0.9",
        ),
        (Tool::Java, "java version \"1.8.0_392\"\n", "1.8.0_392"),
    ] {
        assert_eq!(found(&tool, output).as_deref(), Some(version));
    }
    assert_eq!(found(&Tool::Node, "version 3\nvery wrong\n"), None);
    assert_eq!(found(&Tool::Rust, ""), None);
}

#[test]
fn programs_of_this_machine_are_understood() {
    let mut seen = 0;
    for tool in [Tool::Rust, Tool::Node, Tool::Python, Tool::Go, Tool::Java] {
        let command = tool.version_command().unwrap();
        let Ok(output) = std::process::Command::new(command[0])
            .args(&command[1..])
            .output()
        else {
            continue;
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        if output.status.success() {
            let version = found(&tool, &text).unwrap_or_else(|| panic!("{tool}: {text}"));
            let hint = Hint {
                tool,
                wanted: version.split(' ').next().unwrap().into(),
                file: "f".into(),
                line: 1,
                at_least: false,
            };
            assert_eq!(compare(&hint, Some(&version)), Comparison::Fits);
            seen += 1;
        }
    }
    assert!(seen > 0, "cargo runs these tests, so there is a rustc");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}", version in ".{0,40}") {
        for name in ["rust-toolchain", ".nvmrc", ".python-version", "go.mod", ".tool-versions"] {
            let folder = folder(&[(name, &text)]);
            for hint in hints(Path::new(folder.path())).unwrap_or_default() {
                let _ = compare(&hint, Some(&version));
                let _ = compare(&hint, found(&hint.tool, &version).as_deref());
            }
        }
    }
}
