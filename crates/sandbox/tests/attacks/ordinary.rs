//! The part of the matrix that needs an ordinary user, when the tests are run by root.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::adapter::{Mode, Tier};
use crate::common::copy_program;
use crate::matrix::{self, Row};
use crate::scene;

const MODE: &str = "NIGHTCREW_ATTACK_MODE";
const ANSWER: &str = "NIGHTCREW_ATTACK_ANSWER";

/// Runs a mode as user 65534, by this very program.
pub(crate) fn run(mode: Mode) -> Result<Vec<Row>, String> {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    scene::copy_programs(place.path());
    let program = place.path().join("tests");
    copy_program(std::env::current_exe().unwrap().to_str().unwrap(), &program);
    let answer = place.path().join("answer.json");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args([
            "--exact",
            "part_of_an_ordinary_user",
            "--ignored",
            "--nocapture",
        ])
        .env("NIGHTCREW_ATTACK_PROGRAMS", place.path())
        .env(MODE, mode.name())
        .env(ANSWER, &answer)
        .env("TMPDIR", place.path())
        .current_dir("/")
        // Its progress is this test's.
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("setpriv cannot be run: {error}"))?;
    let Ok(text) = std::fs::read_to_string(&answer) else {
        panic!("no answer: {output:?}");
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    match value.as_str() {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(value
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Row::from_json)
            .collect()),
    }
}

/// What that program does: runs the mode it is told and writes the rows, or why there are none.
pub(crate) fn part() {
    let mode = std::env::var(MODE).expect("started by another test");
    let mode = Mode::ALL
        .into_iter()
        .find(|known| known.name() == mode)
        .unwrap();
    let value = match matrix::run_here(Tier::L0, mode) {
        Ok(rows) => serde_json::Value::Array(rows.iter().map(Row::json).collect()),
        Err(reason) => reason.into(),
    };
    std::fs::write(std::env::var(ANSWER).unwrap(), value.to_string()).unwrap();
}
