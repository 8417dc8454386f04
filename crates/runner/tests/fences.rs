//! What an automation asks of its environment's fence: reached and told, or refused before anything
//! runs; and what its environment is made of.

mod common;

use common::World;
use model::exec::ExecMode;
use model::isolation::{IsolationLevel, RootKind};
use model::reason::ReasonCode;
use model::step::StepOutcome;
use model::task::TaskStatus;

fn automation(environment: &str, command: &str) -> String {
    format!(
        "name: fenced\nenvironment: {environment}\nsteps:\n  - id: look\n    command: '{command}'\n  - report: {{ outputs: {{}} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_too_weak_runs_nothing_and_says_what_is_missing() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    for (environment, missing) in [
        ("{isolation: {level: L3}}", "L3"),
        ("{isolation: {layers: [moat]}}", "moat"),
    ] {
        let (_, task) = world.run(&automation(environment, "true"), "one").await;
        let reason = task.reason.clone().unwrap();
        assert_eq!(task.status, TaskStatus::Failed, "{reason:?}");
        assert_eq!(reason.code, ReasonCode::IsolationTooWeak, "{reason:?}");
        assert!(
            reason.sentence.contains(missing) && reason.sentence.contains("nightcrew doctor"),
            "{}",
            reason.sentence
        );
        assert!(task.steps.is_empty(), "{:?}", task.steps);
        assert!(world.layers().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_weaker_goes_on_and_the_evidence_says_so() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let environment = "{isolation: {level: L3, layers: [moat], accept_weaker: true}}";
    let (_, task) = world.run(&automation(environment, "true"), "one").await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    let isolation = task.isolation.unwrap();
    assert!(isolation.level < IsolationLevel::L3);
    for words in ["L3", "moat"] {
        assert!(
            isolation.weaker.iter().any(|text| text.contains(words)),
            "{:?}",
            isolation.weaker
        );
    }
    let root = isolation.root.unwrap();
    assert_eq!((root.kind, root.reproducible), (RootKind::Host, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_program_is_explained_in_the_log_and_told_in_batches() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let environment = "{isolation: {accept_weaker: true}, exec: {deny: [{name: forbidden-tool, reason: ask ada}]}}";
    let command = "cp /bin/true forbidden-tool; ./forbidden-tool; echo ended with $?; mv forbidden-tool innocent; ./innocent";
    let (_, task) = world.run(&automation(environment, command), "one").await;
    let isolation = task.isolation.clone().unwrap();
    let Some(exec) = isolation.exec else {
        common::skip("exec control needs root and fanotify");
        return;
    };
    assert_eq!((exec.mode, exec.rules), (ExecMode::DenyList, 1));
    assert_eq!(
        task.steps[0].outcome,
        Some(StepOutcome::Failed { code: 126 }),
        "{}",
        world.plane.log(&task, 0)
    );
    let log = world.plane.log(&task, 0);
    assert!(log.contains("ended with 126"), "{log}");
    assert!(
        log.contains("note nightcrew: refused to execute forbidden-tool")
            && log.contains("ask ada"),
        "{log}"
    );
    let batches = world.plane.batches.lock().unwrap().clone();
    let denied: u64 = batches.iter().map(|batch| batch.counts().0).sum();
    assert!(denied >= 2, "{batches:?}");
    let event = &batches[0].events[0];
    assert_eq!(event.digest.as_ref().unwrap().len(), 64);
    assert!(!event.processes.is_empty());
    assert_eq!(batches[0].step, Some(0));
    let numbers: Vec<u32> = batches.iter().map(|batch| batch.batch).collect();
    let expected: Vec<u32> = (0..u32::try_from(batches.len()).unwrap()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_that_cannot_be_had_ends_the_task_with_the_reason() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    for (recipe, words) in [
        ("{image: /nowhere/image.tar}", "/nowhere/image.tar"),
        ("{devcontainer: .devcontainer.json}", "missing"),
        ("{setup: ['echo no disk; exit 3']}", "no disk"),
    ] {
        let environment = format!("{{recipe: {recipe}}}").replace('\'', "\"");
        let (_, task) = world.run(&automation(&environment, "true"), "one").await;
        let reason = task.reason.clone().unwrap();
        assert_eq!(
            reason.code,
            ReasonCode::RecipeFailed,
            "{recipe}: {reason:?}"
        );
        assert!(
            reason.sentence.contains(words),
            "{recipe}: {}",
            reason.sentence
        );
        assert!(task.steps.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_run_beside_a_step_and_what_set_up_made_is_there() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let environment = r#"{recipe: {setup: ["echo made >$HOME/made"], services: [{name: clock, command: "echo up >/tmp/up; sleep 100", ready: {file: /tmp/up}}]}}"#;
    let command = "cat /tmp/up /home/agent/made";
    let (_, task) = world.run(&automation(environment, command), "one").await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    let log = world.plane.log(&task, 0);
    assert!(log.contains("out up") && log.contains("out made"), "{log}");
    assert_eq!(
        task.isolation.unwrap().root.unwrap().recipe.unwrap().len(),
        71
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devcontainers_feature_folder_and_commands_are_there_for_steps() {
    let Some(world) = World::new() else { return };
    let registry = testkit::registry::Registry::start(&[]).unwrap();
    // A repository may name a registry of this machine only where the operator did.
    let options = || {
        let mut options = world.options();
        options.registries.default_host = registry.image().split('/').next().map(str::to_owned);
        options
    };
    let file = format!(
        r#"{{"image": "{}", "features": {{"./tool": {{}}}}, "workspaceFolder": "/srv/shop",
            "postCreateCommand": "echo prepared >made", "postStartCommand": "echo started >>made"}}"#,
        registry.image()
    );
    let usual = format!(
        r#"{{"image": "{}", "workspaceFolder": "/work"}}"#,
        registry.image()
    );
    world.repository(
        "one",
        &[
            (".devcontainer/devcontainer.json", &file),
            (".devcontainer.json", &usual),
            (".devcontainer/tool/devcontainer-feature.json", r#"{"id": "tool"}"#),
            (
                ".devcontainer/tool/install.sh",
                "mkdir -p /opt/tool/bin && cp greet /opt/tool/bin/ && chmod 755 /opt/tool/bin/greet",
            ),
            (".devcontainer/tool/greet", "#!/bin/sh\necho greeted\n"),
        ],
    );
    let environment = "{recipe: {devcontainer: .devcontainer/devcontainer.json}}";
    let command = "greet; cat made; pwd; echo end >>/work/made; cat /srv/shop/made";
    let (_, task) = world
        .run_with(options(), &automation(environment, command), "one")
        .await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    let log = world.plane.log(&task, 0);
    let out: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("out "))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        out,
        [
            "greeted",
            "prepared",
            "started",
            "/srv/shop",
            "prepared",
            "started",
            "end"
        ],
        "{log}"
    );
    // The place where it is in any case.
    let environment = "{recipe: {devcontainer: .devcontainer.json}}";
    let (_, task) = world
        .run_with(options(), &automation(environment, "pwd"), "one")
        .await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    assert!(world.plane.log(&task, 0).contains("out /work"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_set_up_put_into_a_cache_is_read_by_steps_and_what_they_add_is_theirs_alone() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let environment = r#"{recipe: {caches: [npm], setup: ["echo seed >$npm_config_cache/seed"]}}"#;
    let command =
        "cat $npm_config_cache/seed; ls $npm_config_cache; echo mine >$npm_config_cache/mine";
    for _ in 0..2 {
        let (_, task) = world.run(&automation(environment, command), "one").await;
        assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
        let log = world.plane.log(&task, 0);
        assert!(log.contains("out seed"), "{log}");
        assert!(!log.contains("out mine"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_than_the_repository_asks_for_warns_and_than_the_recipe_requires_fails() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[(".python-version", "2.1\n"), ("a", "a\n")]);
    let (_, task) = world.run(&automation("{}", "cat a"), "one").await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    let log = world.plane.log(&task, 0);
    let first = log.lines().next().unwrap();
    assert!(
        first.contains("note .python-version:1 wants Python 2.1"),
        "{log}"
    );
    let isolation = task.isolation.unwrap();
    let seen = isolation.root.unwrap().toolchains;
    assert!(
        seen.len() == 1 && seen[0].contains("Python 2.1"),
        "{seen:?}"
    );
    assert!(!isolation.weaker.iter().any(|text| text.contains("Python")));
    let environment = "{recipe: {toolchains: {python: \"2.1\"}}}";
    let (_, task) = world.run(&automation(environment, "cat a"), "one").await;
    let reason = task.reason.clone().unwrap();
    assert_eq!(reason.code, ReasonCode::RecipeFailed, "{reason:?}");
    assert!(
        reason
            .sentence
            .contains("`toolchains.python` wants Python 2.1"),
        "{reason:?}"
    );
    assert!(task.steps.is_empty(), "{:?}", task.steps);
}
