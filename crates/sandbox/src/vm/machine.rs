//! A running virtual machine as its client holds it: a byte stream, a console, and an end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::VmError;
use super::guest;
use super::keeper::{self, Word};
use crate::sys::{process, socket, spawn};
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of the console kept for explanations.
const CONSOLE: usize = 64 << 10;
/// Bytes of a line shown.
const LINE: usize = 200;
/// How long a keeper may take to say which program ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Lines of it shown in an error.
const TAIL: usize = 6;

/// What a keeper is asked for. Paths are the host's.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) qemu: PathBuf,
    pub(super) virtiofsd: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) memory_mib: u64,
    pub(super) cpus: u64,
    pub(super) kvm: bool,
    /// Whether anything is shared.
    pub(super) shares: bool,
    /// Whether it is shared by virtiofsd.
    pub(super) virtiofs: bool,
    pub(super) upper: Option<PathBuf>,
    pub(super) work: Option<PathBuf>,
    pub(super) inputs: Option<PathBuf>,
    pub(super) outputs: Option<PathBuf>,
    pub(super) program: Option<PathBuf>,
    pub(super) extra: Vec<PathBuf>,
    pub(super) lowers: Vec<PathBuf>,
}

impl Order {
    fn encode(&self) -> Vec<u8> {
        let raw = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let mut to = Writer::default();
        to.bytes(self.name.as_bytes());
        for path in [&self.qemu, &self.virtiofsd, &self.kernel] {
            to.bytes(&raw(path));
        }
        to.number(self.memory_mib).number(self.cpus);
        for flag in [self.kvm, self.shares, self.virtiofs] {
            to.byte(u8::from(flag));
        }
        for path in [
            &self.upper,
            &self.work,
            &self.inputs,
            &self.outputs,
            &self.program,
        ] {
            to.optional_bytes(path.as_deref().map(raw).as_deref());
        }
        for list in [&self.extra, &self.lowers] {
            to.number(list.len() as u64);
            for path in list {
                to.bytes(&raw(path));
            }
        }
        to.finish()
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        let paths = |from: &mut Reader<'_>| {
            (0..from.number()?)
                .map(|_| from.bytes().map(path))
                .collect::<Result<_, Malformed>>()
        };
        let mut from = Reader::new(message);
        Ok(Self {
            name: from.text()?,
            qemu: path(from.bytes()?),
            virtiofsd: path(from.bytes()?),
            kernel: path(from.bytes()?),
            memory_mib: from.number()?,
            cpus: from.number()?,
            kvm: from.byte()? == 1,
            shares: from.byte()? == 1,
            virtiofs: from.byte()? == 1,
            upper: from.optional_bytes()?.map(path),
            work: from.optional_bytes()?.map(path),
            inputs: from.optional_bytes()?.map(path),
            outputs: from.optional_bytes()?.map(path),
            program: from.optional_bytes()?.map(path),
            extra: paths(&mut from)?,
            lowers: paths(&mut from)?,
        })
    }
}

/// A machine whose programs run. Dropping it ends them all.
///
/// Made by a [`VmDriver`](super::VmDriver); used through [`Vm`](super::Vm).
#[derive(Debug)]
pub struct Machine {
    /// Closed to end the machine.
    keeper: Mutex<Option<OwnedFd>>,
    child: Mutex<Child>,
    /// To and from the guest's first process.
    pub(super) channel: UnixStream,
    console: Arc<Mutex<VecDeque<u8>>>,
    memory_mib: u64,
    /// Which program ended and how, once the keeper said so.
    ended: Mutex<Option<(String, String)>>,
}

/// Starts a keeper, and through it the machine.
pub(super) fn start(
    program: &Path,
    order: &Order,
    initramfs: &OwnedFd,
) -> Result<Machine, VmError> {
    let failed = |stage: &str| {
        let stage = stage.to_owned();
        move |source| VmError::Start { stage, source }
    };
    let (ours, theirs) = socket::pair().map_err(failed("make a socket"))?;
    let (channel, guest) = UnixStream::pair().map_err(failed("make a socket"))?;
    let (console, output) = io::pipe().map_err(failed("make a pipe"))?;
    let mut command = Command::new(program);
    command
        .arg(keeper::ARGUMENT)
        .arg(theirs.as_raw_fd().to_string())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    spawn::pass_descriptor(&mut command, theirs.as_fd());
    let child = command
        .arg0("nightcrew-vm")
        .spawn()
        .map_err(failed("run the program"))?;
    drop(theirs);
    let lines = Arc::new(Mutex::new(VecDeque::new()));
    listen(console, Arc::clone(&lines));
    let machine = Machine {
        keeper: Mutex::new(None),
        child: Mutex::new(child),
        channel,
        console: lines,
        memory_mib: order.memory_mib,
        ended: Mutex::new(None),
    };
    let message = order.encode();
    let fds = [guest.as_fd(), initramfs.as_fd(), output.as_fd()];
    let sent = socket::send(ours.as_fd(), &message, &fds);
    // Only the machine's programs hold these now: their end is the end of what is read.
    drop((guest, output));
    sent.map_err(failed("ask the keeper"))?;
    let word = receive(&ours);
    *machine
        .keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(ours);
    match word? {
        Said::Started => Ok(machine),
        Said::Ended(program, status) => Err(machine.explain(&program, &status)),
        Said::Nothing => Err(machine.explain("keeper", "without a word")),
    }
}

