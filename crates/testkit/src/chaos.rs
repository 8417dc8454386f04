//! Kills a server while it works, starts it again, and compares how everything ended.
//!
//! A trial is a campaign over a small fleet, with people who merge, close and cancel some of it
//! (the [`plot`]). One trial is left alone; the others are killed at a fault point or at an instant
//! and started again until everything is settled. What is left is then [`inspect`]ed: it must be
//! what the undisturbed trial left.

mod inspect;
mod plot;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::api::Api;
use crate::fleet::{self, Source};
use crate::server::{Program, Server};
pub use fault::POINTS;
pub use inspect::Ending;
use plot::Plot;

/// Passes that a trial never comes to, and why.
pub const NEVER_PASSED: &[(&str, u32, &str)] = &[
    ("plan.tasks_written", 2, "a campaign is planned once"),
    ("plan.before_done", 2, "a campaign is planned once"),
];

/// Longest time for one trial.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a trial is disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kill {
    /// Not at all.
    Never,
    /// At the N-th pass of a fault point.
    Point(&'static str, u32),
    /// After these times, each counted from the start of a server process.
    After(Vec<Duration>),
}

/// What one trial showed.
#[derive(Debug)]
pub struct Trial {
    /// How often the server was killed.
    pub kills: usize,
    /// From the start of the first server to the settled end.
    pub took: Duration,
    /// How everything ended.
    pub ending: Ending,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}

/// A prepared fleet and a data directory to copy for every trial.
#[derive(Debug)]
pub struct Chaos {
    program: PathBuf,
    scratch: tempfile::TempDir,
    plot: Plot,
    trials: u32,
}

impl Chaos {
    /// Builds and imports a fleet of `count` repositories; at least nine.
    ///
    /// # Errors
    /// When files cannot be written or the import fails.
    pub fn prepare(program: &Path, source: &Source, count: usize) -> io::Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("nightcrew-chaos.")
            .tempdir()?;
        // Environments execute as another user, who must be able to pass.
        crate::server::passable(scratch.path())?;
        let fleet = scratch.path().join("fleet");
        let names = fleet::build(&fleet, source, count)?;
        let plot = Plot::new(&names)?;
        std::fs::write(scratch.path().join("chaos.yaml"), plot.automation())?;
        let chaos = Self {
            program: program.to_owned(),
            scratch,
            plot,
            trials: 0,
        };
        let template = chaos.at("template");
        template.must(&["inventory", "import", &fleet.to_string_lossy()])?;
        template.must(&[
            "automation",
            "apply",
            &chaos.scratch.path().join("chaos.yaml").to_string_lossy(),
        ])?;
        Ok(chaos)
    }

    fn at(&self, name: &str) -> Program {
        Program {
            path: self.program.clone(),
            data_dir: self.scratch.path().join(name).join("data"),
        }
    }

    /// Runs one trial; compared with `undisturbed` if that is given. The data directory of a
    /// trial with problems stays until this value is dropped, others are removed.
    ///
    /// # Errors
    /// When the trial cannot be carried out: a problem of the surroundings or a server that does
    /// not come up again.
    pub fn trial(&mut self, kill: &Kill, undisturbed: Option<&Ending>) -> io::Result<Trial> {
        self.trials += 1;
        let name = format!("trial-{}", self.trials);
        let program = self.at(&name);
        let place = self.scratch.path().join(&name);
        std::fs::create_dir(&place)?;
        let copied = Command::new("cp")
            .arg("-a")
            .arg(self.at("template").data_dir)
            .arg(&place)
            .status()?;
        if !copied.success() {
            return Err(io::Error::other("cp failed"));
        }
        let mut play = Play {
            program: &program,
            plot: &self.plot,
            checkpoint: None,
            began: Instant::now(),
            kills: 0,
        };
        let mut problems = Vec::new();
        let mut server = play.run(kill, &mut problems)?;
        let took = play.began.elapsed();
        let ending = play.inspect(&mut server, &mut problems)?;
        if let Some(undisturbed) = undisturbed {
            problems.extend(ending.differences(undisturbed));
        }
        if let Kill::Point(point, pass) = kill
            && play.kills == 0
        {
            problems.push(format!("pass {pass} of {point} was NOT REACHED"));
        }
        let kills = play.kills;
        if problems.is_empty() {
            std::fs::remove_dir_all(&place)?;
        }
        Ok(Trial {
            kills,
            took,
            ending,
            problems,
        })
    }

    /// Leaves the scratch folder on disk and says where it is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.scratch.keep()
    }
}

