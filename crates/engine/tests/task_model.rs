//! Random lives of a task against an independent account of what must happen
//! (`support/SPECIFICATION.md`, `support/reference.rs`).

#![expect(clippy::unwrap_used, reason = "a test stops at what cannot be")]

#[path = "support/reference.rs"]
mod reference;
mod support;

use engine::task::{TaskCommand, effects, replay};
use jiff::Timestamp;
use model::change::ReviewVerdict;
use model::evidence::Verdict;
use model::fact::{Recorded, TaskFact};
use model::reason::{Reason, ReasonCode};
use model::rows::Effect;
use model::step::{Outputs, StepOutcome};
use model::task::{TaskStatus, Wait, WaitKind};
use proptest::prelude::*;
use reference::Reference;
use support::{Says, Stream, World, base, change, definition, isolation, later, proposal, result};

/// One thing that happens: some time passes, and a command comes, likely or not.
#[derive(Debug, Clone)]
struct Move {
    seconds: u64,
    exec: Says,
    open: Says,
    likely: bool,
    choice: usize,
    command: TaskCommand,
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![12 => Just(Says::Permit), 3 => Just(Says::Ask), 1 => Just(Says::Forbid)]
}

fn sentence() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(" \n".to_owned()),
        Just("it is so".to_owned())
    ]
}

fn reason() -> impl Strategy<Value = Reason> {
    (0..ReasonCode::ALL.len(), sentence())
        .prop_map(|(code, text)| Reason::new(ReasonCode::ALL[code], text))
}

fn who() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("person:ada"),
        1 => Just("agent:x"),
        1 => Just("runner:r"),
        1 => Just("system"),
        1 => Just("forge:local"),
        1 => Just("silence"),
        1 => Just("person:"),
        1 => Just(""),
    ]
    .prop_map(str::to_owned)
}

fn roles() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![3 => Just(vec!["owner".to_owned()]), 1 => Just(vec![])]
}

fn verdicts() -> impl Strategy<Value = Vec<model::evidence::ValidatorResult>> {
    let verdict = prop_oneof![6 => Just(Verdict::Passed), 1 => Just(Verdict::Failed), 1 => Just(Verdict::Missing)];
    prop::collection::vec(verdict.prop_map(result), 0..3)
}

fn outcome() -> impl Strategy<Value = StepOutcome> {
    prop_oneof![
        5 => Just(StepOutcome::Succeeded),
        1 => Just(StepOutcome::Skipped),
        1 => any::<i32>().prop_map(|code| StepOutcome::Failed { code }),
        1 => Just(StepOutcome::TimedOut),
    ]
}

fn finish() -> impl Strategy<Value = TaskCommand> {
    (
        prop_oneof![0..6u32, Just(u32::MAX)],
        outcome(),
        prop_oneof![0..5000u64, Just(u64::MAX)],
    )
        .prop_map(|(index, outcome, wall_ms)| TaskCommand::FinishStep {
            index,
            outcome,
            outputs: Outputs::from([("n".to_owned(), serde_json::json!(1))]),
            log: Some("l".into()),
            wall_ms,
        })
}

fn wait() -> impl Strategy<Value = TaskCommand> {
    (
        0..WaitKind::ALL.len(),
        reason(),
        prop::option::of(0..4000u64),
        any::<bool>(),
    )
        .prop_map(|(kind, reason, until, silence_permits)| TaskCommand::Wait {
            wait: Wait {
                kind: WaitKind::ALL[kind],
                reason,
                owner: Some("agent:me".into()),
                until: until.map(later),
                silence_permits,
            },
        })
}

fn review() -> impl Strategy<Value = TaskCommand> {
    let verdict = prop_oneof![
        Just(ReviewVerdict::Approved),
        Just(ReviewVerdict::ChangesRequested)
    ];
    (verdict, sentence()).prop_map(|(verdict, text)| TaskCommand::Review {
        verdict,
        by: "ada".into(),
        text,
    })
}

fn end() -> impl Strategy<Value = TaskCommand> {
    (0..TaskStatus::ALL.len(), reason()).prop_map(|(status, reason)| TaskCommand::End {
        status: TaskStatus::ALL[status],
        reason,
    })
}