/// What a keeper said.
enum Said {
    Started,
    Ended(String, String),
    Nothing,
}

fn receive(keeper: &OwnedFd) -> Result<Said, VmError> {
    let mut buffer = [0; 4096];
    let received =
        socket::receive(keeper.as_fd(), &mut buffer).map_err(|source| VmError::Start {
            stage: "hear from the keeper".to_owned(),
            source,
        })?;
    let Some((length, _)) = received else {
        return Ok(Said::Nothing);
    };
    let mut from = Reader::new(&buffer[..length]);
    let nonsense = |_| VmError::Nonsense;
    match from.byte().map_err(nonsense)? {
        word if word == Word::Started as u8 => Ok(Said::Started),
        word if word == Word::Ended as u8 => Ok(Said::Ended(
            from.text().map_err(nonsense)?,
            from.text().map_err(nonsense)?,
        )),
        _ => Err(VmError::Start {
            stage: from.text().map_err(nonsense)?,
            source: io::Error::from_raw_os_error(from.number().map_err(nonsense)? as i32),
        }),
    }
}

/// Keeps the end of what is printed on the console.
fn listen(mut console: io::PipeReader, lines: Arc<Mutex<VecDeque<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = console.read(&mut buffer) {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(&buffer[..length]);
            let excess = lines.len().saturating_sub(CONSOLE);
            lines.drain(..excess);
        }
    });
}

impl Machine {
    /// What was printed on the console last, cleaned of control characters.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes: Vec<u8> = {
            let lines = self.console.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().copied().collect()
        };
        String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|letter| *letter == '\n' || !letter.is_control())
            .collect()
    }

    fn tail(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| line.get(..LINE).unwrap_or(line))
            .collect();
        if lines.is_empty() {
            return "nothing was printed on its console".to_owned();
        }
        // QEMU's own words, before it prints registers.
        if let Some(line) = lines
            .iter()
            .find(|line| line.contains("KVM internal error"))
        {
            return (*line).to_owned();
        }
        lines[lines.len().saturating_sub(TAIL)..].join(" | ")
    }

    /// Why the machine ended, in the most telling form there is.
    fn explain(&self, program: &str, status: &str) -> VmError {
        let console = self.console();
        let line = |mark: &str| {
            let found = console.lines().find(|line| line.contains(mark));
            found.map(|line| line.trim().to_owned())
        };
        let memory = [
            "Out of memory",
            "out of memory",
            "Initramfs unpacking failed",
            "System is deadlocked on memory",
        ];
        if let Some(message) = memory.iter().find_map(|mark| line(mark)) {
            return VmError::MemoryTooSmall {
                memory_mib: self.memory_mib,
                message,
            };
        }
        // Our own first process says why it ends, and then the kernel panics.
        if let Some(message) = line(guest::LAST_WORDS).or_else(|| line("Kernel panic")) {
            return VmError::Panic { message };
        }
        VmError::Ended {
            program: program.to_owned(),
            status: status.to_owned(),
            tail: self.tail(),
        }
    }

    /// The error of a machine whose channel closed.
    pub(super) fn closed(&self) -> VmError {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            // The keeper speaks as soon as it sees that a program ended.
            let said = keeper.as_ref().and_then(|keeper| {
                let [ready] = process::poll([keeper.as_fd()], Some(LAST_WORDS)).ok()?;
                ready.then(|| receive(keeper).ok()).flatten()
            });
            drop(keeper);
            *ended = match said {
                Some(Said::Ended(program, status)) => Some((program, status)),
                _ => Some(("the machine".to_owned(), "its channel closed".to_owned())),
            };
            self.end();
        }
        match &*ended {
            Some((program, status)) => self.explain(program, status),
            None => VmError::Nonsense,
        }
    }

    /// The error of a machine that does not answer; ends it.
    pub(super) fn silent(&self, what: &'static str, limit: Duration) -> VmError {
        self.end();
        VmError::Silent {
            what,
            limit,
            tail: self.tail(),
        }
    }

    /// Ends the machine. When this returns, no process of it is left.
    pub(super) fn end(&self) {
        drop(
            self.keeper
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.wait();
    }

    /// The process id of the keeper.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .id()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A file in memory for the archive that a kernel starts from.
pub(super) fn memory(content: &[u8]) -> Result<OwnedFd, VmError> {
    let file = crate::sys::file::memory_file(content).map_err(|source| VmError::Start {
        stage: "keep the initramfs in memory".to_owned(),
        source,
    })?;
    Ok(File::from(file).into())
}
