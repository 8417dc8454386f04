//! The story itself: a real coding agent, driven by a scripted model, tries its forbidden `npx`.
//!
//! Needs python3, node with npm, and Claude Code. The agent is looked for in the folder that
//! `NIGHTCREW_STORY_AGENTS` names, otherwise in `story-agents` in the build folder, where
//! `cargo xtask test` installs it from the npm registry. It is its makers' and is not shipped.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Ran, World, run, skip};
use sandbox::{
    Environment, ExecEvent, ExecMode, ExecRule, ExecSpec, ExecTarget, ExitStatus, FolderMount,
    IsolationLevel, RuleVerdict,
};
use serde_json::Value;

/// The version that was tried; another is as good if it speaks the same protocol.
const AGENT: &str = "@anthropic-ai/claude-code@2.1.197";

/// Where environments show the agent.
const AGENTS: &str = "/opt/agents";

#[test]
fn without_exec_control_the_agent_reaches_npx_by_every_trick() {
    let Some((rows, events)) = tell(&Mode::Off) else {
        return;
    };
    assert!(events.is_empty(), "{events:#?}");
    let denied: Vec<&str> = rows
        .iter()
        .filter(|row| row["ran"] != true)
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert_eq!(denied, Vec::<&str>::new(), "these tricks prove nothing");
}

#[test]
fn in_deny_list_mode_the_agent_is_denied_npx_by_every_trick() {
    let Some((rows, events)) = tell(&Mode::DenyNpx) else {
        return;
    };
    let reached: Vec<&Value> = rows
        .iter()
        .filter(|row| row["promised"] == true && row["ran"] == true)
        .collect();
    assert!(reached.is_empty(), "{reached:#?}");
    // What denies everything proves nothing either.
    let other = rows.iter().find(|row| row["name"] == "other-program");
    assert_eq!(other.unwrap()["ran"], true, "{rows:#?}");
    // The host hears of each. (The agent's commands write into a file, where the gate says nothing.)
    let denied: Vec<&ExecEvent> = events.iter().filter(|event| event.denied).collect();
    assert!(
        denied
            .iter()
            .all(|event| event.rule.starts_with("name npx") && event.digest.is_some()),
        "{denied:#?}"
    );
    let tricks = rows.iter().filter(|row| row["promised"] == true).count();
    let count: u64 = denied.iter().map(|event| event.count).sum();
    assert!(count >= tricks as u64, "{count} for {tricks}: {denied:#?}");
}

/// What the environment denies.
enum Mode {
    Off,
    /// A deny list with the one rule `npx`, by name.
    DenyNpx,
}

/// An environment of this mode: the story in its workspace, the agent beside it. The only
/// function that knows how.
fn make_environment(world: &World, mode: &Mode, agents: PathBuf) -> Option<Environment> {
    let base = world.base(&[
        ("story.py", include_str!("story/story.py")),
        ("scenario.json", include_str!("story/scenario.json")),
    ]);
    let mut spec = world.spec("story", Some(&base));
    // Not among the inputs, of which nothing executes.
    spec.mounts = vec![FolderMount {
        source: agents,
        target: AGENTS.into(),
        writable: false,
        upper: None,
    }];
    spec.limits.wall = Duration::from_mins(15);
    if let Mode::DenyNpx = mode {
        spec.exec.mode = ExecMode::DenyList;
        spec.exec.rules = vec![ExecRule {
            verdict: RuleVerdict::Deny,
            target: ExecTarget::Name("npx".into()),
            reason: "packages come from the recipe".into(),
        }];
    }
    let environment = world.supervisor.create(&spec).expect("an environment");
    if spec.exec.mode != ExecMode::Off && environment.report().level < IsolationLevel::L1 {
        skip("this host does not judge programs by content");
        return None;
    }
    Some(environment)
}

/// Every attempt with its result, and what the host heard; or none, and the reason was told.
fn tell(mode: &Mode) -> Option<(Vec<Value>, Vec<ExecEvent>)> {
    for program in ["/usr/bin/python3", "/usr/bin/node", "/usr/bin/npx"] {
        if !Path::new(program).exists() {
            skip(&format!("{program} is not installed"));
            return None;
        }
    }
    let agents = agents()?;
    let world = World::new();
    let environment = make_environment(&world, mode, agents)?;
    let ran = perform(&environment);
    let mut events = Vec::new();
    loop {
        let more = environment.exec_events(Duration::from_secs(1));
        if more.is_empty() {
            break;
        }
        events.extend(more);
    }
    assert_eq!(ran.status, ExitStatus::Code(0), "{ran:#?}");
    let (_, json) = ran.out.split_once("RESULTS\n").expect("results");
    let value: Value = serde_json::from_str(json).unwrap();
    let rows = value["attempts"].as_array().unwrap().clone();
    assert!(rows.len() >= 20);
    Some((rows, events))
}

fn perform(environment: &Environment) -> Ran {
    let script = "/usr/bin/python3 story.py claude \"$AGENT\" --timeout 300 --results /tmp/results.json \
                  && echo RESULTS && cat /tmp/results.json";
    let agent = program(Path::new(AGENTS));
    run(
        environment,
        ExecSpec {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("AGENT".into(), agent.display().to_string())],
            cwd: None,
            stdin: None,
            stdout: common::null(),
            stderr: common::null(),
            terminal: None,
            timeout: Some(Duration::from_mins(6)),
        },
    )
}

fn program(agents: &Path) -> PathBuf {
    agents.join("node_modules/@anthropic-ai/claude-code/bin/claude.exe")
}

/// The folder with the agent, if there is one.
fn agents() -> Option<PathBuf> {
    let named = std::env::var_os("NIGHTCREW_STORY_AGENTS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        target.join("story-agents")
    });
    if program(&folder).exists() {
        return Some(folder);
    }
    skip(&format!(
        "there is no coding agent: npm install --prefix {} {AGENT}",
        folder.display()
    ));
    None
}
