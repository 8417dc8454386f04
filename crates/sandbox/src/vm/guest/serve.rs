//! The guest's loop: takes orders from the port, one after the other; steps run beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::step::{self, Steps};
use crate::client::{Environment, Supervisor, SupervisorOptions};
use crate::error::SandboxError;
use crate::exec_policy::ExecPolicy;
use crate::message::{Failure, Order, Reply, Stage};
use crate::vm::frame::{self, Frame, Kind, Setup, Wanted};
use crate::vm::initramfs::INIT;
use crate::wire::Reader;

/// The port's sending side; frames of several threads do not mix.
#[derive(Clone)]
pub(super) struct Port(Arc<Mutex<File>>);

impl Port {
    /// Sends a frame. A host that is gone needs none: it has ended the machine.
    pub(super) fn send(&self, kind: Kind, stream: u64, body: &[u8]) {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = frame::write(&mut *port, kind, stream, body);
    }

    fn refuse(&self, stream: u64, failure: &Failure) {
        let body = frame::refusal(&failure.stage, failure.errno);
        self.send(Kind::Refused, stream, &body);
    }
}

/// What the guest holds.
struct Guest {
    port: Port,
    supervisor: Supervisor,
    environments: HashMap<u64, Arc<Environment>>,
    steps: Steps,
    exec: super::super::control::Control,
}

/// Serves until the host hangs up.
pub(super) fn run(port: OwnedFd, setup: Setup) -> Result<(), Failure> {
    let reader = File::from(port.try_clone().stage("share the port")?);
    let port = Port(Arc::new(Mutex::new(File::from(port))));
    let denials = port.clone();
    let begin = || -> Result<Guest, Failure> {
        let exec = super::super::control::Control::start(setup.exec_control, move |denial| {
            denials.send(Kind::Denial, 0, denial);
        })?;
        let mut options = SupervisorOptions::new(INIT);
        // What is shared as a workspace is the host's overlay already.
        options.copy_workspaces = true;
        let supervisor = Supervisor::start(options).map_err(|error| failure(&error))?;
        Ok(Guest {
            port: port.clone(),
            supervisor,
            environments: HashMap::new(),
            steps: Steps::default(),
            exec,
        })
    };
    let mut guest = match begin() {
        Ok(guest) => guest,
        Err(failure) => {
            port.refuse(0, &failure);
            return Err(failure);
        }
    };
    port.send(Kind::Serving, 0, &[]);
    let mut reader = &reader;
    while let Some(frame) = frame::read(&mut reader).stage("hear from the host")? {
        let stream = frame.stream;
        if let Err(failure) = guest.take(frame) {
            port.refuse(stream, &failure);
        }
    }
    Ok(())
}

/// An error as it travels: its text with its causes, and the errno at the bottom.
fn failure(error: &SandboxError) -> Failure {
    use std::error::Error;
    let mut stage = error.to_string();
    let mut errno = libc::EIO;
    let mut source = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<io::Error>() {
            Some(io) => errno = io.raw_os_error().unwrap_or(libc::EIO),
            None => stage = format!("{stage}: {cause}"),
        }
        source = cause.source();
    }
    Failure { stage, errno }
}

fn malformed<E>(_: E) -> Failure {
    Failure {
        stage: "understand the host".to_owned(),
        errno: libc::EBADMSG,
    }
}

impl Guest {
    fn take(&mut self, frame: Frame) -> Result<(), Failure> {
        let Frame { kind, stream, body } = frame;
        match kind {
            Kind::Create => self.create(stream, &body),
            Kind::Destroy => {
                // What still runs in it is killed, and with the last holder it is gone.
                self.steps.kill_all(stream);
                self.environments.remove(&stream);
                self.exec.dismiss(stream);
                self.port.send(Kind::Destroyed, stream, &[]);
                Ok(())
            }
            Kind::Exec => {
                let mut from = Reader::new(&body);
                let number = from.number().map_err(malformed)?;
                let order = Order::decode(from.bytes().map_err(malformed)?).map_err(malformed)?;
                let (Some(environment), Order::Exec(exec)) =
                    (self.environments.get(&number), order)
                else {
                    return Err(malformed(()));
                };
                let started = step::start(
                    &self.steps,
                    self.port.clone(),
                    environment,
                    number,
                    stream,
                    exec,
                );
                started.map_err(|error| failure(&error))
            }
            Kind::Input => {
                self.steps.feed(stream, body);
                Ok(())
            }
            Kind::Kill => {
                self.steps.kill(stream);
                Ok(())
            }
            Kind::Taken => {
                let mut from = Reader::new(&body);
                let which = from.byte().map_err(malformed)?;
                self.steps
                    .taken(stream, which, from.number().map_err(malformed)?);
                Ok(())
            }
            Kind::Verdict => {
                let mut from = Reader::new(&body);
                let environment = from.number().map_err(malformed)?;
                let verdicts = from.bytes().map_err(malformed)?;
                self.exec.rule(environment, verdicts)?;
                self.port.send(Kind::Ruled, stream, &[]);
                Ok(())
            }
            Kind::Attack => {
                let probes = self.exec.attack()?;
                self.port
                    .send(Kind::Attacked, stream, &frame::probes(&probes));
                Ok(())
            }
            // Meant for the host, or too late.
            _ => Err(malformed(())),
        }
    }

    fn create(&mut self, number: u64, body: &[u8]) -> Result<(), Failure> {
        let wanted = Wanted::decode(body).map_err(malformed)?;
        if !wanted.shared {
            std::fs::create_dir_all(&wanted.spec.workspace.layer)
                .stage("make a scratch workspace")?;
        }
        // Exec control in a guest is its kernel's. The supervisor's own would lay overlays over shared
        // folders, which open files in a way that only their owner may (O_NOATIME).
        let mut spec = wanted.spec.clone();
        spec.exec = ExecPolicy::default();
        let environment = self
            .supervisor
            .create(&spec)
            .map_err(|error| failure(&error))?;
        let mut report = environment.report().clone();
        let judged = self.exec.enroll(number, &wanted.spec.exec, &environment)?;
        report.layers.extend(judged);
        let reply = Reply::Ready {
            layers: report.layers,
            self_test: report.self_test,
            weaker: report.weaker,
            cgroups: Vec::new(),
            network: Vec::new(),
        };
        self.environments.insert(number, Arc::new(environment));
        self.port.send(Kind::Ready, number, &reply.encode());
        Ok(())
    }
}