fn command() -> impl Strategy<Value = TaskCommand> {
    prop_oneof![
        Just(TaskCommand::Claim { runner: "r".into() }),
        prop_oneof![Just("b1"), Just("b2")].prop_map(|commit| TaskCommand::Prepare {
            base: base(commit),
            isolation: isolation()
        }),
        prop_oneof![0..6u32, Just(u32::MAX)].prop_map(|index| TaskCommand::StartStep { index }),
        finish(),
        verdicts().prop_map(|validators| TaskCommand::Validate { validators }),
        wait(),
        (0..WaitKind::ALL.len(), reason()).prop_map(|(kind, reason)| TaskCommand::Halt {
            kind: WaitKind::ALL[kind],
            reason
        }),
        Just(TaskCommand::Wake),
        Just(TaskCommand::Expire),
        (who(), roles()).prop_map(|(by, roles)| TaskCommand::Approve { by, roles }),
        (who(), sentence()).prop_map(|(by, text)| TaskCommand::Deny { by, text }),
        prop_oneof![Just("b1"), Just("b2")].prop_map(|base| TaskCommand::Propose {
            proposal: proposal(base)
        }),
        Just(TaskCommand::Submit { change: change() }),
        reason().prop_map(|reason| TaskCommand::Refuse { reason }),
        review(),
        Just(TaskCommand::Merge {
            by: "ada".into(),
            commit: "é".repeat(20)
        }),
        Just(TaskCommand::Close { by: "ada".into() }),
        end(),
        any::<bool>().prop_map(|blame| TaskCommand::Interrupt {
            cause: "gone".into(),
            blame
        }),
        Just(TaskCommand::Retry {
            cause: "again".into()
        }),
        Just(TaskCommand::Pause),
        Just(TaskCommand::Resume),
        reason().prop_map(|reason| TaskCommand::Cancel {
            code: reason.code,
            sentence: reason.sentence
        }),
        Just(TaskCommand::Supersede { by: "tsk_2".into() }),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (
        0..600u64,
        says(),
        says(),
        prop::bool::weighted(0.85),
        any::<usize>(),
        command(),
    )
        .prop_map(|(seconds, exec, open, likely, choice, command)| Move {
            seconds,
            exec,
            open,
            likely,
            choice,
            command,
        });
    prop::collection::vec(one, 1..60)
}

fn definitions() -> impl Strategy<Value = model::automation::Definition> {
    let letters = prop_oneof![
        4 => Just("cvx".to_owned()),
        2 => Just("cvax".to_owned()),
        1 => Just("cx".to_owned()),
        1 => Just("cra".to_owned()),
        2 => "[cvra]{1,4}x?",
    ];
    let retries = prop_oneof![Just(0), Just(2), Just(u32::MAX)];
    (
        letters,
        retries,
        any::<bool>(),
        prop::option::weighted(0.3, 1..10u64),
    )
        .prop_map(|(letters, retries, silence, budget)| {
            definition(&letters, retries, silence, budget)
        })
}

/// What would come next if all went well, so that random lives get far.
fn likely(reference: &Reference, world: &World, choice: usize) -> Option<TaskCommand> {
    let running = reference.running;
    let kind = world
        .definition
        .steps
        .get(running.unwrap_or(reference.next) as usize)
        .and_then(|step| step.kind());
    let finish = |index| TaskCommand::FinishStep {
        index,
        outcome: StepOutcome::Succeeded,
        outputs: Outputs::new(),
        log: None,
        wall_ms: 700,
    };
    let approval = Wait {
        kind: WaitKind::Approval,
        reason: Reason::new(ReasonCode::ApprovalNeeded, "may it?"),
        owner: None,
        until: Some(world.now + std::time::Duration::from_secs(60)),
        silence_permits: true,
    };
    let base_commit = reference.base.clone().unwrap_or_else(|| "b1".into());
    use model::automation::StepKind as K;
    Some(match (reference.status, running, kind) {
        (TaskStatus::Queued, ..) if reference.paused => TaskCommand::Resume,
        (TaskStatus::Queued, ..) => TaskCommand::Claim { runner: "r".into() },
        (TaskStatus::Preparing, ..) => TaskCommand::Prepare {
            base: base(&base_commit),
            isolation: isolation(),
        },
        (TaskStatus::Running, None, Some(_)) => TaskCommand::StartStep {
            index: reference.next,
        },
        (TaskStatus::Running, Some(_), Some(K::Change)) => TaskCommand::Propose {
            proposal: proposal(&base_commit),
        },
        (TaskStatus::Running, Some(index), Some(K::Approve)) if choice.is_multiple_of(3) => {
            finish(index)
        }
        (TaskStatus::Running, Some(_), Some(K::Approve)) => TaskCommand::Wait { wait: approval },
        (TaskStatus::Running, Some(index), _) => finish(index),
        (TaskStatus::Validating, Some(_), _) if reference.verdicts.is_empty() => {
            TaskCommand::Validate {
                validators: vec![result(Verdict::Passed)],
            }
        }
        (TaskStatus::Validating, Some(index), _) => finish(index),
        (TaskStatus::Ready, ..) => TaskCommand::Submit { change: change() },
        (TaskStatus::Waiting, ..) => match choice % 4 {
            0 => TaskCommand::Wake,
            1 => TaskCommand::Expire,
            2 => TaskCommand::Retry {
                cause: "again".into(),
            },
            _ => TaskCommand::Approve {
                by: "person:ada".into(),
                roles: vec!["owner".into()],
            },
        },
        (TaskStatus::InReview, ..) => TaskCommand::Review {
            verdict: ReviewVerdict::ChangesRequested,
            by: "ada".into(),
            text: String::new(),
        },
        _ => TaskCommand::Retry {
            cause: "again".into(),
        },
    })
}

/// What holds of every state, whatever came before.
fn check_state(stream: &Stream) {
    let task = &stream.task;
    assert_eq!(
        task.wait.is_some(),
        task.status == TaskStatus::Waiting,
        "waiting and its wait go together: {task:?}"
    );
    assert!(
        !(task.paused && (task.status.is_leased() || task.status.is_final())),
        "{task:?}"
    );
    assert_eq!(
        task.reason.is_some(),
        task.status.is_final(),
        "an end, and only an end, has a reason: {task:?}"
    );
    if let Some(reason) = &task.reason {
        assert!(!reason.sentence.trim().is_empty(), "{task:?}");
    }
    if matches!(
        task.status,
        TaskStatus::Ready | TaskStatus::Submitted | TaskStatus::InReview
    ) {
        assert!(
            task.proposal.is_some() && !task.validators.is_empty(),
            "{task:?}"
        );
        assert!(
            task.validators
                .iter()
                .all(|result| result.verdict == Verdict::Passed),
            "{task:?}"
        );
    }
    for approval in &task.approvals {
        assert!(
            approval.by == "silence" || approval.by.starts_with("person:"),
            "{task:?}"
        );
    }
    let lines: Vec<String> = stream
        .facts
        .iter()
        .map(|fact| serde_json::to_string(fact).unwrap())
        .collect();
    let read: Vec<Recorded<TaskFact>> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, stream.facts);
    assert_eq!(replay(task.id, &read).as_ref(), Some(task));
    let json = serde_json::to_string(task).unwrap();
    assert_eq!(
        &serde_json::from_str::<model::task::Task>(&json).unwrap(),
        task
    );
}

