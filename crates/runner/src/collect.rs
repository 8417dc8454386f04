//! Collects the work of a task as git objects, inside its own environment.
//!
//! Whatever the environment made of its repository (hooks, filters, aliases, another `.git`) acts
//! only in there; what comes out is bytes, and `verify` says what they are worth.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use forge::git::Oid;
use sandbox::Environment;

use crate::exec::{Captured, Program, as_stdin, capture};
use crate::halt::Halt;
use crate::held::StopWatch;
use crate::place::Place;

/// Wall time of one git command.
pub(crate) const GIT_TIME: Duration = Duration::from_mins(10);
/// Commits of an environment that are kept as they are; more become one.
const MOST_COMMITS: usize = 100;
/// Most bytes of their messages.
const MESSAGES: usize = 256 * 1024;

/// A commit made in the environment: only its tree and its message count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) tree: Oid,
    pub(crate) message: Vec<u8>,
}

/// What was collected; nothing of it is checked.
pub(crate) struct Collected {
    /// The tree of the workspace.
    pub(crate) tree: Oid,
    /// Commits made on top of the base, oldest first, where they form a line.
    pub(crate) commits: Vec<Made>,
    /// Objects that the base lacks; empty when there are none.
    pub(crate) pack: Vec<u8>,
}

/// Why nothing could be collected, in words for the step's log.
pub(crate) enum CollectError {
    Halt(Halt),
    Unusable(String),
}

impl From<Halt> for CollectError {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// Git in an environment, with settings that the repository cannot change.
pub(crate) struct InnerGit<'a> {
    environment: &'a Arc<Environment>,
    stop: &'a mut StopWatch,
    cwd: &'static str,
    variables: [(&'static str, &'static str); 2],
}

/// Settings of every git we run inside.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.fsync", "none"),
    ("core.quotePath", "true"),
    ("core.bigFileThreshold", "32m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("safe.directory", "*"),
    ("advice.addEmbeddedRepo", "false"),
    ("log.showSignature", "false"),
];

impl<'a> InnerGit<'a> {
    /// Git over the workspace.
    pub(crate) fn over_workspace(
        environment: &'a Arc<Environment>,
        stop: &'a mut StopWatch,
    ) -> Self {
        Self {
            environment,
            stop,
            cwd: "/work",
            variables: [
                ("GIT_WORK_TREE", "/work"),
                ("GIT_INDEX_FILE", "/work/.git/index"),
            ],
        }
    }

    /// Git over the objects alone: attributes in a work tree or an index could hide content.
    pub(crate) fn over_objects(environment: &'a Arc<Environment>, stop: &'a mut StopWatch) -> Self {
        Self {
            environment,
            stop,
            cwd: "/tmp",
            variables: [
                ("GIT_WORK_TREE", "/tmp"),
                ("GIT_INDEX_FILE", "/tmp/no-index"),
            ],
        }
    }

