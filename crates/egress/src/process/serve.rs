//! The broker's side: a process without privilege that serves what its parent hands it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::broker::batches::Batches;
use crate::broker::outside::Outside;
use crate::broker::{Attachment, Broker, Change, Clock, Sockets};
use crate::credential::{Bound, placeholder};
use crate::gateway::{Gateway, ModelPolicy};
use crate::policy::{Mirrors, NetworkPolicy};
use crate::process::budget::Remote;
use crate::process::message::{
    Attach, Attached, Done, Placeholder, Report, Request, Secret, Start, Wish,
};
use crate::process::{ProcessError, wire};

/// How often what happened is handed to the parent.
const BEAT: Duration = Duration::from_millis(200);
/// Reports that wait for the parent.
const MOST_REPORTS: usize = 1024;
/// Descriptors of the process: two for each connection, with room.
const MOST_OPEN: u64 = 65_536;

/// Serves until the parent is gone. To be called before any other thread exists.
///
/// # Errors
/// [`ProcessError`]: what has to be given up could not be, or the parent made no sense.
pub fn serve(parent: OwnedFd, clock: Clock) -> Result<(), ProcessError> {
    let parent = UnixStream::from(parent);
    let Some(request) = wire::read::<Request>(&parent).map_err(ProcessError::Talk)? else {
        return Ok(());
    };
    let Wish::Start(start) = request.wish else {
        let why = "the first message is not the start";
        return Err(ProcessError::SetUp(String::from(why)));
    };
    give_up(start.identity)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ProcessError::Start)?;
    let writing = parent.try_clone().map_err(ProcessError::Talk)?;
    let (reports, queue) = mpsc::channel(MOST_REPORTS);
    let served = Served::new(&start, reports, clock)?;
    std::thread::spawn(move || write_reports(&writing, queue));
    served.answer(request.number, Ok(Done::Done));
    let batches = Arc::clone(&served.batches);
    runtime.spawn(hand_out(batches, served.reports.clone()));
    while let Ok(Some(request)) = wire::read::<Request>(&parent) {
        let _entered = runtime.enter();
        served.carry_out(&parent, request)?;
    }
    runtime.shutdown_background();
    Ok(())
}

/// Gives up everything that serving does not need.
fn give_up(identity: Option<(u32, u32)>) -> Result<(), ProcessError> {
    let failed = |error: nix::Error| ProcessError::SetUp(error.to_string());
    let limit = |resource, most: u64| {
        let (_, hard) = getrlimit(resource).map_err(failed)?;
        let most = most.min(hard);
        setrlimit(resource, most, most).map_err(failed)
    };
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, MOST_OPEN)?;
    if let Some((user, group)) = identity {
        nix::unistd::setgroups(&[]).map_err(failed)?;
        nix::unistd::setgid(group.into()).map_err(failed)?;
        nix::unistd::setuid(user.into()).map_err(failed)?;
        // What was given up must not come back.
        if user != 0 && nix::unistd::setuid(0.into()).is_ok() {
            let why = "the privilege could be taken back";
            return Err(ProcessError::SetUp(String::from(why)));
        }
    }
    nix::sys::prctl::set_no_new_privs().map_err(failed)?;
    // Last, since becoming another user changes it.
    nix::sys::prctl::set_dumpable(false).map_err(failed)
}

fn write_reports(parent: &UnixStream, mut queue: mpsc::Receiver<Report>) {
    while let Some(report) = queue.blocking_recv() {
        if wire::write(parent, &report, &[]).is_err() {
            return;
        }
    }
}

async fn hand_out(batches: Arc<Batches>, reports: mpsc::Sender<Report>) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        beat.tick().await;
        for (environment, batch) in batches.take_all() {
            let report = Report::Events { environment, batch };
            if reports.send(report).await.is_err() {
                return;
            }
        }
    }
}

struct Served {
    broker: Broker,
    mirrors: Mirrors,
    batches: Arc<Batches>,
    budget: Arc<Remote>,
    reports: mpsc::Sender<Report>,
}

impl Served {
    fn new(
        start: &Start,
        reports: mpsc::Sender<Report>,
        clock: Clock,
    ) -> Result<Self, ProcessError> {
        let outside =
            Outside::new(&start.outside).map_err(|error| ProcessError::SetUp(error.to_string()))?;
        let batches = Arc::new(Batches::default());
        let recorder = Arc::clone(&batches);
        let milliseconds = Arc::clone(&clock);
        let now = move || {
            let since = i64::try_from(milliseconds()).unwrap_or(i64::MAX);
            jiff::Timestamp::from_millisecond(since).unwrap_or(jiff::Timestamp::MAX)
        };
        let gateway = Gateway::refusing(Arc::new(now))
            .map_err(|error| ProcessError::SetUp(error.to_string()))?;
        Ok(Self {
            mirrors: outside.mirrors().clone(),
            broker: Broker::new(outside, recorder, Arc::new(gateway), clock),
            batches,
            budget: Arc::new(Remote::new(reports.clone())),
            reports,
        })
    }