/// Effects ask for exactly what the new state needs.
fn check_effects(before: &Stream, after: &Stream, facts: &[TaskFact], now: Timestamp) {
    let first = before.facts.len() as u64 + 1;
    let asked: Vec<Effect> = (first..)
        .zip(facts)
        .flat_map(|(seq, fact)| effects(&before.task, &after.task, fact, seq, now))
        .map(|(effect, ..)| effect)
        .collect();
    let became = |status| before.task.status != status && after.task.status == status;
    let submits = asked
        .iter()
        .filter(|effect| matches!(effect, Effect::SubmitChange { .. }))
        .count();
    assert_eq!(submits, usize::from(became(TaskStatus::Ready)), "{facts:?}");
    let wakes = asked
        .iter()
        .filter(|effect| matches!(effect, Effect::Wake { .. }))
        .count();
    let timed = after
        .task
        .wait
        .as_ref()
        .is_some_and(|wait| wait.until.is_some());
    assert_eq!(
        wakes,
        usize::from(became(TaskStatus::Waiting) && timed),
        "{facts:?}"
    );
    let closes = asked
        .iter()
        .filter(|effect| matches!(effect, Effect::CloseChange { .. }))
        .count();
    let may_be_open = before.task.change.is_some() || before.task.status == TaskStatus::Ready;
    assert_eq!(
        closes,
        usize::from(became(TaskStatus::Cancelled) && may_be_open),
        "{facts:?}"
    );
}

