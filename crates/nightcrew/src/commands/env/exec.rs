//! `nightcrew env exec`: a program's streams are wired to this command's.
//!
//! Pipes are handed over as they are. Everything else (terminals, files, sockets) is connected by
//! pipes of our own, so that nothing inside ever holds a descriptor by which it could steer a
//! terminal or open a file of the host again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use crate::cli::env::ExecArguments;
use crate::failure::{Doing, Failure};
use crate::keeper::home::{Home, Homes};
use crate::keeper::message::{Answer, Request};
use crate::print;
use crate::table::clean;

pub(super) fn execute(homes: &Homes, arguments: ExecArguments) -> Result<u8, Failure> {
    let home = homes.get(&arguments.name)?;
    let channel = home.reach()?;
    let stdin = input().doing("connect standard input")?;
    let (stdout, out) =
        output(io::stdout().as_fd(), || Box::new(io::stdout())).doing("connect standard output")?;
    let (stderr, err) =
        output(io::stderr().as_fd(), || Box::new(io::stderr())).doing("connect standard error")?;
    let request = Request::Exec {
        argv: arguments.command,
        env: arguments.env,
        cwd: arguments.cwd,
        stdin: true,
        timeout_ms: arguments
            .timeout
            .map(|length| u64::try_from(length.0.as_millis()).unwrap_or(u64::MAX)),
    };
    channel
        .send(&request, &[stdout.as_fd(), stderr.as_fd(), stdin.as_fd()])
        .doing("ask the environment's keeper")?;
    // Our copies, lest the readers below never see an end.
    drop((stdin, stdout, stderr));
    let answer = channel
        .receive()
        .doing("hear the environment's keeper")?
        .map(|(answer, _)| answer);
    for copying in [out, err].into_iter().flatten() {
        let _ = copying.join();
    }
    ended(&home, answer)
}

/// How a program ended, as this command's exit code.
pub(super) fn ended(home: &Home, answer: Option<Answer>) -> Result<u8, Failure> {
    match answer {
        Some(Answer::Exited {
            code,
            note,
            refused,
        }) => {
            for line in refused {
                print::note(clean(&line, 2000));
            }
            if let Some(note) = note {
                print::warning(&note);
            }
            Ok(code)
        }
        Some(Answer::Failed { message, hint }) => {
            let failure = Failure::new(message);
            Err(match hint {
                Some(hint) => failure.hint(hint.replace("NAME", home.name())),
                None => failure,
            })
        }
        Some(other) => Err(Failure::new(format!(
            "the environment's keeper answered something else: {other:?}"
        ))),
        None => Err(Failure::new(format!(
            "the environment `{}` ended under the program",
            home.name()
        ))
        .hint(format!(
            "make it again from its layer: nightcrew env resume {}",
            home.name()
        ))),
    }
}

/// Whether a descriptor can be handed over as it is.
fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}

/// What the program reads.
fn input() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if is_pipe(stdin.as_fd()) {
        return stdin.as_fd().try_clone_to_owned();
    }
    let (read, mut write) = io::pipe()?;
    // Ends with this process: nobody waits for a person who does not type.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut write);
    });
    Ok(read.into())
}

/// Where the program writes, and who copies it to where this command writes.
fn output(
    own: BorrowedFd<'_>,
    open: impl FnOnce() -> Box<dyn Write + Send>,
) -> io::Result<(OwnedFd, Option<JoinHandle<()>>)> {
    if is_pipe(own) {
        return Ok((own.try_clone_to_owned()?, None));
    }
    let (read, write) = io::pipe()?;
    let mut to = open();
    let copying = std::thread::spawn(move || {
        let mut from = File::from(OwnedFd::from(read));
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // Whoever does not read any more is left alone; the program is not.
            if to.write_all(&buffer[..length]).is_err() || to.flush().is_err() {
                return;
            }
        }
    });
    Ok((write.into(), Some(copying)))
}
