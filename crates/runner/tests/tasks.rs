//! Whole tasks: from a claim to what the control plane knows afterwards.

mod common;

use std::time::Duration;

use common::{World, git};
use engine::task::TaskCommand;
use model::evidence::Verdict;
use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::step::StepOutcome;
use model::task::TaskStatus;

const HAPPY: &str = r#"
name: happy
steps:
  - id: edit
    command: |
      echo "hello from $NIGHTCREW_REPOSITORY"
      echo changed >file.txt
      echo new >added.txt
      echo '{"edited": 2}' >"$NIGHTCREW_OUT/outputs.json"
  - validate:
      - { cmd: ./check.sh }
      - { paths: ["*.txt"] }
      - { diff: { max_files: 2 } }
      - builtin:secrets
  - report: { outputs: { edited: int }, accept: 'report.edited == 2' }
  - change:
      title: "edit [[ repository.name ]]: [[ report.edited ]] files"
      body: "[% for v in evidence.validators %][[ v.name ]]=[[ v.verdict ]] [% endfor %]+[[ evidence.diff.insertions ]]"
"#;
const CHECK: &str =
    "#!/bin/sh\necho 'ok file'\ntest -f missing || { echo 'not ok missing-exists: no'; exit 1; }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_from_its_base_to_a_proposal_with_evidence() {
    let Some(world) = World::new() else { return };
    let repository = world.repository("one", &[("file.txt", "old\n"), ("check.sh", CHECK)]);
    let (_, task) = world.run(HAPPY, "one").await;
    assert_eq!(
        task.status,
        TaskStatus::Ready,
        "{:?}\n{}",
        task.reason,
        world.plane.log(&task, 1)
    );
    let proposal = task.proposal.clone().unwrap();
    assert_eq!(proposal.base, git(&repository, &["rev-parse", "HEAD"]));
    assert_eq!(proposal.title, "edit one: 2 files");
    assert_eq!(
        world.plane.text(&proposal.body),
        "./check.sh=passed paths=passed diff=passed builtin:secrets=passed +2"
    );
    assert_eq!(
        (
            proposal.diff.files,
            proposal.diff.insertions,
            proposal.diff.deletions
        ),
        (2, 2, 1)
    );
    assert!(world.plane.text(&proposal.patch).contains("+changed"));
    assert!(proposal.branch.starts_with("nightcrew/happy/"));
    // What failed before is known and not blamed.
    assert_eq!(task.validators[0].before, ["missing-exists"]);
    assert_eq!(task.validators[0].new, Vec::<String>::new());
    assert!(task.isolation.as_ref().unwrap().probes > 5);
    let clone = world.checkout("one", &task);
    assert_eq!(
        std::fs::read_to_string(clone.join("file.txt")).unwrap(),
        "changed\n"
    );
    let said = git(&clone, &["log", "-1", "--format=%an <%ae> %cn %ct %P%n%B"]);
    let at = common::beginning().as_second();
    assert!(
        said.starts_with(&format!(
            "Nightcrew <nightcrew@localhost> Nightcrew {at} {}\n",
            proposal.base
        )),
        "{said}"
    );
    assert!(
        said.contains("edit one: 2 files")
            && said.contains(&format!("Nightcrew-Task: {}", task.id)),
        "{said}"
    );
    assert!(world.plane.log(&task, 0).contains(" out hello from one\n"));
    assert!(
        world
            .plane
            .live()
            .iter()
            .any(|line| line.text == "hello from one")
    );
    assert_eq!(world.layers(), Vec::<String>::new());
    // Few transactions: begin; step to step; the rest.
    assert_eq!(world.plane.requests(), [2, 2, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_retried_as_often_as_it_may_and_ends_the_task() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let runner = world.runner();
    let id = world.plane.queue(
        "name: failing\nsteps:\n  - { command: 'echo $NIGHTCREW_ATTEMPT; exit 7', retries: 1 }\n",
        "one",
    );
    let task = world.plane.settled(id).await;
    assert_eq!(task.status, TaskStatus::Waiting);
    world.plane.advance(Duration::from_secs(60));
    world.plane.command(id, &TaskCommand::Wake);
    let task = world.plane.settled(id).await;
    assert_eq!(task.status, TaskStatus::Failed);
    assert_eq!(task.steps[0].outcome, Some(StepOutcome::Failed { code: 7 }));
    assert_eq!(task.reason.as_ref().unwrap().code, ReasonCode::StepFailed);
    assert!(world.plane.log(&task, 0).contains(" out 2\n"));
    runner.shutdown(Duration::ZERO).await;
    assert_eq!(world.layers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_is_killed() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let (_, task) = world
        .run(
            "name: slow\nsteps:\n  - { command: 'echo begun; sleep 1000', timeout: 300ms }\n",
            "one",
        )
        .await;
    assert_eq!(task.reason.as_ref().unwrap().code, ReasonCode::StepTimedOut);
    let log = world.plane.log(&task, 0);
    assert!(
        log.contains("out begun") && log.contains("note the step ran out of time"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_an_end_of_its_own() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let says = "name: says\nsteps:\n  - command: echo 'all is well' >$NIGHTCREW_OUT/no_change\n  - command: exit 9\n";
    let (_, task) = world.run(says, "one").await;
    assert_eq!(task.status, TaskStatus::NoChange);
    let reason = task.reason.unwrap();
    assert_eq!(
        (reason.code, reason.sentence.as_str()),
        (ReasonCode::NothingToDo, "all is well")
    );

    let leaves =
        "name: leaves\nsteps:\n  - command: touch a; echo b >b; rm b\n  - change: { title: t }\n";
    let (_, task) = world.run(leaves, "one").await;
    assert_eq!(
        (task.status, task.reason.unwrap().code),
        (TaskStatus::NoChange, ReasonCode::EmptyDiff)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_skipped_by_their_condition_and_reports_are_judged() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let automation = |limit: u32| {
        format!(
            "name: looks\nsteps:\n  - {{ id: count, command: 'echo ''{{\"n\": 3}}'' >$NIGHTCREW_OUT/outputs.json' }}\n  \
             - {{ command: exit 1, when: 'steps.count.n > 5 || task.wave > 0' }}\n  \
             - report: {{ outputs: {{ n: int }}, accept: 'report.n < {limit}' }}\n"
        )
    };
    let (_, task) = world.run(&automation(4), "one").await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    assert_eq!(task.steps[1].outcome, Some(StepOutcome::Skipped));
    let reason = task.reason.unwrap();
    assert_eq!(
        (reason.code, reason.sentence.as_str()),
        (ReasonCode::ReportAccepted, "the report was accepted: n = 3")
    );
    let (_, task) = world.run(&automation(3), "one").await;
    assert_eq!(
        task.reason.as_ref().unwrap().code,
        ReasonCode::ReportRefused
    );
    assert!(
        world
            .plane
            .log(&task, 2)
            .contains("does not hold for n = 3")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_gone_or_empty_ends_the_task_with_its_reason() {
    let Some(world) = World::new() else { return };
    world.repository("empty", &[]);
    let automation = "name: a\nsteps:\n  - command: 'true'\n";
    let (_, task) = world.run(automation, "empty").await;
    assert_eq!(task.reason.unwrap().code, ReasonCode::RepositoryEmpty);
    let (_, task) = world.run(automation, "absent").await;
    assert_eq!(task.reason.unwrap().code, ReasonCode::RepositoryUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_names_its_line() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    world
        .plane
        .files
        .lock()
        .unwrap()
        .insert("pr.md".to_owned(), "fine\n[[ report.absent ]]\n".to_owned());
    let automation =
        "name: t\nsteps:\n  - command: echo b >a\n  - change: { title: t, body: pr.md }\n";
    let (_, task) = world.run(automation, "one").await;
    let reason = task.reason.unwrap();
    assert_eq!(reason.code, ReasonCode::InvalidDefinition);
    assert!(
        reason.sentence.contains("pr.md, line 2"),
        "{}",
        reason.sentence
    );
}

const APPROVED: &str = r#"
name: asks
steps:
  - command: |
      echo changed >a
      echo '{"x": 1}' >$NIGHTCREW_OUT/outputs.json
  - validate: [ { cmd: 'echo litter >litter' } ]
  - approve: { by: anyone, ask: "shall I?", within: 1h }
  - change: { title: "done" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_consent_holds_nothing_and_goes_on_with_its_work() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let (id, task) = world.run(APPROVED, "one").await;
    assert_eq!(task.status, TaskStatus::Waiting, "{:?}", task.reason);
    let wait = task.wait.unwrap();
    assert_eq!(wait.reason.sentence, "shall I?");
    assert_eq!(
        wait.until,
        Some(common::beginning() + Duration::from_secs(3600))
    );
    assert_eq!(world.layers(), [format!("{id}-1.kept")]);
    // Another runner object over the same folder, as after a restart.
    let runner = world.runner();
    world.plane.command(
        id,
        &TaskCommand::Approve {
            by: "person:a".to_owned(),
            roles: Vec::new(),
        },
    );
    let task = world.plane.settled(id).await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    runner.shutdown(Duration::from_secs(20)).await;
    let clone = world.checkout("one", &task);
    assert_eq!(
        std::fs::read_to_string(clone.join("a")).unwrap(),
        "changed\n"
    );
    // What was validated is proposed, not what validators left behind.
    assert!(!clone.join("litter").exists());
    assert_eq!(world.layers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_workspace_is_gone_is_given_back_and_starts_over() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let (id, _) = world.run(APPROVED, "one").await;
    sandbox::remove_layer(
        &world
            .folder
            .join("state/layers")
            .join(format!("{id}-1.kept")),
    )
    .unwrap();
    let runner = world.runner();
    world.plane.command(
        id,
        &TaskCommand::Approve {
            by: "person:a".to_owned(),
            roles: Vec::new(),
        },
    );
    let task = world.plane.settled(id).await;
    runner.shutdown(Duration::from_secs(20)).await;
    assert_eq!(
        task.status,
        TaskStatus::Ready,
        "the consent stays: {:?}",
        task.reason
    );
    let facts = world.plane.facts(id);
    assert!(facts.iter().any(
        |fact| matches!(fact, TaskFact::Interrupted { cause, .. } if cause.contains("workspace"))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_gives_its_tasks_back() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let runner = world.runner();
    let id = world.plane.queue(
        "name: long\nsteps:\n  - command: echo begun; sleep 1000\n",
        "one",
    );
    world.plane.line("begun").await;
    assert_eq!(runner.at_work(), 1);
    runner.shutdown(Duration::ZERO).await;
    let facts = world.plane.facts(id);
    assert!(
        matches!(facts.last(), Some(TaskFact::Interrupted { cause, .. }) if cause.contains("stopped")),
        "{facts:?}"
    );
    assert_eq!(world.layers(), Vec::<String>::new());
}

const HALTED: &str = r#"
name: halted
steps:
  - command: 'if test -e begun; then rm begun; echo went on >a; else echo 1 >begun; echo begun; sleep 1000; fi'
  - validate: [{ paths: ["a"] }]
  - change: { title: "done" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_recalled_in_its_first_step_goes_on_over_its_work() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let runner = world.runner();
    let id = world.plane.queue(HALTED, "one");
    world.plane.line("begun").await;
    // A word about an earlier assignment is none about this one.
    world.plane.recall(id, 0);
    world.plane.recall(id, 1);
    let task = world.plane.settled(id).await;
    assert_eq!(task.status, TaskStatus::Waiting, "{:?}", task.reason);
    assert_eq!(task.wait.as_ref().unwrap().reason.code, ReasonCode::Stopped);
    assert_eq!((task.next_step, task.base.is_some()), (0, true));
    assert_eq!(world.layers(), [format!("{id}-1.kept")]);
    world.plane.command(id, &TaskCommand::Wake);
    let task = world.plane.settled(id).await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    runner.shutdown(Duration::from_secs(20)).await;
    let clone = world.checkout("one", &task);
    let read = std::fs::read_to_string(clone.join("a")).unwrap();
    assert_eq!(read, "went on\n");
    assert_eq!(world.layers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_taken_back_is_killed_at_once() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    let runner = world.runner();
    let id = world.plane.queue(
        "name: long\nsteps:\n  - command: echo begun; sleep 1000\n",
        "one",
    );
    world.plane.line("begun").await;
    world.plane.take_back(id);
    // A grace longer than the test: it ends only because the step was killed.
    tokio::time::timeout(
        Duration::from_secs(30),
        runner.shutdown(Duration::from_secs(1000)),
    )
    .await
    .unwrap();
    assert!(
        !world
            .plane
            .facts(id)
            .iter()
            .any(|fact| matches!(fact, TaskFact::StepFinished { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_blame_only_what_is_new_and_say_what_they_could_not_run() {
    let Some(world) = World::new() else { return };
    world.repository(
        "one",
        &[
            ("a", "a\n"),
            (
                "check.sh",
                "#!/bin/sh\ngrep -q x a || exit 0\necho 'not ok a-has-no-x: it has'\nexit 1\n",
            ),
        ],
    );
    let automation = |validator: &str| {
        format!(
            "name: v\nsteps:\n  - command: echo x >a; echo y >b.json\n  - validate: [ {validator} ]\n  - change: {{ title: t }}\n"
        )
    };
    for (validator, status, verdict, code) in [
        (
            "{ cmd: ./check.sh }",
            TaskStatus::Failed,
            Verdict::Failed,
            ReasonCode::ValidationFailed,
        ),
        (
            "{ cmd: no-such-program }",
            TaskStatus::Unverified,
            Verdict::Missing,
            ReasonCode::ValidatorMissing,
        ),
        (
            "{ paths: [a] }",
            TaskStatus::Failed,
            Verdict::Failed,
            ReasonCode::ValidationFailed,
        ),
        (
            "{ diff: { max_files: 1 } }",
            TaskStatus::Failed,
            Verdict::Failed,
            ReasonCode::ValidationFailed,
        ),
        (
            "builtin:json",
            TaskStatus::Failed,
            Verdict::Failed,
            ReasonCode::ValidationFailed,
        ),
        (
            "builtin:workflow",
            TaskStatus::Unverified,
            Verdict::Missing,
            ReasonCode::ValidatorMissing,
        ),
    ] {
        let (_, task) = world.run(&automation(validator), "one").await;
        assert_eq!(
            (task.status, task.reason.as_ref().unwrap().code),
            (status, code),
            "{validator}: {:?}",
            task.reason
        );
        assert_eq!(task.validators[0].verdict, verdict, "{validator}");
        assert!(task.proposal.is_none());
    }
    let (_, task) = world
        .run(
            "name: v\nsteps:\n  - command: echo x >a\n  - change: { title: t }\n",
            "one",
        )
        .await;
    assert_eq!(task.status, TaskStatus::Unverified);
}
