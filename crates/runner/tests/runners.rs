//! What a runner does around its tasks.

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::World;
use model::evidence::Verdict;
use model::reason::ReasonCode;
use model::task::TaskStatus;
use runner::Mask;

const CHANGES: &str = "name: changes\nsteps:\n  - command: echo new >a\n  - validate: [ { cmd: 'true' } ]\n  - change: { title: t }\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_runner_left_is_removed_and_waiting_work_stays() {
    let Some(world) = World::new() else { return };
    let layers = world.folder.join("state/layers");
    for name in ["tsk_1-1-1/layer/upper", "tsk_2-1.kept/layer"] {
        std::fs::create_dir_all(layers.join(name)).unwrap();
    }
    let half_made = world.folder.join("state/bases/r-1/making/tree");
    std::fs::create_dir_all(&half_made).unwrap();
    world.runner().shutdown(Duration::ZERO).await;
    assert_eq!(world.layers(), ["tsk_2-1.kept"]);
    assert!(!half_made.exists());
}

struct Hide;
impl Mask for Hide {
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Owned(text.replace("hunter2", "***"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_in_logs_outputs_reasons_and_texts() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let mut options = world.options();
    options.mask = Arc::new(Hide);
    let runner = world.runner_with(options);
    let automation = "name: m\nsteps:\n  - id: s\n    command: |\n      echo it is hunter2\n      echo b >a\n      \
                      echo '{\"p\": \"hunter2\", \"l\": [\"hunter2\"]}' >$NIGHTCREW_OUT/outputs.json\n  \
                      - validate: [ { cmd: 'true' } ]\n  - change: { title: 'hunter2', body: 'hunter2 [[ outputs.s.p ]]' }\n";
    let id = world.plane.queue(automation, "one");
    let task = world.plane.settled(id).await;
    runner.shutdown(Duration::from_secs(20)).await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    let proposal = task.proposal.clone().unwrap();
    let body = world.plane.text(&proposal.body);
    for text in [
        world.plane.log(&task, 0),
        serde_json::to_string(&task).unwrap(),
        body,
    ] {
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_of_the_runner_see_the_files_as_they_are_committed() {
    let Some(world) = World::new() else { return };
    world.repository(
        "one",
        &[("a", "a\n"), (".github/workflows/old.yml", "bad\n")],
    );
    let mut options = world.options();
    options.checks.insert(
        "workflow".to_owned(),
        Arc::new(|_, text| {
            text.lines()
                .filter(|l| l.contains("bad"))
                .map(|l| format!("`{l}`"))
                .collect()
        }),
    );
    let runner = world.runner_with(options);
    // One automation each: the same automation and event would be the same task again.
    let automation = |number: usize, line: &str| {
        format!(
            "name: w{number}\nsteps:\n  - command: {line}\n  - validate: [ 'builtin:workflow' ]\n  - change: {{ title: t }}\n"
        )
    };
    // A clean filter shows another text in the workspace than the one that is committed.
    let hides = "git config filter.x.clean 'echo bad; cat' && echo '*.yml filter=x' >.gitattributes && echo fine >.github/workflows/new.yml";
    let lines = [
        ("echo more >>.github/workflows/old.yml", Verdict::Passed),
        ("echo bad >.github/workflows/new.yml", Verdict::Failed),
        (hides, Verdict::Failed),
    ];
    for (number, (line, verdict)) in lines.into_iter().enumerate() {
        let id = world.plane.queue(&automation(number, line), "one");
        let task = world.plane.settled(id).await;
        let seen = task.validators.first().map(|result| result.verdict);
        assert_eq!(
            seen,
            Some(verdict),
            "{line}: {:?} {:?}",
            task.reason,
            task.validators
        );
    }
    runner.shutdown(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_share_few_slots_and_one_base() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let mut options = world.options();
    options.slots = 2;
    let runner = world.runner_with(options);
    let ids: Vec<_> = (0..6)
        .map(|n| {
            world.plane.queue(
                &CHANGES.replace("name: changes", &format!("name: c{n}")),
                "one",
            )
        })
        .collect();
    for id in ids {
        assert_eq!(world.plane.settled(id).await.status, TaskStatus::Ready);
        assert!(runner.at_work() <= 2);
    }
    // A shutdown with grace lets the last clean-up end.
    runner.shutdown(Duration::from_secs(20)).await;
    let repository = std::fs::read_dir(world.folder.join("state/bases"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(std::fs::read_dir(repository.path()).unwrap().count(), 1);
    assert_eq!(world.layers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_control_plane_loses_nothing() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    world.plane.busy.store(3, Ordering::SeqCst);
    let (_, task) = world.run(CHANGES, "one").await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    assert_eq!(world.plane.busy.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_fails_the_environment_with_its_name() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let automation =
        "name: f\nenvironment: { folders: [/no/such/toolchain] }\nsteps:\n  - command: 'true'\n";
    let (_, task) = world.run(automation, "one").await;
    let reason = task.reason.unwrap();
    assert_eq!(reason.code, ReasonCode::EnvironmentFailed);
    assert!(
        reason.sentence.contains("/no/such/toolchain"),
        "{}",
        reason.sentence
    );
    assert_eq!(world.layers(), Vec::<String>::new());
}