fn live(definition: model::automation::Definition, moves: &[Move]) -> Stream {
    let mut world = World::new(definition);
    let mut stream = Stream::new();
    let mut reference = Reference::new();
    for Move {
        seconds,
        exec,
        open,
        likely: is_likely,
        choice,
        command,
    } in moves
    {
        world.now += std::time::Duration::from_secs(*seconds);
        world.exec = *exec;
        world.open = *open;
        let command = Some(command.clone())
            .filter(|_| !is_likely)
            .or_else(|| likely(&reference, &world, *choice))
            .unwrap();
        let before = stream.clone();
        let old = reference.clone();
        let told = stream.tell(&command, &world);
        // How long a retry is put off is the engine's own choice: the reference takes it over.
        if let (Some(waits), Some(wait)) = (&mut reference.waits, &before.task.wait)
            && waits.anew
        {
            waits.until = wait.until;
        }
        let accepted = reference.tell(&command, &world);
        assert_eq!(
            told.is_ok(),
            accepted,
            "{command:?}\nof {old:?}\nsays {told:?}"
        );
        match &told {
            Ok(facts) => {
                assert!(
                    !facts.is_empty(),
                    "what is accepted leaves a fact: {command:?}"
                );
                check_effects(&before, &stream, facts, world.now);
            }
            Err(rejection) => {
                assert_eq!(stream.task, before.task);
                assert_eq!(stream.facts.len(), before.facts.len());
                assert!(!rejection.to_string().is_empty());
            }
        }
        let task = &stream.task;
        assert_eq!(
            task.status, reference.status,
            "{command:?}\nof {old:?}\ngave {told:?}"
        );
        let kind = task.wait.as_ref().map(|wait| wait.kind);
        assert_eq!(
            kind,
            reference.waits.as_ref().map(|waits| waits.kind),
            "{command:?}"
        );
        assert_eq!(
            (
                task.paused,
                task.next_step,
                task.attempt,
                task.interruptions,
                task.spent_ms,
                task.change.is_some()
            ),
            (
                reference.paused,
                reference.next,
                reference.attempt,
                reference.lost,
                reference.spent_ms,
                reference.change
            ),
            "{command:?}\nof {old:?}\ngave {told:?}"
        );
        let given: std::collections::BTreeSet<u32> = task
            .approvals
            .iter()
            .map(|approval| approval.step)
            .collect();
        assert_eq!(
            given.len(),
            reference.consents.len(),
            "{command:?}\nof {old:?}"
        );
        if let (Some(waits), Some(wait)) = (&mut reference.waits, &task.wait) {
            assert!(
                !waits.anew || wait.until.is_some_and(|until| until > world.now),
                "a retry is put off"
            );
        }
        check_state(&stream);
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_task_lives_as_specified(definition in definitions(), moves in moves()) {
        live(definition, &moves);
    }
}

/// Random tests prove little when they never get anywhere: count how far they come.
#[test]
fn random_lives_reach_the_ends_of_the_road() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..400 {
        let definition = definitions().new_tree(&mut runner).unwrap().current();
        let moves = moves().new_tree(&mut runner).unwrap().current();
        for fact in live(definition, &moves).facts {
            let kind = model::fact::Fact::kind(&fact.fact);
            *seen.entry(kind).or_insert(0) += 1;
        }
    }
    for kind in [
        "task.submitted",
        "task.reviewed",
        "task.approved",
        "task.retried",
        "task.interrupted",
        "task.woken",
    ] {
        assert!(
            seen.get(kind).copied().unwrap_or(0) > 20,
            "{kind} is rare: {seen:?}"
        );
    }
}
