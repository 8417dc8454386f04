//! One tier and mode: every attack in an environment of its own.

use std::time::Duration;

use sandbox::{ExecSpec, ExitStatus, Supervisor};
use serde_json::{Value, json};

use crate::adapter::{Mode, Tier, make_environment};
use crate::catalogue::{self, Attack};
use crate::common::{self, is_root};
use crate::expected::{Expected, expected};
use crate::judge;
use crate::ordinary;
use crate::scene::Scene;

/// How an attack ended, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Blocked,
    Bypass,
    /// It makes no sense on this machine.
    NotApplicable,
    /// It could not be carried out: neither for nor against the fence.
    Fault,
}

/// One result.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) item: u8,
    pub(crate) what: String,
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    pub(crate) outcome: Outcome,
    pub(crate) seen: String,
}

impl Row {
    pub(crate) fn promised(&self) -> Expected {
        expected(&self.name, self.tier, self.mode)
    }

    /// A line when the result is not what is promised, in either direction.
    pub(crate) fn difference(&self) -> Option<String> {
        let agreed = match (self.outcome, self.promised()) {
            (Outcome::Blocked, Expected::Blocked)
            | (Outcome::Bypass, Expected::NotPromised(_) | Expected::Open(_))
            | (_, Expected::Depends(_))
            | (Outcome::NotApplicable, _) => self.outcome != Outcome::Fault,
            _ => false,
        };
        (!agreed).then(|| {
            format!(
                "{:<34} {:?}, promised {:?}: {}",
                self.name,
                self.outcome,
                self.promised(),
                self.seen
            )
        })
    }

    pub(crate) fn json(&self) -> Value {
        let (promised, reason) = match self.promised() {
            Expected::Blocked => ("blocked", ""),
            Expected::NotPromised(reason) => ("not promised", reason),
            Expected::Depends(reason) => ("depends", reason),
            Expected::Open(reason) => ("open", reason),
        };
        json!({
            "name": self.name, "item": self.item, "what": self.what, "tier": self.tier.name(),
            "mode": self.mode.name(), "outcome": format!("{:?}", self.outcome), "seen": self.seen,
            "promised": promised, "reason": reason,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let (tier, mode, outcome) = (text("tier")?, text("mode")?, text("outcome")?);
        let outcomes = [
            Outcome::Blocked,
            Outcome::Bypass,
            Outcome::NotApplicable,
            Outcome::Fault,
        ];
        Some(Self {
            name: text("name")?,
            item: u8::try_from(value.get("item")?.as_u64()?).ok()?,
            what: text("what")?,
            tier: Tier::ALL.into_iter().find(|one| one.name() == tier)?,
            mode: Mode::ALL.into_iter().find(|one| one.name() == mode)?,
            outcome: outcomes
                .into_iter()
                .find(|one| format!("{one:?}") == outcome)?,
            seen: text("seen")?,
        })
    }
}

/// Runs every attack in environments of this tier and mode; or why there can be none.
pub(crate) fn run(tier: Tier, mode: Mode) -> Result<Vec<Row>, String> {
    match tier {
        Tier::L1 | Tier::L0Root if !is_root() => Err("this needs root".into()),
        Tier::L0 if is_root() => ordinary::run(mode),
        _ => run_here(tier, mode),
    }
}

/// Runs every attack as the user this process is.
pub(crate) fn run_here(tier: Tier, mode: Mode) -> Result<Vec<Row>, String> {
    let scene = Scene::new();
    let mut supervisor = scene.supervisor();
    // Says at once when there can be no such environment.
    drop(make_environment(&supervisor, &scene, tier, mode, "first")?);
    let only = std::env::var("NIGHTCREW_ATTACK_ONLY").unwrap_or_default();
    let mut rows = Vec::new();
    for attack in catalogue::read() {
        if !attack.name.contains(&only) {
            continue;
        }
        let (outcome, seen) = perform(&supervisor, &scene, tier, mode, &attack);
        let place = format!("/{}", supervisor.process_id());
        let alive = common::named("nc-supervisor")
            .iter()
            .any(|path| path.ends_with(&place));
        if !alive {
            rows.push(row(
                &attack,
                tier,
                mode,
                Outcome::Bypass,
                "the supervisor is gone".into(),
            ));
            supervisor = scene.supervisor();
        } else {
            rows.push(row(&attack, tier, mode, outcome, seen));
        }
    }
    Ok(rows)
}

fn row(attack: &Attack, tier: Tier, mode: Mode, outcome: Outcome, seen: String) -> Row {
    Row {
        name: attack.name.clone(),
        item: attack.item,
        what: attack.what.clone(),
        tier,
        mode,
        outcome,
        seen,
    }
}

/// One attack in an environment of its own.
fn perform(
    supervisor: &Supervisor,
    scene: &Scene,
    tier: Tier,
    mode: Mode,
    attack: &Attack,
) -> (Outcome, String) {
    let environment = match make_environment(supervisor, scene, tier, mode, &attack.name) {
        Ok(environment) => environment,
        Err(error) => return (Outcome::Fault, format!("no environment: {error}")),
    };
    let program = scene.tools().join("sandbox-attacker");
    let ran = common::run(
        &environment,
        ExecSpec {
            argv: vec![program.display().to_string(), attack.name.clone()],
            env: scene.variables(supervisor.process_id()),
            cwd: None,
            stdin: None,
            stdout: common::null(),
            stderr: common::null(),
            terminal: None,
            timeout: Some(Duration::from_secs(120)),
        },
    );
    let last = ran.out.trim().lines().last().unwrap_or_default();
    let seen = last
        .split_once(": ")
        .map_or(last, |(_, seen)| seen)
        .to_owned();
    let mut environment = Some(environment);
    let (outcome, seen) = match ran.status {
        ExitStatus::Code(0) => (Outcome::Bypass, seen),
        ExitStatus::Code(10) => (Outcome::Blocked, seen),
        ExitStatus::Code(20) => (Outcome::NotApplicable, seen),
        ExitStatus::Code(30) => {
            let environment = environment.take().unwrap();
            match judge::judge(supervisor, scene, tier, mode, environment, &attack.name) {
                Ok(held) => (Outcome::Blocked, format!("{seen}; {held}")),
                Err(broken) => (Outcome::Bypass, format!("{seen}; {broken}")),
            }
        }
        // Whoever is killed for what it uses was stopped.
        ExitStatus::Signal(signal @ (9 | 25 | 31)) => {
            (Outcome::Blocked, format!("killed by signal {signal}"))
        }
        status => (
            Outcome::Fault,
            format!("{status:?} {seen} {}", ran.err.trim()),
        ),
    };
    drop(environment);
    let removed = [scene.layer(&attack.name), scene.outputs(&attack.name)]
        .iter()
        .find_map(|path| sandbox::remove_layer(path).err());
    match removed {
        Some(error) => (
            Outcome::Bypass,
            format!("{seen}; what it left cannot be removed: {error}"),
        ),
        None => (outcome, seen),
    }
}
