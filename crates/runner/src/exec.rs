//! Runs one program in an environment: its output taken in as it comes, its end awaited, killed
//! when the task must stop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::protocol::LogStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use sandbox::{Environment, ExecSpec, Exit, ExitStatus, Running, SandboxError};

use crate::halt::Halt;
use crate::held::StopWatch;

/// What to run.
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Its variables.
    pub(crate) env: Vec<(String, String)>,
    /// Where it starts; the workspace when absent.
    pub(crate) cwd: Option<String>,
    /// What it reads.
    pub(crate) stdin: Option<OwnedFd>,
    /// When it is killed.
    pub(crate) timeout: Duration,
}

/// Takes in what a program prints, on a thread that may block.
pub(crate) trait Sink: Send + 'static {
    /// Some bytes of a stream.
    fn write(&mut self, stream: LogStream, bytes: &[u8]);
    /// Called every now and then: pass on what there is.
    fn beat(&mut self) {}
    /// The program runs in this environment. True when the sink wants beats though nothing is
    /// printed.
    fn attach(&mut self, _: &Arc<Environment>) -> bool {
        false
    }
}

/// What a program printed, each stream up to a bound.
pub(crate) struct Captured {
    /// How it ended.
    pub(crate) exit: Exit,
    /// Standard output.
    pub(crate) out: Vec<u8>,
    /// Whether there was more of it.
    pub(crate) cut: bool,
    /// The beginning of standard error.
    pub(crate) err: Vec<u8>,
}

impl Captured {
    /// Whether it ended with 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.exit.status == ExitStatus::Code(0)
    }
}

/// How often a sink is given the chance to pass on what it has.
const BEAT: Duration = Duration::from_millis(50);
/// How often a sink that watches more than output is given it when nothing is printed.
const SLOW_BEAT: Duration = Duration::from_millis(250);
/// Bytes of standard error that a capture keeps.
const ERR_BYTES: usize = 8 * 1024;

/// Runs a program to its end; gives the sink back.
///
/// A stop kills the program and gives [`Halt`]; so does the loss of the environment.
pub(crate) async fn run<S: Sink>(
    environment: &Arc<Environment>,
    program: Program,
    stop: &mut StopWatch,
    mut sink: S,
) -> Result<(Exit, S), Halt> {
    if let Some(halt) = stop.now() {
        return Err(halt);
    }
    let broken = |error: rustix::io::Errno| Halt::broken("cannot make a pipe", &error);
    let (out, out_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(broken)?;
    let (err, err_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(broken)?;
    let watches = sink.attach(environment);
    let running = Arc::new(environment.exec(ExecSpec {
        argv: program.argv,
        env: program.env,
        cwd: program.cwd,
        stdin: program.stdin,
        stdout: out_writer,
        stderr: err_writer,
        terminal: None,
        timeout: Some(program.timeout),
    })?);
    let watched = Arc::clone(&running);
    let mut attending =
        tokio::task::spawn_blocking(move || attend(&watched, out, err, sink, watches));
    let ended = tokio::select! {
        ended = &mut attending => ended,
        () = stop.stopped() => {
            if let Err(error) = running.kill() {
                tracing::warn!(%error, "a step could not be killed; its environment will be");
            }
            attending.await
        }
    };
    if let Some(halt) = stop.now() {
        return Err(halt);
    }
    let (exit, sink) =
        ended.map_err(|error| Halt::broken("the thread of a step is lost", &error))??;
    if exit.status == ExitStatus::EnvironmentGone {
        return Err(Halt::Interrupted(
            "the environment was lost while a step ran".to_owned(),
        ));
    }
    Ok((exit, sink))
}

/// Runs a program and keeps what it prints, standard output up to `limit` bytes.
pub(crate) async fn capture(
    environment: &Arc<Environment>,
    program: Program,
    stop: &mut StopWatch,
    limit: usize,
) -> Result<Captured, Halt> {
    let sink = Capture {
        limit,
        out: Vec::new(),
        cut: false,
        err: Vec::new(),
    };
    let (exit, kept) = run(environment, program, stop, sink).await?;
    Ok(Captured {
        exit,
        out: kept.out,
        cut: kept.cut,
        err: kept.err,
    })
}

struct Capture {
    limit: usize,
    out: Vec<u8>,
    cut: bool,
    err: Vec<u8>,
}

impl Sink for Capture {
    fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        let (kept, limit) = match stream {
            LogStream::Err => (&mut self.err, ERR_BYTES),
            LogStream::Out | LogStream::Note => (&mut self.out, self.limit),
        };
        let room = limit.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        self.cut |= stream != LogStream::Err && room < bytes.len();
    }
}

/// Reads both pipes until nobody can write to them any more, then waits for the end.
fn attend<S: Sink>(
    running: &Running,
    out: OwnedFd,
    err: OwnedFd,
    mut sink: S,
    watches: bool,
) -> Result<(Exit, S), SandboxError> {
    let mut pipes = [(LogStream::Out, Some(out)), (LogStream::Err, Some(err))];
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = Instant::now();
    let mut fresh = false;
    while pipes.iter().any(|(_, pipe)| pipe.is_some()) {
        // Nothing to pass on: no reason to wake up.
        let pause = if fresh { BEAT } else { SLOW_BEAT };
        let patience = (fresh || watches).then(|| pause.saturating_sub(passed.elapsed()));
        for place in ready(&pipes, patience) {
            let (stream, pipe) = &mut pipes[place];
            match pipe
                .as_ref()
                .map(|pipe| rustix::io::read(pipe, &mut buffer[..]))
            {
                Some(Ok(0)) | Some(Err(_)) | None => *pipe = None,
                Some(Ok(length)) => {
                    sink.write(*stream, &buffer[..length]);
                    fresh = true;
                }
            }
        }
        if (fresh || watches) && passed.elapsed() >= pause {
            sink.beat();
            passed = Instant::now();
            fresh = false;
        }
    }
    sink.beat();
    Ok((running.wait()?, sink))
}

/// Which of the open pipes have something to read or have ended.
fn ready(pipes: &[(LogStream, Option<OwnedFd>); 2], patience: Option<Duration>) -> Vec<usize> {
    let open: Vec<usize> = (0..2).filter(|place| pipes[*place].1.is_some()).collect();
    let mut polled: Vec<PollFd<'_>> = pipes
        .iter()
        .filter_map(|(_, pipe)| pipe.as_ref())
        .map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
        .collect();
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Vec::new(),
        // Reading will say what is wrong.
        Err(_) => return open,
    }
    open.into_iter()
        .zip(&polled)
        .filter(|(_, fd)| !fd.revents().is_empty())
        .map(|(place, _)| place)
        .collect()
}

/// Bytes as something that a program can read from the beginning.
pub(crate) fn as_stdin(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let fd = rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
