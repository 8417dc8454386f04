//! What people do during a trial: the first repositories of the fleet are merged, closed and
//! cancelled as soon as they are in review. Everything may be asked again after a crash.

use std::io;

use serde_json::{Value, json};

use crate::api::Api;

/// What happens to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Merged(&'static str),
    Closed,
    Cancelled,
    NothingToDo,
    Fails,
    Reviewed,
}

/// Roles of the first repositories by name; all others stay in review.
const ROLES: &[Role] = &[
    Role::Merged("merge"),
    Role::Merged("squash"),
    Role::Closed,
    Role::Cancelled,
    Role::NothingToDo,
    Role::Fails,
    Role::Cancelled,
];

/// The course of a trial.
#[derive(Debug)]
pub(super) struct Plot {
    /// Repositories by name, in order.
    pub(super) repositories: Vec<String>,
}

impl Plot {
    pub(super) fn new(names: &[String]) -> io::Result<Self> {
        let mut repositories = names.to_vec();
        repositories.sort();
        if repositories.len() < ROLES.len() + 2 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a trial needs nine repositories",
            ));
        }
        Ok(Self { repositories })
    }

    /// The automation whose campaign is disturbed.
    pub(super) fn automation(&self) -> String {
        let of = |role: Role| {
            let at = ROLES
                .iter()
                .position(|other| *other == role)
                .unwrap_or_default();
            self.repositories[at].clone()
        };
        let (nothing, fails) = (of(Role::NothingToDo), of(Role::Fails));
        format!(
            r#"name: chaos
description: A campaign that is killed again and again.
triggers: [manual]
targets:
  query: 'repo.files.exists(f, f == ".travis.yml")'
environment:
  limits: {{ time: 1m, processes: 32 }}
steps:
  - id: edit
    command: |
      set -eu
      case $NIGHTCREW_REPOSITORY in
        {nothing}) echo "nothing to do here" >"$NIGHTCREW_OUT/no_change"; exit 0 ;;
        {fails}) echo "this one fails"; exit 3 ;;
      esac
      sed 's/row-/line-/' src/table.txt >table.new
      cat table.new >src/table.txt
      rm table.new
      echo '{{"rows": 40}}' >"$NIGHTCREW_OUT/outputs.json"
  - id: check
    validate:
      - {{ cmd: sh ci/smoke.sh, baseline: true }}
  - id: propose
    change: {{ title: "Call rows lines", body: "In [[ repository.name ]]." }}
campaign: {{ canary: 3, waves: [10, rest], gate: {{ verified: 0.5 }} }}
"#
        )
    }

    /// Looks and does what is due; true when all is done and nothing moves any more.
    pub(super) fn step(&self, api: &mut Api) -> io::Result<bool> {
        // The key makes a start that is asked for again the same start.
        let start = json!({"key": "the-one-start"});
        let runs = api.get("/runs?automation=chaos&limit=10")?;
        if items(&runs).is_empty() {
            api.post("/automations/chaos/start", &start)?;
            return Ok(false);
        }
        let tasks = api.get("/tasks?limit=1000")?;
        let mut left = self.repositories.len();
        for task in items(&tasks) {
            let repository = task
                .pointer("/target/repository")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let at = self.repositories.iter().position(|name| name == repository);
            let role = at
                .and_then(|at| ROLES.get(at))
                .copied()
                .unwrap_or(Role::Reviewed);
            let state = text(task, "status");
            if state == "in_review" {
                self.act(api, text(task, "id"), role)?;
            }
            left -= usize::from(is_the_end(role, state));
        }
        if left > 0 {
            return Ok(false);
        }
        let status = api.get("/status")?;
        let none = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64) == Some(0);
        Ok(none("/unsettled") && none("/pending_effects") && none("/ledger/pending"))
    }

    fn act(&self, api: &mut Api, task: &str, role: Role) -> io::Result<()> {
        let asked = match role {
            Role::Merged(method) => {
                api.post(
                    &format!("/tasks/{task}/review"),
                    &json!({"verdict": "approved", "text": ""}),
                )
                .and_then(|_| api.post(&format!("/tasks/{task}/merge"), &json!({"method": method})))
            }
            Role::Closed => api.post(&format!("/tasks/{task}/close"), &json!({})),
            Role::Cancelled => api.post(&format!("/tasks/{task}/cancel"), &json!({})),
            Role::NothingToDo | Role::Fails | Role::Reviewed => return Ok(()),
        };
        match asked {
            Ok(_) => Ok(()),
            // What was asked for before the crash may have been done: the news of it is on its way.
            Err(error) if error.kind() == io::ErrorKind::Other && says_it_is_done(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn says_it_is_done(error: &io::Error) -> bool {
    let words = error.to_string();
    ["merged", "closed", "not open"]
        .iter()
        .any(|word| words.contains(word))
}

/// Whether a task with this role ends in this state.
fn is_the_end(role: Role, state: &str) -> bool {
    state
        == match role {
            Role::Merged(_) => "merged",
            Role::Closed => "rejected",
            Role::Cancelled => "cancelled",
            Role::NothingToDo => "no_change",
            Role::Fails => "failed",
            Role::Reviewed => "in_review",
        }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value
        .get("items")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
