//! Fleets of bare repositories: from real `.travis.yml` files, or made up.
//!
//! Every repository can test itself with `sh ci/smoke.sh`, before and after a change of its
//! configuration. The same arguments give the same commits everywhere.

use std::fs::File as Opened;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::objects::{File, Files, write_repository};

/// Where the real configurations are, below the folder of shared data.
const ARCHIVE: &str = "data/travis-configs.tar.gz";
/// Largest configuration that is taken, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Checks the source and that there is a configuration of one CI system or the other.
const SMOKE: &str = r#"#!/bin/sh
# Tests of this repository: the table adds up, and some CI is configured.
set -eu
cd "$(dirname "$0")/.."
sum=$(awk '{ total += $2 } END { print total }' src/table.txt)
if [ "$sum" = "$(cat src/total.txt)" ]; then echo "ok 1 - the table adds up"; else echo "not ok 1 - the table adds up"; exit 1; fi
if [ -f .travis.yml ] || ls .github/workflows/*.yml >/dev/null 2>&1; then echo "ok 2 - CI is configured"; else echo "not ok 2 - CI is configured"; exit 1; fi
echo "1..2"
"#;

/// What a fleet is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Real `.travis.yml` files in a gzipped tar archive, one repository each.
    Archive(PathBuf),
    /// Configurations made up here.
    Synthetic,
}

impl Source {
    /// The archive with real configurations where it is: below the folder that `NIGHTCREW_SHARED`
    /// names, or below `../shared` of the workspace.
    #[must_use]
    pub fn archive() -> Option<Self> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let shared = std::env::var_os("NIGHTCREW_SHARED").map_or_else(beside, PathBuf::from);
        let archive = shared.join(ARCHIVE);
        archive.is_file().then_some(Self::Archive(archive))
    }
}

/// Builds `count` bare repositories `NAME.git` in `folder`, which is made; their names in order.
///
/// # Errors
/// When the archive cannot be read or holds fewer configurations, or a file cannot be written.
pub fn build(folder: &Path, source: &Source, count: usize) -> io::Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let mut names = Vec::with_capacity(count);
    match source {
        Source::Synthetic => {
            for number in 0..count {
                let name = format!("service-{number:04}");
                repository(folder, &name, synthetic(number).into_bytes())?;
                names.push(name);
            }
        }
        Source::Archive(path) => {
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(Opened::open(path)?));
            for entry in archive.entries()? {
                if names.len() == count {
                    break;
                }
                let mut entry = entry?;
                let path = entry.path()?.into_owned();
                let Some(name) = name(&path).filter(|_| entry.size() <= LARGEST) else {
                    continue;
                };
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                repository(folder, &name, content)?;
                names.push(name);
            }
            if names.len() < count {
                let found = format!(
                    "{} holds {} configurations, {count} were asked for",
                    path.display(),
                    names.len()
                );
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, found));
            }
        }
    }
    Ok(names)
}

/// `owner:repository.yml` as a repository's name.
fn name(path: &Path) -> Option<String> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".yml")?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.replacen(':', "--", 1).chars().map(plain).collect();
    let first = name.chars().next()?;
    (first.is_ascii_alphanumeric()
        && !name.ends_with(".git")
        && !name.ends_with('.')
        && !name.contains(".."))
    .then_some(name)
}

fn synthetic(number: usize) -> String {
    let (language, key, version, script) = [
        ("python", "python", "3.8", "python -m unittest"),
        ("go", "go", "1.12.x", "go test ./..."),
        ("node_js", "node_js", "10", "npm test"),
        ("ruby", "rvm", "2.6", "bundle exec rake"),
    ][number % 4];
    format!(
        "language: {language}\n{key}:\n  - \"{version}\"\nscript:\n  - {script}\n  - sh ci/smoke.sh\n"
    )
}

fn repository(folder: &Path, name: &str, configuration: Vec<u8>) -> io::Result<()> {
    let rows: Vec<u64> = (1..=40)
        .map(|row| row * u64::try_from(name.len()).unwrap_or(1))
        .collect();
    let table: String = rows
        .iter()
        .map(|row| format!("row-{row} {row}\n"))
        .collect();
    let total: u64 = rows.iter().sum();
    let readme = format!(
        "# {name}\n\nA repository of a fleet for tests. `sh ci/smoke.sh` tests it.\n\nLicence: Apache-2.0\n"
    );
    let mut files = Files::new();
    let mut add = |path: &str, content: Vec<u8>, executable| {
        files.insert(
            path.to_owned(),
            File {
                content,
                executable,
            },
        )
    };
    add(".travis.yml", configuration, false);
    add("README.md", readme.into_bytes(), false);
    add("ci/smoke.sh", SMOKE.into(), true);
    add("src/table.txt", table.into_bytes(), false);
    add("src/total.txt", format!("{total}\n").into_bytes(), false);
    write_repository(&folder.join(format!("{name}.git")), &files, "Begin")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn repositories_are_sound_and_test_themselves() {
        let place = tempfile::tempdir().unwrap();
        let names = build(place.path(), &Source::Synthetic, 3).unwrap();
        for name in names {
            let bare = place.path().join(format!("{name}.git"));
            let sound = Command::new("git")
                .args(["fsck", "--strict"])
                .current_dir(&bare)
                .output()
                .unwrap();
            assert!(
                sound.status.success(),
                "{}",
                String::from_utf8_lossy(&sound.stderr)
            );
            let tree = place.path().join(&name);
            assert!(
                Command::new("git")
                    .arg("clone")
                    .arg("-q")
                    .args([&bare, &tree])
                    .status()
                    .unwrap()
                    .success()
            );
            assert!(
                Command::new(tree.join("ci/smoke.sh"))
                    .output()
                    .unwrap()
                    .status
                    .success()
            );
            std::fs::remove_file(tree.join(".travis.yml")).unwrap();
            assert!(
                !Command::new(tree.join("ci/smoke.sh"))
                    .output()
                    .unwrap()
                    .status
                    .success()
            );
        }
    }

    #[test]
    fn a_name_comes_from_owner_and_repository_and_is_a_file_name() {
        assert_eq!(
            name(Path::new("./o_w:re.po.yml")).as_deref(),
            Some("o_w--re.po")
        );
        assert_eq!(
            name(Path::new("o:.hidden dir.yml")).as_deref(),
            Some("o--.hidden-dir")
        );
        assert_eq!(name(Path::new("README")), None);
        assert_eq!(name(Path::new("-x:y.yml")), None);
    }

    #[test]
    fn a_fleet_of_real_configurations_has_one_repository_for_each() {
        let Some(source) = Source::archive() else {
            assert!(
                std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(),
                "the archive is not there"
            );
            println!("SKIP the archive of real configurations is not there");
            return;
        };
        let place = tempfile::tempdir().unwrap();
        let names = build(place.path(), &source, 200).unwrap();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), 200);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 200);
    }
}
