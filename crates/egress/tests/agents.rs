//! Real coding agents through the gateway, with a placeholder in place of a key.
//!
//! Needs node, Claude Code and Codex. They are looked for in the folder that
//! `NIGHTCREW_STORY_AGENTS` names, otherwise in `story-agents` in the build folder. They are their
//! makers' and are not shipped.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use egress::gateway::config::Kind;
use model::egress::EgressKind;
use serde_json::{Value, json};
use support::upstream::{Reply, Scripted, Seen, messages, messages_with, responses};
use support::{KEY, MODEL, World, front, policy, skip, upstream};

const PLACEHOLDER: &str = "placeholder-of-the-environment";

/// What the scripted model has the agent do.
const COMMAND: &str = "echo done > made-by-the-agent";

/// The programs, by the places where npm puts them.
const CLAUDE: &str = "node_modules/@anthropic-ai/claude-code/bin/claude.exe";
const CODEX: &str = "node_modules/@openai/codex/bin/codex.js";

fn program(place: &str) -> Option<PathBuf> {
    let named = std::env::var_os("NIGHTCREW_STORY_AGENTS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        target.join("story-agents")
    });
    let program = folder.join(place);
    if program.exists() {
        return Some(program);
    }
    skip(&format!(
        "there is no coding agent: npm install --prefix {} @anthropic-ai/claude-code@2.1.197 @openai/codex@0.169",
        folder.display()
    ));
    None
}

/// Where an agent lives for one test.
struct Place {
    folder: tempfile::TempDir,
}

struct Said {
    good: bool,
    text: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "work"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Runs an agent to its end with nothing of the caller's settings.
    async fn run(&self, program: &Path, words: &[&str], own: &[(&str, &str)]) -> Said {
        let run = tokio::process::Command::new(program)
            .args(words)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TMPDIR", self.folder.path())
            .env("TERM", "dumb")
            .env("LANG", "C.UTF-8")
            .envs(own.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran = tokio::time::timeout(Duration::from_secs(120), run)
            .await
            .expect("the agent ends")
            .expect("the agent runs");
        let both = [ran.stdout, ran.stderr].concat();
        Said {
            good: ran.status.success(),
            text: String::from_utf8_lossy(&both).into_owned(),
        }
    }

    /// Whether the real key is in any file here.
    fn has_key(&self) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && let Ok(bytes) = std::fs::read(entry.path())
                    && bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes())
                {
                    return true;
                }
            }
        }
        false
    }

    async fn claude(&self, program: &Path, url: &str) -> Said {
        let words = [
            "-p",
            "Do it.",
            "--model",
            MODEL,
            "--dangerously-skip-permissions",
            "--output-format",
            "json",
        ];
        let own = [
            ("ANTHROPIC_BASE_URL", url),
            ("ANTHROPIC_API_KEY", PLACEHOLDER),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
            // It refuses to skip its questions as user 0 unless it is told where it is.
            ("IS_SANDBOX", "1"),
        ];
        self.run(program, &words, &own).await
    }

    async fn codex(&self, program: &Path, url: &str) -> Said {
        let folder = self.home().join(".codex");
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "model_provider = \"gateway\"\nmodel = \"gpt-5\"\nweb_search = \"disabled\"\n\n\
             [model_providers.gateway]\nname = \"gateway\"\nbase_url = \"{url}/v1\"\nenv_key = \"AGENT_KEY\"\nwire_api = \"responses\"\n"
        );
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let words = [
            "exec",
            "--dangerously-bypass-approvals-and-sandbox",
            "--skip-git-repo-check",
            "Do it.",
        ];
        let folder = folder.to_str().unwrap().to_owned();
        let own = [("CODEX_HOME", folder.as_str()), ("AGENT_KEY", PLACEHOLDER)];
        self.run(program, &words, &own).await
    }
}