    /// Runs one git command.
    pub(crate) async fn run(
        &mut self,
        arguments: &[&str],
        stdin: Option<&[u8]>,
        limit: usize,
    ) -> Result<Captured, Halt> {
        let stdin = stdin
            .map(as_stdin)
            .transpose()
            .map_err(|error| Halt::broken("cannot make a memory file", &error))?;
        let mut argv = vec!["git".to_owned()];
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut env = settings();
        env.extend(
            self.variables
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let cwd = Some(self.cwd.to_owned());
        let program = Program {
            argv,
            env,
            cwd,
            stdin,
            timeout: GIT_TIME,
        };
        capture(self.environment, program, self.stop, limit).await
    }
}

fn settings() -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = [
        ("GIT_DIR", "/work/.git"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_PAGER", "cat"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    env.push(("GIT_CONFIG_COUNT".to_owned(), SETTINGS.len().to_string()));
    for (n, (key, value)) in SETTINGS.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{n}"), (*key).to_owned()));
        env.push((format!("GIT_CONFIG_VALUE_{n}"), (*value).to_owned()));
    }
    env
}

/// Collects the work over `base`, whose tree is `base_tree`.
pub(crate) async fn collect(
    git: &mut InnerGit<'_>,
    place: &Place,
    base: Oid,
    base_tree: Oid,
    limit: u64,
) -> Result<Collected, CollectError> {
    demand(
        git.run(&["add", "-A"], None, 1024).await?,
        "the work cannot be added",
    )?;
    let answer = demand(
        git.run(&["write-tree"], None, 1024).await?,
        "the tree cannot be written",
    )?;
    let tree = Oid::from_hex(answer.out.trim_ascii())
        .map_err(|_| CollectError::Unusable("git names no tree".to_owned()))?;
    let commits = if may_have_commits(place) {
        commits(git, base).await?
    } else {
        Vec::new()
    };
    if tree == base_tree {
        return Ok(Collected {
            tree,
            commits: Vec::new(),
            pack: Vec::new(),
        });
    }
    let mut wanted = format!("{tree}\n^{base_tree}\n");
    for commit in &commits {
        let _ = writeln!(wanted, "{}", commit.tree);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let arguments = [
        "pack-objects",
        "--revs",
        "--stdout",
        "-q",
        "--delta-base-offset",
        "--threads=1",
    ];
    let packed = demand(
        git.run(&arguments, Some(wanted.as_bytes()), limit).await?,
        "the objects cannot be packed",
    )?;
    if packed.cut {
        return Err(CollectError::Unusable(format!(
            "the change has more than {limit} bytes of git objects"
        )));
    }
    Ok(Collected {
        tree,
        commits,
        pack: packed.out,
    })
}

fn demand(captured: Captured, what: &str) -> Result<Captured, CollectError> {
    if captured.succeeded() {
        return Ok(captured);
    }
    let why = crate::log::plain(captured.err.trim_ascii());
    Err(CollectError::Unusable(format!(
        "{what}: {}",
        crate::outputs::shortened(why, 500)
    )))
}

/// Commits move a ref; without a trace of that in the layer there are none, and no need to ask.
fn may_have_commits(place: &Place) -> bool {
    let git_dir = place.layer().join("upper/.git");
    ["HEAD", "refs", "packed-refs"]
        .iter()
        .any(|name| git_dir.join(name).symlink_metadata().is_ok())
}

/// The line of commits from the base to `HEAD`; empty when there is none or it is no line.
async fn commits(git: &mut InnerGit<'_>, base: Oid) -> Result<Vec<Made>, Halt> {
    let range = format!("{base}..HEAD");
    let most = format!("--max-count={}", MOST_COMMITS + 1);
    let arguments = [
        "log",
        "--reverse",
        "--topo-order",
        &most,
        "--no-color",
        "--format=tformat:%H %T %P%x00%B%x00",
        &range,
        "--",
    ];
    let answer = git.run(&arguments, None, MESSAGES).await?;
    if !answer.succeeded() || answer.cut {
        return Ok(Vec::new());
    }
    Ok(line(&answer.out, base).unwrap_or_default())
}

fn line(log: &[u8], base: Oid) -> Option<Vec<Made>> {
    let mut fields = log.split(|byte| *byte == 0);
    let mut parent = base;
    let mut made = Vec::new();
    while let Some(head) = fields.next() {
        let head = head.trim_ascii();
        if head.is_empty() {
            break;
        }
        let names: Vec<Oid> = head
            .split(|byte| *byte == b' ')
            .map(Oid::from_hex)
            .collect::<Result<_, _>>()
            .ok()?;
        let [commit, tree, its_parent] = names[..] else {
            return None;
        };
        if its_parent != parent || made.len() == MOST_COMMITS {
            return None;
        }
        made.push(Made {
            tree,
            message: fields.next()?.to_vec(),
        });
        parent = commit;
    }
    Some(made)
}
