//! Facts written by the first version stay readable for ever.
//!
//! `data/facts-v1/*.jsonl` is what version 1 wrote, one stream a file, and is never changed; the
//! `.state.json` beside it is what the stream folds to. A new kind of fact does not compile here
//! until it is listed, and does not pass until a stream holds it: add a new file for it, by
//! putting a stream into `streams` below and running with `UPDATE=1`, which writes what is missing
//! and overwrites nothing but states.

#![expect(clippy::unwrap_used, reason = "a test stops at what cannot be")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use model::automation::{CampaignRules, Gate, Pace, Wave};
use model::change::ReviewVerdict;
use model::evidence::Verdict;
use model::exec::ExecMode;
use model::fact::{CampaignFact, FACT_VERSION, Fact, Recorded, RunFact, TaskFact};
use model::ids::{CampaignId, EventId, RunId, TaskId};
use model::isolation::{ExecEvidence, Isolation, RootEvidence, RootKind};
use model::reason::{Reason, ReasonCode};
use model::run::Target;
use model::step::{Outputs, StepOutcome};
use model::task::{TaskStatus, Wait, WaitKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use support::{base, change, isolation, later, proposal, result};

/// Every kind of a fact, and an exhaustive match so that none is forgotten.
macro_rules! kinds {
    ($function:ident, $kind:ident: $($variant:ident),+ $(,)?) => {
        fn $function(fact: Option<&$kind>) -> (&'static str, &'static [&'static str]) {
            let all: &'static [&'static str] = &[$(stringify!($variant)),+];
            let name = match fact {
                None => "",
                $(Some($kind::$variant { .. }) => stringify!($variant),)+
            };
            (name, all)
        }
    };
}

kinds!(
    task_kinds, TaskFact: Created, Claimed, Prepared, StepStarted, StepFinished, Validated, Waited, Woken, Approved,
    Proposed, Submitted, ReviewOpened, Reviewed, Paused, Resumed, Interrupted, Retried, Ended,
);
kinds!(campaign_kinds, CampaignFact: Opened, TargetsPlanned, WaveAdmitted, Held, Paused, Resumed, Closed);
kinds!(run_kinds, RunFact: Started, Planned, Failed);

fn run() -> RunId {
    RunId::of("travis-to-actions", EventId::of("forge:local", "push/1"))
}

fn campaign() -> CampaignId {
    CampaignId::derived(&["facts-v1"])
}

fn target() -> Target {
    Target {
        repository: "fleet/web".into(),
        path: "packages/ui".into(),
        key: "CVE-1".into(),
    }
}

fn record<F>(facts: Vec<F>) -> Vec<Recorded<F>> {
    let actors = ["system", "runner:embedded", "person:ada", "forge:local"];
    (0..)
        .zip(facts)
        .map(|(at, fact)| Recorded {
            v: 1,
            at: later(at * 61),
            actor: actors[at as usize % actors.len()].into(),
            scope: "automation:travis-to-actions".into(),
            fact,
        })
        .collect()
}

fn begun() -> Vec<TaskFact> {
    let created = TaskFact::Created {
        run: run(),
        campaign: campaign(),
        automation: "travis-to-actions".into(),
        version: 3,
        target: target(),
        wave: 1,
    };
    vec![
        created,
        TaskFact::Claimed {
            runner: "embedded".into(),
        },
        TaskFact::Prepared {
            base: base("b1"),
            isolation: isolation(),
        },
    ]
}

fn started(index: u32, kind: &str, attempt: u32) -> TaskFact {
    TaskFact::StepStarted {
        index,
        id: format!("{kind}-{}", index + 1),
        kind: kind.into(),
        attempt,
    }
}

fn finished(index: u32, outcome: StepOutcome) -> TaskFact {
    let outputs = Outputs::from([
        ("manual".to_owned(), json!(2)),
        ("names".to_owned(), json!(["ä", null, 1.5])),
    ]);
    TaskFact::StepFinished {
        index,
        outcome,
        outputs,
        log: Some("blob".into()),
        wall_ms: 1234,
    }
}

fn waited(kind: WaitKind, code: ReasonCode, until: Option<u64>) -> TaskFact {
    let reason = Reason::new(code, "somebody or something is waited for");
    let owner = Some("role:author".to_owned());
    TaskFact::Waited {
        wait: Wait {
            kind,
            reason,
            owner,
            until: until.map(later),
            silence_permits: until.is_some(),
        },
    }
}

fn merged() -> Vec<TaskFact> {
    let mut facts = begun();
    let mut validator = result(Verdict::Passed);
    validator.before = vec!["test one".into()];
    validator.after = vec!["test one".into()];
    facts.extend([
        started(0, "command", 1),
        finished(0, StepOutcome::Succeeded),
        started(1, "validate", 1),
        TaskFact::Validated {
            validators: vec![validator],
        },
        finished(1, StepOutcome::Succeeded),
        started(2, "approve", 1),
        waited(WaitKind::Approval, ReasonCode::ApprovalNeeded, Some(9000)),
        TaskFact::Approved {
            step: 2,
            by: "person:ada".into(),
        },
        finished(2, StepOutcome::Succeeded),
        TaskFact::Woken {
            cause: "approval".into(),
        },
        TaskFact::Claimed {
            runner: "remote-7".into(),
        },
        TaskFact::Prepared {
            base: base("b1"),
            isolation: isolation(),
        },
        started(3, "change", 1),
        finished(3, StepOutcome::Succeeded),
        TaskFact::Proposed {
            proposal: proposal("b1"),
        },
        TaskFact::Submitted { change: change() },
        TaskFact::ReviewOpened,
        TaskFact::Reviewed {
            verdict: ReviewVerdict::Approved,
            by: "ada".into(),
            text: "good".into(),
        },
        TaskFact::Ended {
            status: TaskStatus::Merged,
            reason: Reason::new(ReasonCode::Merged, "merged by ada as c0"),
        },
    ]);
    facts
}

fn troubled() -> Vec<TaskFact> {
    let mut facts = begun();
    facts.extend([
        started(0, "command", 1),
        finished(0, StepOutcome::Failed { code: 137 }),
        waited(WaitKind::Timer, ReasonCode::RetryBackoff, Some(400)),
        TaskFact::Woken {
            cause: "timer".into(),
        },
        TaskFact::Claimed {
            runner: "embedded".into(),
        },
        TaskFact::Interrupted {
            cause: "the lease ran out".into(),
            blame: true,
        },
        TaskFact::Paused,
        TaskFact::Resumed,
        waited(WaitKind::Budget, ReasonCode::BudgetExhausted, None),
        TaskFact::Retried {
            cause: "person:ada".into(),
        },
        TaskFact::Claimed {
            runner: "embedded".into(),
        },
        TaskFact::Prepared {
            base: base("b2"),
            isolation: isolation(),
        },
        started(0, "command", 1),
        finished(0, StepOutcome::Skipped),
        started(1, "command", 1),
        finished(1, StepOutcome::TimedOut),
        waited(WaitKind::Person, ReasonCode::StepTimedOut, None),
        waited(WaitKind::Quota, ReasonCode::BudgetExhausted, None),
        waited(WaitKind::Ci, ReasonCode::ForgeRefused, None),
    ]);
    facts
}

fn ended_in_every_way() -> Vec<TaskFact> {
    let mut facts = begun();
    let codes = ReasonCode::ALL.iter();
    facts.extend(codes.flat_map(|code| {
        let reason = Reason::new(*code, format!("the sentence of {code}"));
        let finals = TaskStatus::ALL.iter().filter(|status| status.is_final());
        let status = *finals.cycle().nth(code.as_str().len()).unwrap();
        [
            TaskFact::Ended { status, reason },
            TaskFact::Retried {
                cause: "again".into(),
            },
        ]
    }));
    facts.extend(
        TaskStatus::ALL
            .iter()
            .filter(|status| status.is_final())
            .map(|status| TaskFact::Ended {
                status: *status,
                reason: Reason::new(ReasonCode::InternalError, "the last one stays"),
            }),
    );
    facts
}

/// Evidence about the fence as it came to be known after the first facts, and ends for want of it.
fn fenced() -> Vec<TaskFact> {
    let mut facts = begun();
    let isolation = Isolation {
        exec: Some(ExecEvidence {
            mode: ExecMode::DenyList,
            policy: "ab".repeat(32),
            rules: 2,
        }),
        root: Some(RootEvidence {
            kind: RootKind::Image,
            digest: Some(format!("sha256:{}", "cd".repeat(32))),
            recipe: Some("ef".repeat(32)),
            reproducible: true,
            toolchains: Vec::new(),
        }),
        ..isolation()
    };
    facts.pop();
    facts.push(TaskFact::Prepared {
        base: base("b1"),
        isolation,
    });
    for code in [ReasonCode::IsolationTooWeak, ReasonCode::RecipeFailed] {
        facts.push(TaskFact::Ended {
            status: TaskStatus::Failed,
            reason: Reason::new(code, format!("the sentence of {code}")),
        });
        facts.push(TaskFact::Retried {
            cause: "again".into(),
        });
    }
    facts
}

/// Halts in the middle of a step, which goes on over the same base.
fn stopped() -> Vec<TaskFact> {
    let mut facts = begun();
    facts.extend([
        started(0, "command", 1),
        waited(WaitKind::Stop, ReasonCode::Stopped, None),
        TaskFact::Woken {
            cause: "stop".into(),
        },
        TaskFact::Claimed {
            runner: "embedded".into(),
        },
        TaskFact::Prepared {
            base: base("b1"),
            isolation: isolation(),
        },
        started(0, "command", 1),
        TaskFact::Ended {
            status: TaskStatus::Cancelled,
            reason: Reason::new(ReasonCode::Stopped, "it was stopped for good"),
        },
    ]);
    facts
}

/// Ends for what a change held, or for a credential that could not be had.
fn withheld() -> Vec<TaskFact> {
    let mut facts = begun();
    for code in [ReasonCode::SecretInChange, ReasonCode::CredentialExpired] {
        facts.push(TaskFact::Ended {
            status: TaskStatus::Failed,
            reason: Reason::new(code, format!("the sentence of {code}")),
        });
        facts.push(TaskFact::Retried {
            cause: "again".into(),
        });
    }
    facts
}

fn campaign_facts() -> Vec<CampaignFact> {
    let rules = CampaignRules {
        canary: Some(3),
        waves: vec![Wave::Count(8), Wave::Rest],
        gate: Some(Gate {
            verified: Some(0.9),
            merged: Some(0.5),
        }),
        max_running: Some(4),
        max_open: Some(50),
        pace: Some(Pace {
            writes_per_minute: Some(60),
        }),
    };
    vec![
        CampaignFact::Opened {
            automation: "travis-to-actions".into(),
            version: 3,
            rules,
        },
        CampaignFact::TargetsPlanned {
            run: run(),
            count: 20,
            waves: vec![3, 8, 9],
        },
        CampaignFact::Held {
            note: "wave 0 is bad".into(),
        },
        CampaignFact::Resumed {
            overridden: Some(0),
        },
        CampaignFact::WaveAdmitted { wave: 1 },
        CampaignFact::Paused,
        CampaignFact::Resumed { overridden: None },
        CampaignFact::Closed {
            note: "done".into(),
        },
    ]
}

fn run_facts() -> Vec<RunFact> {
    vec![
        RunFact::Started {
            automation: "travis-to-actions".into(),
            version: 3,
            event: EventId::of("forge:local", "push/1"),
        },
        RunFact::Planned {
            campaign: campaign(),
            tasks: 20,
            note: Some("two are archived".into()),
        },
        RunFact::Failed {
            note: "the inventory is empty".into(),
        },
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/facts-v1")
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// The committed lines of a stream, written first if asked for and missing.
fn stream<F: Serialize + DeserializeOwned>(
    name: &str,
    today: Vec<F>,
) -> (Vec<String>, Vec<Recorded<F>>) {
    let path = folder().join(format!("{name}.jsonl"));
    if update() && !path.exists() {
        assert_eq!(
            FACT_VERSION, 1,
            "a new version writes into a folder of its own"
        );
        let lines: Vec<String> = record(today)
            .iter()
            .map(|fact| serde_json::to_string(fact).unwrap())
            .collect();
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let facts = lines
        .iter()
        .zip(1..)
        .map(|(line, number)| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{name}.jsonl:{number}: {error}"))
        })
        .collect();
    (lines, facts)
}

fn task_streams() -> Vec<(&'static str, Vec<Recorded<TaskFact>>)> {
    [
        ("task-merged", merged()),
        ("task-troubled", troubled()),
        ("task-ended", ended_in_every_way()),
        ("task-fenced", fenced()),
        ("task-stopped", stopped()),
        ("task-withheld", withheld()),
    ]
    .into_iter()
    .map(|(name, today)| (name, stream(name, today).1))
    .collect()
}

/// Compares a folded state with the committed one.
fn same_state<S: Serialize>(name: &str, state: &S) {
    let path = folder().join(format!("{name}.state.json"));
    let now = serde_json::to_value(state).unwrap();
    if update() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let then: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(now, then, "{name} folds to something else than it did");
}

#[test]
fn old_facts_fold_to_the_states_they_folded_to() {
    let id = TaskId::of(run(), &target());
    for (name, facts) in task_streams() {
        same_state(name, &engine::task::replay(id, &facts).unwrap());
    }
    let (_, facts) = stream("campaign", campaign_facts());
    same_state(
        "campaign",
        &engine::campaign::replay(campaign(), &facts).unwrap(),
    );
    let (_, facts) = stream("run", run_facts());
    same_state("run", &engine::run::replay(run(), &facts).unwrap());
}

#[test]
fn every_kind_of_fact_is_in_the_old_files() {
    fn check<F: Fact>(
        facts: &[Recorded<F>],
        kinds: fn(Option<&F>) -> (&'static str, &'static [&'static str]),
    ) {
        let seen: BTreeSet<&str> = facts.iter().map(|fact| kinds(Some(&fact.fact)).0).collect();
        for kind in kinds(None).1 {
            assert!(
                seen.contains(kind),
                "no old file holds {kind}: add a stream that does"
            );
        }
        let stable: BTreeSet<&str> = facts.iter().map(|fact| fact.fact.kind()).collect();
        assert_eq!(stable.len(), seen.len(), "two kinds share a name");
    }
    let tasks: Vec<_> = task_streams()
        .into_iter()
        .flat_map(|(_, facts)| facts)
        .collect();
    check(&tasks, task_kinds);
    check(&stream("campaign", campaign_facts()).1, campaign_kinds);
    check(&stream("run", run_facts()).1, run_kinds);
    let codes: BTreeSet<_> = tasks
        .iter()
        .filter_map(|fact| match &fact.fact {
            TaskFact::Ended { reason, .. } => Some(reason.code),
            _ => None,
        })
        .collect();
    for code in ReasonCode::ALL {
        assert!(codes.contains(code), "no old file holds the reason {code}");
    }
}

#[test]
fn while_the_version_is_the_same_facts_are_written_the_same() {
    fn check<F: Serialize>((lines, facts): (Vec<String>, Vec<Recorded<F>>)) {
        for (line, fact) in lines.iter().zip(facts) {
            assert_eq!(
                &serde_json::to_string(&fact).unwrap(),
                line,
                "written otherwise: raise FACT_VERSION"
            );
        }
    }
    assert_eq!(
        FACT_VERSION, 1,
        "add a folder for the new version, and keep this one"
    );
    check(stream("task-merged", merged()));
    check(stream("task-troubled", troubled()));
    check(stream("task-ended", ended_in_every_way()));
    check(stream("task-fenced", fenced()));
    check(stream("task-stopped", stopped()));
    check(stream("campaign", campaign_facts()));
    check(stream("run", run_facts()));
}

#[test]
fn a_field_from_a_newer_version_is_passed_over() {
    fn check<F: DeserializeOwned + PartialEq + std::fmt::Debug>(
        (lines, facts): (Vec<String>, Vec<Recorded<F>>),
    ) {
        for (line, fact) in lines.iter().zip(facts) {
            let mut newer: serde_json::Value = serde_json::from_str(line).unwrap();
            newer["a_new_field"] = json!({"deep": [1]});
            newer["fact"]["another"] = json!([null, "x"]);
            let read: Recorded<F> =
                serde_json::from_value(newer).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(read, fact);
        }
    }
    check(stream("task-merged", merged()));
    check(stream("task-troubled", troubled()));
    check(stream("campaign", campaign_facts()));
    check(stream("run", run_facts()));
}

#[test]
fn facts_in_any_order_fold_without_a_panic() {
    let id = TaskId::of(run(), &target());
    let facts: Vec<_> = task_streams()
        .into_iter()
        .flat_map(|(_, facts)| facts)
        .collect();
    for stride in [1, 3, 5, 7, 11] {
        let mut order: Vec<_> = (0..facts.len()).collect();
        order.sort_by_key(|index| (index * stride) % facts.len());
        let mut mixed = vec![facts[0].clone()];
        mixed.extend(order.into_iter().map(|index| facts[index].clone()));
        let task = engine::task::replay(id, &mixed).unwrap();
        assert!(task.updated_at >= Timestamp::UNIX_EPOCH);
    }
    assert!(
        engine::task::replay(id, &facts[1..2]).is_none(),
        "a stream begins with a creation"
    );
    assert!(engine::task::replay(id, &[]).is_none());
}
