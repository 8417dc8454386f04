//! Every state of a task that a small alphabet of commands can reach, walked breadth first:
//! nothing named in the specification is unreachable, nothing reachable is a dead end, and what is
//! accepted where is written down in `transitions.txt` (write it anew with `UPDATE=1`).

#![expect(clippy::unwrap_used, reason = "a test stops at what cannot be")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;

use engine::ports::Spend;
use engine::task::{MOST_INTERRUPTIONS, TaskCommand, apply, decide};
use model::change::ReviewVerdict;
use model::evidence::Verdict;
use model::fact::TaskFact;
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Task, TaskStatus, Wait, WaitKind};
use support::{
    Says, Stream, World, base, change, definition, isolation, later, proposal, result, start,
};

/// Statuses that no task rests in, with the reason.
const PASSED_THROUGH: &[(TaskStatus, &str)] = &[(
    TaskStatus::Submitted,
    "submit opens the review in the same decision; a fact still names it",
)];

/// Kinds of waits that nothing begins yet, with the reason.
const NOT_YET: &[(WaitKind, &str)] =
    &[(WaitKind::Ci, "no command reports the checks of a forge yet")];

struct Letter {
    name: &'static str,
    command: fn(&Task) -> TaskCommand,
    exec: Says,
    open: Says,
    spent: bool,
    /// Before or after every deadline.
    late: bool,
}

fn reason() -> Reason {
    Reason::new(ReasonCode::NothingToDo, "it is so")
}

fn finish(task: &Task, outcome: StepOutcome) -> TaskCommand {
    let index = task.next_step;
    TaskCommand::FinishStep {
        index,
        outcome,
        outputs: Outputs::new(),
        log: None,
        wall_ms: 0,
    }
}

fn wait(kind: WaitKind) -> TaskCommand {
    let until = Some(later(60)).filter(|_| {
        matches!(
            kind,
            WaitKind::Timer | WaitKind::Approval | WaitKind::Person
        )
    });
    TaskCommand::Wait {
        wait: Wait {
            kind,
            reason: reason(),
            owner: None,
            until,
            silence_permits: false,
        },
    }
}

fn halt(kind: WaitKind) -> TaskCommand {
    TaskCommand::Halt {
        kind,
        reason: reason(),
    }
}

fn end(status: TaskStatus) -> TaskCommand {
    TaskCommand::End {
        status,
        reason: reason(),
    }
}

fn review(verdict: ReviewVerdict) -> TaskCommand {
    TaskCommand::Review {
        verdict,
        by: "ada".into(),
        text: String::new(),
    }
}

fn base_of(task: &Task) -> String {
    task.base
        .as_ref()
        .map_or_else(|| "b1".to_owned(), |base| base.commit.clone())
}