/// Has Claude Code call its shell once, then say that it is done.
fn claude_script(seen: &Seen) -> Reply {
    let body = seen.json();
    if seen.path.contains("count_tokens") {
        return Reply::json(200, &json!({"input_tokens": 10}));
    }
    let text = body["messages"].to_string();
    let tools = body["tools"]
        .as_array()
        .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "Bash"));
    let events = if !tools || text.contains("toolu_1") {
        messages(MODEL, "It is done.", 1000, 10)
    } else {
        let block = json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}});
        let input = json!({"command": COMMAND, "description": "do it"}).to_string();
        let delta = json!({"type": "input_json_delta", "partial_json": input});
        messages_with(MODEL, &block, &delta, "tool_use", 1000, 10)
    };
    if body["stream"] == true {
        return Reply::events(&events);
    }
    let usage = json!({"input_tokens": 1000, "output_tokens": 10});
    Reply::json(
        200,
        &json!({"id": "m", "type": "message", "role": "assistant", "model": MODEL,
        "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage}),
    )
}

/// Has Codex call its shell once, then say that it is done.
fn codex_script(seen: &Seen) -> Reply {
    let body = seen.json();
    let item: Value = if body["input"].to_string().contains("function_call_output") {
        json!({"type": "message", "id": "i2", "role": "assistant", "content": [{"type": "output_text", "text": "It is done."}]})
    } else {
        let input = json!({"cmd": COMMAND}).to_string();
        json!({"type": "function_call", "id": "i1", "call_id": "call_1", "name": "exec_command", "arguments": input})
    };
    Reply::events(&responses("gpt-5", &[item], 1000, 10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_code_works_with_a_placeholder() {
    let Some(program) = program(CLAUDE) else {
        return;
    };
    let server = Scripted::start(|_, seen| claude_script(seen)).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let address = front(world.gateway.clone(), policy(&["claude-*"])).await;
    let place = Place::new();
    let said = place.claude(&program, &format!("http://{address}")).await;
    assert!(
        said.good && said.text.contains("It is done."),
        "{}\n{:#?}",
        said.text,
        world.kept.all()
    );
    assert!(
        place.work().join("made-by-the-agent").exists(),
        "{}",
        said.text
    );
    for seen in server.seen() {
        assert_eq!(seen.headers["x-api-key"], KEY);
        assert!(
            !format!("{:?}{}", seen.headers, String::from_utf8_lossy(&seen.body))
                .contains(PLACEHOLDER)
        );
    }
    assert!(!place.has_key() && !said.text.contains(KEY));
    let calls = world
        .kept
        .all()
        .iter()
        .filter(|(_, event)| event.refused.is_none())
        .count() as u64;
    assert!(world.spent().await > 0 && calls >= 2);
    println!(
        "Claude Code: {calls} calls, {} refused",
        world.kept.refused(EgressKind::Model)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_works_with_a_placeholder() {
    let Some(program) = program(CODEX) else {
        return;
    };
    let server = Scripted::start(|_, seen| codex_script(seen)).await;
    let world = World::new(&[("o", upstream(Kind::Openai, server.address))]);
    let address = front(world.gateway.clone(), policy(&["gpt-*"])).await;
    let place = Place::new();
    let said = place.codex(&program, &format!("http://{address}")).await;
    assert!(
        said.good && said.text.contains("It is done."),
        "{}\n{:#?}",
        said.text,
        world.kept.all()
    );
    assert!(
        place.work().join("made-by-the-agent").exists(),
        "{}",
        said.text
    );
    for seen in server.seen() {
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    }
    assert!(!place.has_key() && !said.text.contains(KEY));
    assert!(world.spent().await > 0);
    println!(
        "Codex: {} calls, {} refused",
        server.seen().len(),
        world.kept.refused(EgressKind::Model)
    );
}

/// Most calls that an agent may make before it understands that there is no money.
const PATIENCE_OF_AGENTS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_code_stops_at_the_cap_and_says_why() {
    let Some(program) = program(CLAUDE) else {
        return;
    };
    let server = Scripted::start(|_, seen| claude_script(seen)).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        0,
        |_| {},
    );
    let address = front(world.gateway.clone(), policy(&["claude-*"])).await;
    let place = Place::new();
    let said = place.claude(&program, &format!("http://{address}")).await;
    let refused = world.kept.refused(EgressKind::Model);
    assert!(
        said.text.contains("leaves no room for this call"),
        "{}",
        said.text
    );
    assert!(refused <= PATIENCE_OF_AGENTS, "{refused}");
    assert_eq!(world.spent().await, 0);
    println!(
        "Claude Code at the cap: {refused} calls, good: {}",
        said.good
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_stops_at_the_cap_and_says_why() {
    let Some(program) = program(CODEX) else {
        return;
    };
    let server = Scripted::start(|_, seen| codex_script(seen)).await;
    let world = World::with(&[("o", upstream(Kind::Openai, server.address))], 0, |_| {});
    let address = front(world.gateway.clone(), policy(&["gpt-*"])).await;
    let place = Place::new();
    let said = place.codex(&program, &format!("http://{address}")).await;
    let refused = world.kept.refused(EgressKind::Model);
    assert!(
        !said.good && said.text.contains("leaves no room for this call"),
        "{}",
        said.text
    );
    assert!(refused <= PATIENCE_OF_AGENTS, "{refused}");
    println!("Codex at the cap: {refused} calls");
}
