//! One tier and mode: every attack in an environment of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

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
            | (Outcome::Bypass, Expected::NotPromised(_))
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
    // Says at once when there can be no such environment.
    drop(make_environment(
        &scene.supervisor(),
        &scene,
        tier,
        mode,
        "first",
    )?);
    let only = std::env::var("NIGHTCREW_ATTACK_ONLY").unwrap_or_default();
    let mut attacks = catalogue::read();
    attacks.retain(|attack| attack.name.contains(&only));
    let work = Work {
        progress: Mutex::new(Progress::new(tier, mode, attacks.len())),
        rows: Mutex::new(Vec::new()),
        next: AtomicUsize::new(0),
        alone: RwLock::new(()),
        scene,
        attacks,
        tier,
        mode,
    };
    // Most attacks wait for something, so a few more than there are processors.
    std::thread::scope(|threads| {
        for _ in 0..WORKERS {
            threads.spawn(|| work.run());
        }
    });
    let mut rows = work.rows.into_inner().unwrap();
    rows.sort_by_key(|(at, _)| *at);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

const WORKERS: usize = 6;

/// Attacks whose traces are looked for on the whole host.
fn wants_to_be_alone(name: &str) -> bool {
    ["proc-survive", "proc-daemonise"]
        .iter()
        .any(|part| name.starts_with(part))
}

/// The attacks of one tier and mode, shared out.
struct Work {
    scene: Scene,
    attacks: Vec<Attack>,
    tier: Tier,
    mode: Mode,
    next: AtomicUsize,
    rows: Mutex<Vec<(usize, Row)>>,
    progress: Mutex<Progress>,
    /// Held for writing by who must be alone.
    alone: RwLock<()>,
}

impl Work {
    /// Takes attacks until there are none. With a supervisor of its own, which an attack may end.
    fn run(&self) {
        let mut supervisor = self.scene.supervisor();
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(attack) = self.attacks.get(at) else {
                return;
            };
            let started = Instant::now();
            let (outcome, seen) = if wants_to_be_alone(&attack.name) {
                let _alone = self.alone.write().unwrap();
                perform(&supervisor, &self.scene, self.tier, self.mode, attack)
            } else {
                let _together = self.alone.read().unwrap();
                perform(&supervisor, &self.scene, self.tier, self.mode, attack)
            };
            let place = format!("/{}", supervisor.process_id());
            let alive = common::named("nc-supervisor")
                .iter()
                .any(|path| path.ends_with(&place));
            let row = |outcome, seen| row(attack, self.tier, self.mode, outcome, seen);
            let row = if alive {
                row(outcome, seen)
            } else {
                supervisor = self.scene.supervisor();
                row(Outcome::Bypass, "the supervisor is gone".into())
            };
            self.rows.lock().unwrap().push((at, row));
            let mut progress = self.progress.lock().unwrap();
            progress.ended(&attack.name, started.elapsed());
        }
    }
}

/// Says how far it is, every few seconds, and what took long: also where the output is captured,
/// because a run of minutes that says nothing looks as if it hung.
struct Progress {
    name: String,
    total: usize,
    done: usize,
    began: Instant,
    said: Instant,
}

impl Progress {
    fn new(tier: Tier, mode: Mode, total: usize) -> Self {
        let now = Instant::now();
        Self {
            name: format!("{} {}", tier.name(), mode.name()),
            total,
            done: 0,
            began: now,
            said: now,
        }
    }

    fn ended(&mut self, attack: &str, took: Duration) {
        self.done += 1;
        if took >= Duration::from_secs(10) {
            self.say(&format!("{attack} took {} s", took.as_secs()));
        }
        if self.said.elapsed() >= Duration::from_secs(10) || self.done == self.total {
            self.said = Instant::now();
            let seconds = self.began.elapsed().as_secs();
            self.say(&format!(
                "{} of {} attacks after {seconds} s",
                self.done, self.total
            ));
        }
    }

    fn say(&self, what: &str) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "{}: {what}", self.name);
    }
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
