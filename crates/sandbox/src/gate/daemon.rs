//! The gate process: one thread reads events and answers what is quick, a few take the rest.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use super::beat::Beat;
use super::judge::{self, Answer};
use super::{Gate, keeper, process, register, teller};
use crate::sys::fanotify::{self, Batch, Event};
use crate::sys::{file, lease, other};

/// Threads for what takes time, and how many of them one environment may occupy where nobody else
/// wants one.
const WORKERS: usize = 4;
pub(super) const SHARE: usize = 2;

/// What the anchor hands to every gate.
pub(super) struct Inheritance<'a> {
    pub(super) group: &'a OwnedFd,
    /// Where environments are registered.
    pub(super) control: &'a OwnedFd,
    pub(super) beat: &'a Beat,
    /// Descriptors that are the anchor's.
    pub(super) own: &'a HashSet<RawFd>,
}

/// Serves; returns when no environment is left and none will come.
pub(super) fn run(inheritance: &Inheritance<'_>) -> io::Result<()> {
    other::raise_file_limit();
    // Before any thread: they inherit that the signals are blocked.
    let notices = lease::notices()?;
    let (bell, ring) = file::pipe()?;
    let (teller, to_tell) = teller::Teller::new();
    let gate = Arc::new(Gate {
        group: inheritance.group.try_clone()?,
        namespace: process::namespace(crate::sys::creds::process_id()).unwrap_or(0),
        sites: std::sync::RwLock::default(),
        environments: std::sync::Mutex::default(),
        rules: std::sync::Mutex::default(),
        roots: std::sync::Mutex::default(),
        divided: std::sync::Mutex::default(),
        held: std::sync::Mutex::default(),
        digests: super::digests::Digests::default(),
        later: super::queue::Queue::new(WORKERS, SHARE),
        bell: ring,
        telling: std::sync::atomic::AtomicBool::new(false),
        serial: AtomicU64::new(1),
        no_more: std::sync::atomic::AtomicBool::new(false),
        teller,
        beat: inheritance.beat.clone(),
    });
    let mut own = inheritance.own.clone();
    own.extend([
        gate.group.as_raw_fd(),
        gate.bell.as_raw_fd(),
        bell.as_raw_fd(),
        notices.as_raw_fd(),
    ]);
    inheritance.beat.adopt();
    take_up(&gate, &own);
    for _ in 0..WORKERS {
        start("nc-gate-slow", &gate, |gate| {
            loop {
                let (owner, event) = gate.later.take();
                let answer = judge::judge(gate, &event, true);
                finish(gate, event, answer, true);
                gate.later.done(owner);
            }
        })?;
    }
    start("nc-gate-read", &gate, read)?;
    start("nc-gate-tell", &gate, move |_| teller::serve(&to_tell))?;
    let control = inheritance.control.try_clone()?;
    start("nc-gate-new", &gate, move |gate| {
        register::serve(gate, &control);
    })?;
    keeper::run(&gate, &bell, &notices);
    Ok(())
}

/// Starts a thread without which the gate is none.
fn start(name: &str, gate: &Arc<Gate>, work: impl Fn(&Gate) + Send + 'static) -> io::Result<()> {
    let gate = Arc::clone(gate);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let work = std::panic::AssertUnwindSafe(|| work(&gate));
            if std::panic::catch_unwind(work).is_err() {
                // The anchor starts another gate, which takes up what this one left.
                crate::sys::process::exit_now(101);
            }
        })
        .map(drop)
}

fn read(gate: &Gate) {
    // It works for microseconds at a time, and on a busy machine an opener would wait for the turn of
    // this thread as well as for its own.
    other::put_first();
    let mut batch = Box::<Batch>::default();
    let mut events = Vec::new();
    loop {
        if let Err(error) = fanotify::read(gate.group.as_fd(), &mut batch, &mut events) {
            if error.kind() != io::ErrorKind::Interrupted {
                // No descriptor left for an event: the kernel refused it. Others come back.
                std::thread::yield_now();
            }
            continue;
        }
        for event in &events {
            gate.beat.read(event.file.as_raw_fd(), event);
        }
        for event in events.drain(..) {
            let answer = judge::judge(gate, &event, false);
            finish(gate, event, answer, false);
        }
    }
}

/// Answers an event, or leaves it for later.
fn finish(gate: &Gate, event: Event, answer: Answer, patient: bool) {
    let permit = match answer {
        Answer::Permit => true,
        Answer::Refuse => false,
        Answer::Later(owner) if !patient => {
            gate.later.push(owner, event);
            return;
        }
        Answer::Later(_) => false,
        Answer::PermitForGood => {
            for_good(gate, &event);
            true
        }
    };
    fanotify::answer(gate.group.as_fd(), &event.file, permit);
    // After the answer: one that was given twice is harmless, one that was not given is not.
    gate.beat.answered(event.file.as_raw_fd());
}

fn for_good(gate: &Gate, event: &Event) {
    let Some(site) = crate::sys::about::of(&event.file)
        .ok()
        .and_then(|about| gate.site(about.mount))
    else {
        return;
    };
    let divided = site.divided.read().unwrap_or_else(PoisonError::into_inner);
    if !*divided {
        // Not being able to is only slower.
        let _ = fanotify::ask_no_more(gate.group.as_fd(), &event.file);
    }
}

/// Takes up what an earlier gate left in the table of descriptors: environments, and openers that
/// still wait.
fn take_up(gate: &Gate, own: &HashSet<RawFd>) {
    let mut left: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| !own.contains(number))
        .collect();
    // The folder that was just read is closed again.
    left.retain(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    let taken = register::take_up(gate, &left);
    left.retain(|number| !taken.contains(number));
    for number in left {
        let known = gate.beat.left(number);
        let Ok(file) = file::adopt(number).map(File::from) else {
            continue;
        };
        let held = !lease::is_free(file.as_fd());
        // A lease is taken after the event was written down: this one was answered. Nothing else may
        // be closed without an answer: its number would be given to another event, and whoever waits
        // would get the other's answer.
        if known.is_none() && held {
            continue;
        }
        lease::give_up(file.as_fd());
        // What was not written down is judged as the strictest.
        let (thread, execute) = known.unwrap_or((0, true));
        let event = Event {
            file: Arc::new(file),
            thread,
            execute,
        };
        gate.beat.read(number, &event);
        let answer = judge::judge(gate, &event, true);
        finish(gate, event, answer, true);
    }
}
