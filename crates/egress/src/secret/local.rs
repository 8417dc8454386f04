//! Values that this host has: variables, files, and what commands print.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::FetchError;
use super::files;

/// Most bytes of a value.
pub(super) const LONGEST_VALUE: usize = 64 * 1024;
/// Time a command has.
const PATIENCE: Duration = Duration::from_secs(20);

/// The value of a variable.
pub(super) fn variable(name: &str) -> Result<Zeroizing<String>, FetchError> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Zeroizing::new(value)),
        Ok(_) => Err(FetchError::Missing(format!("the variable {name} is empty"))),
        Err(std::env::VarError::NotPresent) => Err(FetchError::Missing(format!(
            "the variable {name} is not set"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => Err(FetchError::Malformed(format!(
            "the variable {name} is no text"
        ))),
    }
}

/// The content of a file, without the end of its last line. Links are followed: that is how
/// orchestrators change such files.
pub(super) fn file(path: &Path) -> Result<Zeroizing<String>, FetchError> {
    let shown = path.display();
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(FetchError::Missing(format!("there is no {shown}")));
        }
        Err(error) => return Err(FetchError::Denied(format!("{shown}: {error}"))),
    };
    match files::read(&real, LONGEST_VALUE as u64) {
        Ok(Some(bytes)) => text(&Zeroizing::new(bytes)),
        Ok(None) => Err(FetchError::Missing(format!("there is no {shown}"))),
        Err(error) => Err(FetchError::Denied(format!("{shown}: {error}"))),
    }
}

/// What a command prints, without the end of the last line. What it says on standard error is not
/// kept: it could be the value.
pub(super) fn command(argv: &[String]) -> Result<Zeroizing<String>, FetchError> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| FetchError::NotConfigured("the command is empty".to_owned()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that whatever it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| FetchError::Missing(format!("`{program}` cannot be started: {error}")))?;
    let (send, receive) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Zeroizing::new(Vec::new());
            let read = out.take(LONGEST_VALUE as u64 + 1).read_to_end(&mut bytes);
            let _ = send.send(read.map(|_| bytes));
        });
    }
    let printed = receive.recv_timeout(PATIENCE);
    let group = rustix::process::Pid::from_child(&child);
    if !matches!(&printed, Ok(Ok(bytes)) if bytes.len() <= LONGEST_VALUE) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let ended = end(&mut child, group);
    let bytes = match printed {
        Ok(Ok(bytes)) if bytes.len() <= LONGEST_VALUE => bytes,
        Ok(Ok(_)) => {
            return Err(FetchError::Malformed(format!(
                "`{program}` printed more than {LONGEST_VALUE} bytes"
            )));
        }
        Ok(Err(error)) => return Err(FetchError::Malformed(format!("`{program}`: {error}"))),
        Err(_) => {
            return Err(FetchError::Unreachable(format!(
                "`{program}` did not end within {} s and was killed",
                PATIENCE.as_secs()
            )));
        }
    };
    match ended {
        Some(status) if status.success() => text(&bytes),
        Some(status) => Err(FetchError::Denied(format!(
            "`{program}` ended with {status}"
        ))),
        None => Err(FetchError::Unreachable(format!(
            "`{program}` did not end and was killed"
        ))),
    }
}

/// Waits for the end of a command that closed its output; kills one that stays.
fn end(
    child: &mut std::process::Child,
    group: rustix::process::Pid,
) -> Option<std::process::ExitStatus> {
    let pause = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(pause);
    }
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
    None
}

/// Bytes as the text they are, without the end of the last line.
pub(super) fn text(bytes: &[u8]) -> Result<Zeroizing<String>, FetchError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| FetchError::Malformed("the value is no text".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(FetchError::Missing("the value is empty".to_owned()));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str) -> Result<Zeroizing<String>, FetchError> {
        command(&["sh", "-c", line].map(str::to_owned))
    }

    #[test]
    fn commands_give_what_they_print_and_no_more_than_is_borne() {
        assert_eq!(*sh("echo value").unwrap(), "value");
        assert!(matches!(
            sh("echo value; exit 3"),
            Err(FetchError::Denied(_))
        ));
        assert!(matches!(sh("true"), Err(FetchError::Missing(_))));
        assert!(matches!(sh("yes"), Err(FetchError::Malformed(_))));
        assert!(matches!(
            sh("printf '\\377'"),
            Err(FetchError::Malformed(_))
        ));
        let none = command(&["/no/such/program".to_owned()]);
        assert!(matches!(none, Err(FetchError::Missing(_))));
    }

    #[test]
    fn what_a_command_says_on_standard_error_is_not_repeated() {
        let error = sh("echo hunter2 >&2; exit 1").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn files_are_read_through_links_and_only_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "value\n").unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        assert_eq!(*file(&folder.path().join("b")).unwrap(), "value");
        assert!(matches!(file(folder.path()), Err(FetchError::Denied(_))));
        assert!(matches!(
            file(&folder.path().join("c")),
            Err(FetchError::Missing(_))
        ));
    }
}
