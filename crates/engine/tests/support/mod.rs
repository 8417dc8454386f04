//! What the tests of the task's life share: worlds to decide in, and things to put into commands.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::time::Duration;

use engine::context::Context;
use engine::ports::{Caps, Policy, Spend};
use engine::task::{TaskCommand, decide};
use jiff::Timestamp;
use model::automation::Definition;
use model::change::{ChangeRef, Proposal};
use model::evidence::{DiffStat, ValidatorResult, Verdict};
use model::fact::{FACT_VERSION, Recorded, TaskFact};
use model::ids::{CampaignId, EventId, RunId, TaskId};
use model::isolation::{Isolation, IsolationLevel};
use model::policy::{Action, Ask, Decision};
use model::run::Target;
use model::task::{Base, Task};
use serde_json::json;

/// What policy says to one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Says {
    Permit,
    Ask,
    Forbid,
}

/// Everything outside the task that a decision looks at.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) definition: Definition,
    pub(crate) exec: Says,
    pub(crate) open: Says,
    pub(crate) spend: Spend,
    pub(crate) now: Timestamp,
}

impl Policy for World {
    fn decide(&self, ask: &Ask) -> Decision {
        let says = match ask.action {
            Action::Exec => self.exec,
            Action::OpenChange => self.open,
            Action::Start | Action::Merge | Action::Approve => Says::Permit,
        };
        match says {
            Says::Permit => Decision::Permit,
            Says::Ask => Decision::NeedsApproval {
                by: "role:owner".into(),
                rule: "ask-first".into(),
            },
            Says::Forbid => Decision::Forbid {
                rule: "never".into(),
            },
        }
    }
}

impl World {
    pub(crate) fn new(definition: Definition) -> Self {
        Self {
            definition,
            exec: Says::Permit,
            open: Says::Permit,
            spend: Spend::default(),
            now: start(),
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            definition: &self.definition,
            policy: self,
            budget: &Caps,
            spend: self.spend,
        }
    }
}

/// When every test begins.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_760_000_000).unwrap()
}

pub(crate) fn later(seconds: u64) -> Timestamp {
    start() + Duration::from_secs(seconds)
}

/// A stream with the state folded from it fact by fact.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) task: Task,
    pub(crate) facts: Vec<Recorded<TaskFact>>,
}

impl Stream {
    pub(crate) fn new() -> Self {
        let run = RunId::of("a", EventId::of("test", "1"));
        let target = Target::repository("fleet/one");
        let id = TaskId::of(run, &target);
        let fact = TaskFact::Created {
            run,
            campaign: CampaignId::derived(&["c"]),
            automation: "a".into(),
            version: 1,
            target,
            wave: 0,
        };
        let task = engine::task::initial(id, &fact, start()).unwrap();
        Self {
            task,
            facts: vec![recorded(fact, start())],
        }
    }

    /// Decides and, when accepted, folds.
    pub(crate) fn tell(
        &mut self,
        command: &TaskCommand,
        world: &World,
    ) -> Result<Vec<TaskFact>, engine::Rejection> {
        let facts = decide(&self.task, command, &world.context())?;
        for fact in &facts {
            engine::task::apply(&mut self.task, fact, world.now);
            self.facts.push(recorded(fact.clone(), world.now));
        }
        Ok(facts)
    }
}

pub(crate) fn recorded<F>(fact: F, at: Timestamp) -> Recorded<F> {
    Recorded {
        v: FACT_VERSION,
        at,
        actor: "system".into(),
        scope: "automation:a".into(),
        fact,
    }
}

/// A definition from letters: `c` command, `v` validate, `r` report, `a` approve, `x` change.
pub(crate) fn definition(
    letters: &str,
    retries: u32,
    silence_permits: bool,
    budget: Option<u64>,
) -> Definition {
    let otherwise = if silence_permits { "permit" } else { "deny" };
    let steps: Vec<serde_json::Value> = letters
        .chars()
        .map(|letter| match letter {
            'c' => json!({"command": "true", "retries": retries}),
            'v' => json!({"validate": [{"cmd": "true"}]}),
            'r' => json!({"report": {"outputs": {"n": "int"}}}),
            'a' => json!({"approve": {"by": "role:owner", "otherwise": otherwise}}),
            'x' => json!({"change": {"title": "t"}}),
            other => panic!("`{other}` is no step"),
        })
        .collect();
    let mut whole = json!({"name": "a", "steps": steps});
    if let Some(seconds) = budget {
        whole["budget"] = json!({"per_task": {"wall": format!("{seconds}s")}});
    }
    serde_json::from_value(whole).unwrap()
}

pub(crate) fn base(commit: &str) -> Base {
    Base {
        commit: commit.into(),
        branch: "main".into(),
    }
}

pub(crate) fn isolation() -> Isolation {
    Isolation {
        level: IsolationLevel::L1,
        layers: vec!["user".into()],
        probes: 9,
        weaker: vec![],
        exec: None,
        root: None,
        network: None,
    }
}

pub(crate) fn result(verdict: Verdict) -> ValidatorResult {
    ValidatorResult {
        name: "true".into(),
        verdict,
        detail: String::new(),
        before: vec![],
        after: vec![],
        new: vec![],
        log: None,
        wall_ms: 1,
    }
}

pub(crate) fn proposal(base: &str) -> Proposal {
    Proposal {
        base: base.into(),
        commit: "c0ffee".into(),
        bundle: "b1".into(),
        patch: "b2".into(),
        diff: DiffStat {
            files: 1,
            insertions: 2,
            deletions: 3,
        },
        diff_class: "0123456789abcdef".into(),
        title: "t".into(),
        body: "b3".into(),
        branch: "nightcrew/a/1".into(),
    }
}

pub(crate) fn change() -> ChangeRef {
    ChangeRef {
        number: 7,
        branch: "nightcrew/a/1".into(),
        commit: "c0ffee".into(),
        url: None,
    }
}