/// One trial under way.
struct Play<'a> {
    program: &'a Program,
    plot: &'a Plot,
    /// The newest checkpoint of the ledger seen so far.
    checkpoint: Option<String>,
    began: Instant,
    kills: usize,
}

impl Play<'_> {
    /// Starts servers until one brings everything to its end.
    fn run(&mut self, kill: &Kill, problems: &mut Vec<String>) -> io::Result<Server> {
        let mut instants = match kill {
            Kill::After(instants) => instants.clone(),
            Kill::Never | Kill::Point(..) => Vec::new(),
        };
        instants.reverse();
        loop {
            let fault = match kill {
                Kill::Point(point, pass) if self.kills == 0 => Some(format!("{point}:{pass}")),
                _ => None,
            };
            let mut server = Server::start(self.program, fault.as_deref())?;
            let instant = instants.pop();
            let deliberate = fault.is_some() || instant.is_some();
            let settled = under_threat(server.pid(), instant, || match server.api()? {
                Some(mut api) => self.act(&mut api),
                None => Ok(false),
            })?;
            if settled {
                return Ok(server);
            }
            // The connection broke: it died, or it is about to.
            let dead = wait_for_death(&mut server)?;
            if !deliberate || !dead {
                problems
                    .push("the server ended although nobody killed it; see server.log".to_owned());
                return Err(io::Error::other(problems.join("; ")));
            }
            self.kills += 1;
        }
    }

    /// Plays until everything is settled (true) or the server is lost (false).
    fn act(&mut self, api: &mut Api) -> io::Result<bool> {
        loop {
            if self.began.elapsed() > PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("not settled: {:?}", api.get("/status")),
                ));
            }
            let step = self.look(api).and_then(|()| self.plot.step(api));
            match step {
                Ok(true) => return Ok(true),
                Ok(false) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) if error.kind() == io::ErrorKind::Other => return Err(error),
                Err(_) => return Ok(false),
            }
        }
    }

    fn look(&mut self, api: &mut Api) -> io::Result<()> {
        let ledger = api.get("/ledger")?;
        if let Some(text) = ledger.get("checkpoint").and_then(serde_json::Value::as_str) {
            self.checkpoint = Some(text.to_owned());
        }
        Ok(())
    }

    fn inspect(&mut self, server: &mut Server, problems: &mut Vec<String>) -> io::Result<Ending> {
        let api = server.api()?;
        let mut api =
            api.ok_or_else(|| io::Error::other("the server died after everything was settled"))?;
        let ending = inspect::ending(&mut api, self.program, self.plot, problems)?;
        let stopped = server.stop()?;
        if !stopped.success() {
            problems.push(format!("the server did not stop in good order: {stopped}"));
        }
        inspect::leftovers(self.program, problems);
        inspect::stores(self.program, self.checkpoint.as_deref(), problems)?;
        Ok(ending)
    }
}

/// Does `work`; a thread kills the process group when `instant` has passed, unless it was done before.
fn under_threat(
    group: i32,
    instant: Option<Duration>,
    work: impl FnOnce() -> io::Result<bool>,
) -> io::Result<bool> {
    std::thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        if let Some(instant) = instant {
            scope.spawn(move || {
                if is_done.recv_timeout(instant) == Err(RecvTimeoutError::Timeout) {
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
            });
        }
        let outcome = work();
        drop(done);
        outcome
    })
}

/// Whether the server was killed; false when it ended otherwise or still runs.
fn wait_for_death(server: &mut Server) -> io::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.ended()?.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    server.was_killed()
}