fn alphabet() -> Vec<Letter> {
    let plain = |name, command| Letter {
        name,
        command,
        exec: Says::Permit,
        open: Says::Permit,
        spent: false,
        late: true,
    };
    let claim: fn(&Task) -> TaskCommand = |_| TaskCommand::Claim { runner: "r".into() };
    let propose: fn(&Task) -> TaskCommand = |task| TaskCommand::Propose {
        proposal: proposal(&base_of(task)),
    };
    vec![
        plain("claim", claim),
        Letter {
            exec: Says::Ask,
            ..plain("claim, policy asks", claim)
        },
        Letter {
            exec: Says::Forbid,
            ..plain("claim, policy forbids", claim)
        },
        Letter {
            spent: true,
            ..plain("claim, nothing left", claim)
        },
        plain("prepare", |task| TaskCommand::Prepare {
            base: base(&base_of(task)),
            isolation: isolation(),
        }),
        plain("prepare, other base", |_| TaskCommand::Prepare {
            base: base("b2"),
            isolation: isolation(),
        }),
        plain("start_step", |task| TaskCommand::StartStep {
            index: task.next_step,
        }),
        plain("start_step, wrong", |_| TaskCommand::StartStep {
            index: 99,
        }),
        plain("finish_step, succeeded", |task| {
            finish(task, StepOutcome::Succeeded)
        }),
        plain("finish_step, skipped", |task| {
            finish(task, StepOutcome::Skipped)
        }),
        plain("finish_step, failed", |task| {
            finish(task, StepOutcome::Failed { code: 1 })
        }),
        plain("finish_step, timed out", |task| {
            finish(task, StepOutcome::TimedOut)
        }),
        plain("validate, passed", |_| TaskCommand::Validate {
            validators: vec![result(Verdict::Passed)],
        }),
        plain("validate, failed", |_| TaskCommand::Validate {
            validators: vec![result(Verdict::Failed)],
        }),
        plain("validate, missing", |_| TaskCommand::Validate {
            validators: vec![result(Verdict::Missing)],
        }),
        plain("wait for a person", |_| wait(WaitKind::Person)),
        plain("wait for approval", |_| wait(WaitKind::Approval)),
        plain("wait for a budget", |_| wait(WaitKind::Budget)),
        plain("wait for a quota", |_| wait(WaitKind::Quota)),
        plain("wait for a timer", |_| wait(WaitKind::Timer)),
        plain("wait for ci", |_| wait(WaitKind::Ci)),
        plain("wait for a stop", |_| wait(WaitKind::Stop)),
        plain("halt, at a cap", |_| halt(WaitKind::Budget)),
        plain("halt, at a limit", |_| halt(WaitKind::Quota)),
        plain("halt, by the kill switch", |_| halt(WaitKind::Stop)),
        plain("halt, for a person", |_| halt(WaitKind::Person)),
        plain("wake", |_| TaskCommand::Wake),
        Letter {
            late: false,
            ..plain("wake, too early", |_| TaskCommand::Wake)
        },
        plain("expire", |_| TaskCommand::Expire),
        Letter {
            late: false,
            ..plain("expire, too early", |_| TaskCommand::Expire)
        },
        plain("approve", |_| TaskCommand::Approve {
            by: "person:ada".into(),
            roles: vec!["owner".into()],
        }),
        plain("approve, wrong role", |_| TaskCommand::Approve {
            by: "person:bob".into(),
            roles: vec![],
        }),
        plain("approve, by an agent", |_| TaskCommand::Approve {
            by: "agent:x".into(),
            roles: vec!["owner".into()],
        }),
        plain("deny", |_| TaskCommand::Deny {
            by: "person:ada".into(),
            text: String::new(),
        }),
        plain("propose", propose),
        Letter {
            open: Says::Ask,
            ..plain("propose, policy asks", propose)
        },
        Letter {
            open: Says::Forbid,
            ..plain("propose, policy forbids", propose)
        },
        plain("submit", |_| TaskCommand::Submit { change: change() }),
        plain("refuse", |_| TaskCommand::Refuse { reason: reason() }),
        plain("review, approved", |_| review(ReviewVerdict::Approved)),
        plain("review, changes requested", |_| {
            review(ReviewVerdict::ChangesRequested)
        }),
        plain("merge", |_| TaskCommand::Merge {
            by: "ada".into(),
            commit: "c0ffee".into(),
        }),
        plain("close", |_| TaskCommand::Close { by: "ada".into() }),
        plain("end, no_change", |_| end(TaskStatus::NoChange)),
        plain("end, unverified", |_| end(TaskStatus::Unverified)),
        plain("end, failed", |_| end(TaskStatus::Failed)),
        plain("end, merged", |_| end(TaskStatus::Merged)),
        plain("interrupt", |_| TaskCommand::Interrupt {
            cause: "gone".into(),
            blame: false,
        }),
        plain("interrupt, blamed", |_| TaskCommand::Interrupt {
            cause: "gone".into(),
            blame: true,
        }),
        plain("retry", |_| TaskCommand::Retry {
            cause: "again".into(),
        }),
        plain("pause", |_| TaskCommand::Pause),
        plain("resume", |_| TaskCommand::Resume),
        plain("cancel", |_| TaskCommand::Cancel {
            code: ReasonCode::CancelledByPerson,
            sentence: "stop".into(),
        }),
        plain("supersede", |_| TaskCommand::Supersede {
            by: "tsk_2".into(),
        }),
    ]
}

