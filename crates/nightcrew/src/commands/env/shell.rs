//! `nightcrew env shell`: a terminal in an environment.
//!
//! The terminal is the environment's own; this command holds its steering end and copies bytes
//! between it and the person's terminal, which is never handed over.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use super::exec::ended;
use crate::cli::env::ShellArguments;
use crate::failure::{Doing, Failure};
use crate::keeper::home::Homes;
use crate::keeper::message::{Answer, Request};
use crate::print;

/// What ends the input of a terminal (`VEOF` of a fresh one).
const END_OF_INPUT: u8 = 4;
/// Lines and columns where nobody says how large a terminal is.
const SIZE: (u16, u16) = (24, 80);

pub(super) async fn execute(homes: &Homes, arguments: ShellArguments) -> Result<u8, Failure> {
    let home = homes.get(&arguments.name)?;
    let channel = home.reach()?;
    let (rows, columns) = size().unwrap_or(SIZE);
    let mut env = arguments.env;
    if let Ok(kind) = std::env::var("TERM") {
        env.insert(0, ("TERM".to_owned(), kind));
    }
    let argv = match arguments.command {
        command if command.is_empty() => vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            "exec \"$(command -v bash || command -v sh)\" -i".to_owned(),
        ],
        command => command,
    };
    let request = Request::Shell {
        argv,
        env,
        cwd: arguments.cwd,
        rows,
        columns,
    };
    channel
        .send(&request, &[])
        .doing("ask the environment's keeper")?;
    let terminal = match channel.receive().doing("hear the environment's keeper")? {
        Some((Answer::Terminal, fds)) => fds.into_iter().next(),
        Some((answer, _)) => return ended(&home, Some(answer)),
        None => return ended(&home, None),
    };
    let terminal =
        terminal.ok_or_else(|| Failure::new("the environment's keeper sent no terminal"))?;
    if io::stdin().is_terminal() {
        let network = match home.spec() {
            Ok(spec) if spec.network.is_default() => "nothing here has a network; ",
            _ => "",
        };
        print::note(format!("in {}; {network}`exit` leaves", home.name()));
    }
    let raw = Raw::enter().doing("steer this terminal")?;
    let copying = copy(&terminal).doing("connect the terminal")?;
    let resized = follow_size(terminal.try_clone().doing("connect the terminal")?);
    let answered = tokio::task::spawn_blocking(move || channel.receive::<Answer>());
    let answered = answered.await.doing("wait for the environment's keeper")?;
    // What was printed last arrives before the prompt of the shell outside.
    let _ = copying.join();
    resized.abort();
    drop(raw);
    let answer = answered.doing("hear the environment's keeper")?;
    ended(&home, answer.map(|(answer, _)| answer))
}

/// Copies what is typed, and what is printed; ends when nothing is printed any more.
fn copy(terminal: &OwnedFd) -> io::Result<std::thread::JoinHandle<()>> {
    let mut typed = File::from(terminal.try_clone()?);
    let mut printed = File::from(terminal.try_clone()?);
    let typing = io::stdin().is_terminal();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = io::stdin().lock().read(&mut buffer) {
            if typed.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        if !typing {
            let _ = typed.write_all(&[END_OF_INPUT]);
        }
    });
    Ok(std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut out = io::stdout();
        // A terminal whose other end is gone fails with EIO.
        while let Ok(length @ 1..) = printed.read(&mut buffer) {
            if out.write_all(&buffer[..length]).is_err() || out.flush().is_err() {
                return;
            }
        }
    }))
}

/// Passes on changes of this terminal's size.
fn follow_size(terminal: OwnedFd) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(mut changes) = signal(SignalKind::window_change()) else {
            return;
        };
        while changes.recv().await.is_some() {
            if let Some((rows, columns)) = size() {
                let size = Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                let _ = rustix::termios::tcsetwinsize(&terminal, size);
            }
        }
    })
}

/// Lines and columns of this terminal.
fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// This terminal passes every key on, until it is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, before);
        }
    }
}