    fn answer(&self, number: u64, result: Result<Done, String>) {
        let report = Report::Answer { number, result };
        let _ = self.reports.blocking_send(report);
    }

    fn carry_out(&self, parent: &UnixStream, request: Request) -> Result<(), ProcessError> {
        let result = match request.wish {
            Wish::Start(_) => Err(String::from("it was started before")),
            Wish::Attach(attach) => {
                // They follow the message, whatever becomes of it.
                let descriptors =
                    wire::descriptors(parent, attach.descriptors()).map_err(ProcessError::Talk)?;
                self.attach(*attach, descriptors).map(Done::Attached)
            }
            Wish::Prepare(environment) => match self.broker.prepare(&environment) {
                Ok(handle) => Ok(Done::Prepared(handle.certificate)),
                Err(error) => Err(error.to_string()),
            },
            Wish::Detach(environment) => Ok(self.detach(environment)),
            Wish::Update {
                environment,
                network,
                secrets,
            } => self.update(&environment, network, secrets.as_deref()),
            Wish::Stop(scope) => {
                self.broker.stop(scope);
                Ok(Done::Done)
            }
            Wish::Release(scope) => {
                self.broker.release(&scope);
                Ok(Done::Done)
            }
            Wish::Used(environment) => Ok(Done::Used(self.broker.used(&environment))),
            Wish::Budget(number, decided) => {
                self.budget.decided(number, decided);
                return Ok(());
            }
        };
        self.answer(request.number, result);
        Ok(())
    }

    fn attach(&self, attach: Attach, descriptors: Vec<OwnedFd>) -> Result<Attached, String> {
        let policy = NetworkPolicy::compile_with(&attach.network, &self.mirrors)
            .map_err(|error| error.to_string())?;
        let mut descriptors = descriptors.into_iter();
        let ports = attach.tcp.iter().copied();
        let tcp = ports.zip(descriptors.by_ref()).collect();
        let dns = descriptors.by_ref().take(attach.dns).collect();
        let credentials = bound(&attach.secrets)?;
        let placeholders = shown(&credentials);
        let attachment = Attachment {
            environment: attach.environment,
            sockets: Sockets {
                tcp,
                dns,
                packets: descriptors.next(),
            },
            policy,
            credentials,
            model: attach.models.map(|models| {
                let policy = ModelPolicy {
                    models: models.models,
                };
                (policy, models.account)
            }),
            limits: attach.limits,
            used: attach.used,
        };
        let handle = self.broker.attach(attachment);
        Ok(Attached {
            certificate: handle.map_err(|error| error.to_string())?.certificate,
            placeholders,
        })
    }

    fn detach(&self, environment: String) -> Done {
        let used = self.broker.detach(&environment);
        // The last of what happened is not left behind.
        let batch = self.batches.take(&environment);
        if !batch.is_empty() {
            let report = Report::Events { environment, batch };
            let _ = self.reports.blocking_send(report);
        }
        Done::Used(used)
    }

    fn update(
        &self,
        environment: &str,
        network: Option<model::network::NetworkDefinition>,
        secrets: Option<&[Secret]>,
    ) -> Result<Done, String> {
        let policy = network
            .map(|network| NetworkPolicy::compile_with(&network, &self.mirrors))
            .transpose()
            .map_err(|error| error.to_string())?;
        let credentials = secrets.map(bound).transpose()?;
        let placeholders = credentials.as_deref().map(shown).unwrap_or_default();
        let change = Change {
            policy,
            credentials,
        };
        self.broker
            .update(environment, change)
            .map_err(|error| error.to_string())?;
        Ok(Done::Updated(placeholders))
    }
}

/// Gives every secret a placeholder that nobody can guess.
fn bound(secrets: &[Secret]) -> Result<Vec<Bound>, String> {
    let bind = |secret: &Secret| {
        Ok(Bound {
            placeholder: placeholder().map_err(|error| error.to_string())?,
            used: secret.used.clone(),
            value: Zeroizing::new(secret.value.clone()),
        })
    };
    secrets.iter().map(bind).collect()
}

fn shown(credentials: &[Bound]) -> Vec<Placeholder> {
    let show = |bound: &Bound| Placeholder {
        secret: bound.used.secret.clone(),
        variable: bound.used.variable.clone(),
        placeholder: bound.placeholder.clone(),
    };
    credentials.iter().map(show).collect()
}