/// What tells two states apart for a decision.
fn key(task: &Task) -> String {
    if task.status.is_final() {
        // A retry forgets all but these.
        return format!("{} {}", task.status, task.change.is_some());
    }
    let wait = task.wait.as_ref().map(|wait| {
        (
            wait.kind,
            name(task),
            wait.until.is_some(),
            wait.silence_permits,
        )
    });
    let step = task.steps.last().map(|step| {
        let failed = matches!(
            step.outcome,
            Some(StepOutcome::Failed { .. } | StepOutcome::TimedOut)
        );
        (step.index, step.outcome.is_some(), failed)
    });
    let any = |verdict| {
        task.validators
            .iter()
            .any(|result| result.verdict == verdict)
    };
    let evidence = (
        any(Verdict::Passed),
        any(Verdict::Failed),
        any(Verdict::Missing),
    );
    let approvals: BTreeSet<u32> = task
        .approvals
        .iter()
        .map(|approval| approval.step)
        .collect();
    format!(
        "{} {wait:?} {} {} {} {} {step:?} {evidence:?} {approvals:?} {} {} {}",
        task.status,
        task.paused,
        task.next_step,
        task.attempt,
        task.interruptions,
        task.proposal.is_some(),
        task.change.is_some(),
        task.base.is_some(),
    )
}

/// A representative of all states that differ only in counters and in repeated evidence.
fn representative(mut task: Task) -> Task {
    // One lost runner stands for as many as are borne: the next is one too many.
    task.interruptions = if task.interruptions > 0 {
        MOST_INTERRUPTIONS
    } else {
        0
    };
    task.attempt = task.attempt.min(2);
    let mut seen = BTreeSet::new();
    task.validators
        .retain(|result| seen.insert(result.verdict.as_str()));
    task
}

/// How the table names a state: status, what it waits for, paused.
fn name(task: &Task) -> String {
    let wait = task.wait.as_ref().map(|wait| {
        let review = if wait.reason.code == ReasonCode::ChangesRequested {
            ", after review"
        } else {
            ""
        };
        format!("({}{review})", wait.kind.as_str())
    });
    format!(
        "{}{}{}",
        task.status,
        wait.unwrap_or_default(),
        if task.paused { " paused" } else { "" }
    )
}

struct Graph {
    states: Vec<Task>,
    /// From, letter, to.
    edges: Vec<(usize, usize, usize)>,
    /// Statuses between the facts of one decision too.
    passed: BTreeSet<TaskStatus>,
    /// (state, letter) → what came of it.
    table: BTreeMap<(String, &'static str), BTreeSet<String>>,
}

/// The walk over all kinds of steps, made once.
fn whole() -> &'static Graph {
    static WHOLE: std::sync::OnceLock<Graph> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| explore("cvax"))
}

fn explore(letters: &str) -> Graph {
    let alphabet = alphabet();
    let spent = Spend {
        wall_ms: u64::MAX,
        changes: u64::MAX,
    };
    let mut definition = definition(letters, 1, false, None);
    definition.budget = Some(model::automation::BudgetRules {
        wall: Some("1h".parse().unwrap()),
        ..Default::default()
    });
    let mut world = World::new(definition);
    let first = Stream::new().task;
    let mut known = HashMap::from([(key(&first), 0)]);
    let mut graph = Graph {
        states: vec![first],
        edges: vec![],
        passed: BTreeSet::new(),
        table: BTreeMap::new(),
    };
    let mut queue = VecDeque::from([0]);
    while let Some(from) = queue.pop_front() {
        let task = graph.states[from].clone();
        for (number, letter) in alphabet.iter().enumerate() {
            world.exec = letter.exec;
            world.open = letter.open;
            world.spend = if letter.spent {
                spent
            } else {
                Spend::default()
            };
            world.now = if letter.late {
                later(1_000_000)
            } else {
                start()
            };
            let came = graph.table.entry((name(&task), letter.name)).or_default();
            let Ok(facts) = decide(&task, &(letter.command)(&task), &world.context()) else {
                came.insert("-".to_owned());
                continue;
            };
            let mut after = task.clone();
            for fact in &facts {
                // A retry's pause would move on with every lap: deadlines are all the same here.
                let fact = match fact {
                    TaskFact::Waited { wait } => TaskFact::Waited {
                        wait: Wait {
                            until: wait.until.map(|_| later(60)),
                            ..wait.clone()
                        },
                    },
                    other => other.clone(),
                };
                apply(&mut after, &fact, start());
                graph.passed.insert(after.status);
            }
            came.insert(name(&after));
            let after = representative(after);
            let next = graph.states.len();
            let to = *known.entry(key(&after)).or_insert(next);
            if to == next {
                graph.states.push(after);
                queue.push_back(next);
            }
            graph.edges.push((from, number, to));
        }
        assert!(
            graph.states.len() < 30_000,
            "the alphabet is too large to walk"
        );
    }
    graph
}

