//! Client to environment: run a step, kill it.

use std::ffi::CString;
use std::time::Duration;

use super::nanoseconds;
use crate::spec::TerminalSize;
use crate::wire::{Malformed, Reader, Writer};

/// What a client tells an environment.
pub(crate) enum Order {
    /// Run a step. Carries stdout, stderr and, when `stdin`, stdin; nothing for a terminal.
    Exec(Exec),
    /// The same, but the message is in the memory file that is the last descriptor.
    ExecInFile,
    /// Kill the step of this number if it still runs.
    Kill(u64),
}

/// A step to run.
pub(crate) struct Exec {
    pub(crate) step: u64,
    pub(crate) argv: Vec<CString>,
    /// `NAME=value` each.
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: Option<CString>,
    pub(crate) stdin: bool,
    /// In place of the descriptors: a terminal of this size.
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) timeout: Option<Duration>,
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Exec(exec) => {
                to.byte(0).number(exec.step);
                for list in [&exec.argv, &exec.env] {
                    to.number(list.len() as u64);
                    for item in list {
                        to.bytes(item.as_bytes());
                    }
                }
                to.optional_bytes(exec.cwd.as_deref().map(std::ffi::CStr::to_bytes));
                to.byte(u8::from(exec.stdin));
                to.optional_number(
                    exec.terminal
                        .map(|size| u64::from(size.rows) << 16 | u64::from(size.columns)),
                );
                to.optional_number(exec.timeout.map(nanoseconds));
            }
            Self::ExecInFile => {
                to.byte(1);
            }
            Self::Kill(step) => {
                to.byte(2).number(*step);
            }
        }
        to.finish()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(message);
        match from.byte()? {
            0 => Ok(Self::Exec(Exec {
                step: from.number()?,
                argv: c_strings(&mut from)?,
                env: c_strings(&mut from)?,
                cwd: from.optional_bytes()?.map(c_string).transpose()?,
                stdin: from.byte()? == 1,
                terminal: from.optional_number()?.map(|size| TerminalSize {
                    rows: (size >> 16) as u16,
                    columns: size as u16,
                }),
                timeout: from.optional_number()?.map(Duration::from_nanos),
            })),
            1 => Ok(Self::ExecInFile),
            2 => Ok(Self::Kill(from.number()?)),
            _ => Err(Malformed),
        }
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, Malformed> {
    CString::new(bytes).map_err(|_| Malformed)
}

fn c_strings(from: &mut Reader<'_>) -> Result<Vec<CString>, Malformed> {
    (0..from.number()?)
        .map(|_| from.bytes().and_then(c_string))
        .collect()
}
