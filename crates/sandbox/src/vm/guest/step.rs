//! Steps in the guest: their input and output between pipes and the port.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::serve::Port;
use crate::client::{Environment, Running};
use crate::error::SandboxError;
use crate::message::{Exec, Exited, Reply};
use crate::spec::{ExecSpec, Exit, ExitStatus};
use crate::vm::frame::{CHUNK, Kind, WINDOW};
use crate::wire::Writer;

/// Every step under way, by number.
#[derive(Clone, Default)]
pub(super) struct Steps(Arc<Mutex<HashMap<u64, Step>>>);

struct Step {
    environment: u64,
    running: Arc<Running>,
    /// Absent when the step has no input, or its end was seen.
    input: Option<Sender<Vec<u8>>>,
    credit: [Arc<Credit>; 2],
}

/// Bytes that may still be sent.
struct Credit {
    room: Mutex<usize>,
    more: Condvar,
}

impl Credit {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            room: Mutex::new(WINDOW),
            more: Condvar::new(),
        })
    }

    /// Waits for room and takes at most `wanted` of it.
    fn take(&self, wanted: usize) -> usize {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = self
            .more
            .wait_while(room, |room| *room == 0)
            .unwrap_or_else(PoisonError::into_inner);
        let taken = wanted.min(*room);
        *room -= taken;
        taken
    }

    fn give(&self, bytes: usize) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        *room = room.saturating_add(bytes).min(WINDOW);
        self.more.notify_all();
    }
}

impl Steps {
    fn with<T>(&self, number: u64, act: impl FnOnce(&mut Step) -> T) -> Option<T> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.get_mut(&number).map(act)
    }

    /// Passes on input; nothing is its end.
    pub(super) fn feed(&self, number: u64, bytes: Vec<u8>) {
        self.with(number, |step| {
            if bytes.is_empty() {
                step.input = None;
            } else if let Some(input) = &step.input {
                // A step that no longer reads loses its input, as with any pipe.
                let _ = input.send(bytes);
            }
        });
    }

    pub(super) fn kill(&self, number: u64) {
        if let Some(running) = self.with(number, |step| Arc::clone(&step.running)) {
            let _ = running.kill();
        }
    }

    /// Kills whatever runs in an environment.
    pub(super) fn kill_all(&self, environment: u64) {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for step in steps.values() {
            if step.environment == environment {
                let _ = step.running.kill();
            }
        }
    }

    pub(super) fn taken(&self, number: u64, which: u8, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.with(number, |step| {
            if let Some(credit) = step.credit.get(usize::from(which)) {
                credit.give(bytes);
            }
        });
    }
}

/// Starts a step; its output, its end and what it reads go over the port from then on.
pub(super) fn start(
    steps: &Steps,
    port: Port,
    environment: &Arc<Environment>,
    environment_number: u64,
    number: u64,
    exec: Exec,
) -> Result<(), SandboxError> {
    let talk = |source| SandboxError::Talk {
        id: environment.id().to_owned(),
        source,
    };
    let (out, stdout) = io::pipe().map_err(talk)?;
    let (err, stderr) = io::pipe().map_err(talk)?;
    let (stdin, input) = if exec.stdin {
        let (read, write) = io::pipe().map_err(talk)?;
        (Some(read.into()), Some(write))
    } else {
        (None, None)
    };
    let text = |word: std::ffi::CString| word.to_string_lossy().into_owned();
    let spec = ExecSpec {
        argv: exec.argv.into_iter().map(text).collect(),
        env: exec
            .env
            .into_iter()
            .map(text)
            .filter_map(|variable| {
                let (name, value) = variable.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect(),
        cwd: exec.cwd.map(text),
        stdin,
        stdout: stdout.into(),
        stderr: stderr.into(),
        terminal: None,
        timeout: exec.timeout,
    };
    let running = Arc::new(environment.exec(spec)?);
    let credit = [Credit::new(), Credit::new()];
    let (sender, receiver) = channel();
    steps
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(
            number,
            Step {
                environment: environment_number,
                running: Arc::clone(&running),
                input: input.is_some().then_some(sender),
                credit: credit.clone(),
            },
        );
    if let Some(input) = input {
        let port = port.clone();
        thread::spawn(move || feed(&port, number, input, &receiver));
    }
    let [out_credit, err_credit] = credit;
    let pumps = [(0, out, out_credit), (1, err, err_credit)].map(|(which, pipe, credit)| {
        let port = port.clone();
        thread::spawn(move || pump(&port, number, which, pipe, &credit))
    });
    let steps = steps.clone();
    thread::spawn(move || {
        let exit = running.wait().unwrap_or(Exit {
            status: ExitStatus::EnvironmentGone,
            wall: std::time::Duration::ZERO,
            user: std::time::Duration::ZERO,
            system: std::time::Duration::ZERO,
            max_rss_kib: 0,
            out_of_memory: false,
            reason: None,
        });
        // Every process of the step is dead, so its pipes end; what was in them comes first.
        for pump in pumps {
            let _ = pump.join();
        }
        steps
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        let mut body = vec![u8::from(exit.out_of_memory)];
        body.extend(Reply::Exited(exited(number, &exit)).encode());
        port.send(Kind::Ended, number, &body);
    });
    Ok(())
}

/// Kind of an end that a step of an environment cannot have: the environment is gone.
pub(in crate::vm) const GONE: u8 = 3;

fn exited(step: u64, exit: &Exit) -> Exited {
    let (kind, value) = match exit.status {
        ExitStatus::Code(code) => (0, code),
        ExitStatus::Signal(signal) => (1, signal),
        ExitStatus::TimedOut => (2, 0),
        ExitStatus::EnvironmentGone => (GONE, 0),
    };
    Exited {
        step,
        kind,
        value,
        wall: exit.wall,
        user: exit.user,
        system: exit.system,
        max_rss_kib: exit.max_rss_kib,
    }
}

fn pump(port: &Port, number: u64, which: u8, mut pipe: PipeReader, credit: &Credit) {
    let mut buffer = vec![0; CHUNK + 1];
    buffer[0] = which;
    while let Ok(length @ 1..) = pipe.read(&mut buffer[1..]) {
        let mut rest = 1..=length;
        while !rest.is_empty() {
            let (start, end) = (*rest.start(), *rest.end());
            let taken = credit.take(end - start + 1);
            let mut body = Vec::with_capacity(taken + 1);
            body.push(which);
            body.extend_from_slice(&buffer[start..start + taken]);
            port.send(Kind::Output, number, &body);
            rest = start + taken..=end;
        }
    }
}

fn feed(port: &Port, number: u64, mut input: PipeWriter, from: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = from.recv() {
        // After an error the rest is still taken, so that the host does not wait.
        let _ = input.write_all(&bytes);
        let mut fed = Writer::default();
        fed.number(bytes.len() as u64);
        port.send(Kind::Fed, number, &fed.finish());
    }
}
