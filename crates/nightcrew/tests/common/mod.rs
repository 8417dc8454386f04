//! A place to try the program in: a home, a data directory, repositories.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(dead_code, reason = "every test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::server::{Program, Said, Server, passable};

/// Longest wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// Appends a line to a file in every repository of the inventory.
pub(crate) const APPEND: &str = r#"name: append
triggers: [manual]
targets: { query: 'true' }
steps:
  - command: echo more >> notes.txt
  - validate: [ builtin:conflict-markers ]
  - change: { title: "Append a line" }
"#;

/// A refusal with these words and a cure.
pub(crate) fn refused(said: &Said, words: &[&str]) {
    assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "no `{word}` in {}", said.err);
    }
    assert!(said.err.contains("hint: "), "no cure in {}", said.err);
}

/// A folder with everything in it that one test touches.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) program: Program,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nightcrew-test-")
            .tempdir()
            .unwrap();
        passable(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let program = Program {
            path: env!("CARGO_BIN_EXE_nightcrew").into(),
            data_dir: folder.path().join("data"),
        };
        Self { folder, program }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, text: impl AsRef<[u8]>) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The program in this place, as a person without any setting would call it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(&self.program.data_dir, arguments)
    }

    pub(crate) fn command_on(&self, data_dir: &Path, arguments: &[&str]) -> Command {
        let program = Program {
            path: self.program.path.clone(),
            data_dir: data_dir.to_owned(),
        };
        // The data directory comes first: what follows `--` belongs to the command that is tried.
        let mut command = program.command(&[]);
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    /// The surroundings of a command: this home, this folder, a person called tester.
    pub(crate) fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.folder.path())
            .env("USER", "tester")
            .env("COLUMNS", "100")
            .env_remove("GIT_CONFIG_GLOBAL")
            .env_remove("XDG_DATA_HOME")
            .env_remove("NIGHTCREW_DATA_DIR");
    }

    /// Runs the program to its end; it must not panic, whatever happens.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        self.say_on(&self.program.data_dir, arguments)
    }

    pub(crate) fn say_on(&self, data_dir: &Path, arguments: &[&str]) -> Said {
        let output = self.command_on(data_dir, arguments).output().unwrap();
        let said = Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(
            !said.err.contains("panicked"),
            "{arguments:?}: {}",
            said.err
        );
        assert!(
            said.code.is_some(),
            "{arguments:?} died of a signal: {}",
            said.err
        );
        said
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(
            said.code,
            Some(0),
            "{arguments:?}: {}{}",
            said.out,
            said.err
        );
        said.out
    }

    /// Runs a command that must succeed and answer in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        let text = self.must(&all);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{arguments:?} is no JSON: {error}: {text}"))
    }

    /// A session as it would stand on a terminal, without what differs from run to run.
    pub(crate) fn transcript(&self, sessions: &[&[&str]]) -> String {
        let mut all = String::new();
        for arguments in sessions {
            let said = self.say(arguments);
            let code = said.code.unwrap_or_default();
            let text = format!(
                "$ nightcrew {}\n{}{}",
                arguments.join(" "),
                said.out,
                said.err
            );
            all.push_str(&self.normal(&text));
            if code != 0 {
                all.extend(["[exit code ", &code.to_string(), "]\n"]);
            }
        }
        all
    }

    /// Replaces folders, ids, hashes, times and durations.
    pub(crate) fn normal(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        text.replace(&folder, "DIR")
            .lines()
            .map(|line| normal_line(line.trim_end()) + "\n")
            .collect()
    }

    /// A git repository below this place with one commit of these files.
    pub(crate) fn repository(&self, below: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path(below);
        self.git(Path::new("."), &["init", "-q", "-b", "main", below]);
        for (name, text) in files {
            self.write(&format!("{below}/{name}"), text);
        }
        self.commit(&path, "Begin");
        path
    }

    pub(crate) fn commit(&self, repository: &Path, message: &str) {
        self.git(repository, &["add", "-A"]);
        self.git(
            repository,
            &["commit", "-q", "--allow-empty", "-m", message],
        );
    }

    /// git without any setting of the person who tests; what it prints.
    pub(crate) fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "user.name=You",
                "-c",
                "user.email=you@example.org",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(arguments)
            .current_dir(self.folder.path().join(folder))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Branches of a repository of the local forge.
    pub(crate) fn branches(&self, name: &str) -> Vec<String> {
        let folder = self.program.data_dir.join(format!("forge/{name}.git"));
        let text = self.git(
            &folder,
            &["for-each-ref", "--format=%(refname:short)", "refs/heads"],
        );
        text.lines().map(str::to_owned).collect()
    }

    /// A server on the data directory.
    pub(crate) fn server(&self) -> (Server, testkit::api::Api) {
        let mut server = Server::start(&self.program, None).unwrap();
        let api = server
            .api()
            .unwrap()
            .unwrap_or_else(|| panic!("the server died: {}", self.server_log()));
        (server, api)
    }

    pub(crate) fn server_log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never was so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says that a test cannot be done here; a failure where everything is required.
#[expect(clippy::print_stdout, reason = "a skip must be seen")]
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "required: {reason}"
    );
    println!("SKIP {reason}");
}

fn normal_line(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        let hex = word
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = word.bytes().all(|byte| byte.is_ascii_digit());
        if hex && matches!(length, 8 | 12 | 16 | 32 | 40 | 64) {
            out.push_str("HEX");
        } else if number && after.starts_with(" ms") || number && out.is_empty() && is_log(after) {
            out.push('N');
        } else if number && length == 4 && moment(rest).is_some() {
            out.push_str("TIME");
            rest = &rest[moment(rest).unwrap_or(length)..];
            continue;
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out
}

fn is_log(after: &str) -> bool {
    [" out ", " err ", " note "]
        .iter()
        .any(|stream| after.starts_with(stream))
}

/// The length of a moment like `2026-11-22 22:28:07.725`, to the minute at least.
fn moment(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let shape = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !(shape(4, b'-') && shape(7, b'-') && shape(10, b' ') && shape(13, b':')) {
        return None;
    }
    let end = bytes[16..]
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.'));
    Some(end.map_or(bytes.len(), |end| 16 + end))
}