#[test]
fn every_status_and_every_kind_of_wait_is_reached() {
    let graph = whole();
    println!(
        "{} states, {} transitions",
        graph.states.len(),
        graph.edges.len()
    );
    let rested: BTreeSet<TaskStatus> = graph.states.iter().map(|task| task.status).collect();
    for status in TaskStatus::ALL {
        match PASSED_THROUGH.iter().find(|(passed, _)| passed == status) {
            None => assert!(rested.contains(status), "{status} is never reached"),
            Some((_, why)) => {
                assert!(
                    !rested.contains(status),
                    "{status} can be rested in: take it off the list ({why})"
                );
                assert!(
                    graph.passed.contains(status),
                    "{status} is not even passed through"
                );
            }
        }
    }
    for kind in WaitKind::ALL {
        let waits = |task: &Task| task.wait.as_ref().is_some_and(|wait| wait.kind == *kind);
        let reached = graph.states.iter().any(waits);
        match NOT_YET.iter().find(|(not_yet, _)| not_yet == kind) {
            None => assert!(reached, "nothing waits for {}", kind.as_str()),
            Some((_, why)) => assert!(
                !reached,
                "{} is reached: take it off the list ({why})",
                kind.as_str()
            ),
        }
    }
}

/// States from which, with the letters allowed, some final state can be reached.
fn leads_to_an_end(graph: &Graph, allowed: impl Fn(&str) -> bool) -> Vec<bool> {
    let alphabet = alphabet();
    let mut back: Vec<Vec<usize>> = vec![vec![]; graph.states.len()];
    for (from, letter, to) in &graph.edges {
        if allowed(alphabet[*letter].name) {
            back[*to].push(*from);
        }
    }
    let mut leads: Vec<bool> = graph
        .states
        .iter()
        .map(|task| task.status.is_final())
        .collect();
    let mut queue: VecDeque<usize> = (0..leads.len()).filter(|state| leads[*state]).collect();
    while let Some(to) = queue.pop_front() {
        for from in &back[to] {
            if !std::mem::replace(&mut leads[*from], true) {
                queue.push_back(*from);
            }
        }
    }
    leads
}

#[test]
fn no_state_is_a_dead_end_even_if_nobody_stops_the_task() {
    for letters in ["cvax", "r", "x"] {
        let small;
        let graph = if letters == "cvax" {
            whole()
        } else {
            small = explore(letters);
            &small
        };
        // Cancelling is always possible and would hide every dead end.
        let leads = leads_to_an_end(graph, |letter| !matches!(letter, "cancel" | "supersede"));
        for (task, leads) in graph.states.iter().zip(leads) {
            assert!(
                leads,
                "{letters}: nothing leads on from {}: {task:?}",
                name(task)
            );
        }
    }
}

#[test]
fn what_ended_well_is_never_begun_again() {
    let graph = whole();
    let alphabet = alphabet();
    for (from, letter, _) in &graph.edges {
        let status = graph.states[*from].status;
        if status.is_final() {
            assert_eq!(alphabet[*letter].name, "retry", "{status}");
            assert!(
                !matches!(
                    status,
                    TaskStatus::Merged | TaskStatus::Superseded | TaskStatus::NoChange
                ),
                "{status}"
            );
        }
    }
}

#[test]
fn every_transition_is_the_one_written_down() {
    let graph = whole();
    let mut text = String::from(
        "# What each command does to a task of the steps command (one retry), validate, approve, change.\n\
         # `-` is a rejection; several outcomes depend on the step, the evidence or earlier consents.\n",
    );
    let states: BTreeSet<&String> = graph.table.keys().map(|(state, _)| state).collect();
    for state in states {
        let _ = writeln!(text, "\n{state}");
        let mut refused = vec![];
        for letter in alphabet() {
            let came = &graph.table[&(state.clone(), letter.name)];
            if came.len() == 1 && came.contains("-") {
                refused.push(letter.name);
            } else {
                let came: Vec<&str> = came.iter().map(String::as_str).collect();
                let _ = writeln!(text, "  {} → {}", letter.name, came.join(" | "));
            }
        }
        let _ = writeln!(text, "  rejected: {}", refused.join("; "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    for (line, (now, then)) in text.lines().zip(written.lines()).enumerate() {
        assert_eq!(
            now,
            then,
            "transitions.txt:{}: look at the difference, then UPDATE=1",
            line + 1
        );
    }
    assert_eq!(
        text.lines().count(),
        written.lines().count(),
        "transitions.txt has another length; UPDATE=1"
    );
}
