//! What an attack is and how it can end.

use std::io;

use super::context::Context;

/// How an attack ended.
pub(crate) enum Outcome {
    /// It did what it wanted.
    Bypass(String),
    /// It was refused.
    Blocked(String),
    /// It makes no sense here.
    NotApplicable(String),
    /// It did its part; the host must look whether that had an effect.
    HostJudges(String),
}

/// Why an attack ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something it needs was refused.
    Blocked(String),
    /// Something it needs does not exist here.
    NotApplicable(String),
    /// It could not be carried out as meant.
    Fault(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Fault(error.to_string())
    }
}

pub(crate) type Attempt = Result<Outcome, Stop>;

/// What proves that an attack would work if nothing stopped it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// It succeeds on a host for any user.
    User,
    /// It succeeds on a host for root.
    Root,
    /// It would do harm, or Linux itself forbids it everywhere.
    None,
}

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) item: u8,
    pub(crate) what: &'static str,
    pub(crate) control: Control,
    /// It needs the tool's bytes, so it exists a second time with bytes that were brought along.
    pub(crate) carried: bool,
    /// This is that second form.
    pub(crate) smuggled: bool,
    pub(crate) run: fn(&Context) -> Attempt,
}

impl Attack {
    /// An attack that works for any user on a host.
    pub(crate) const fn new(
        name: &'static str,
        item: u8,
        what: &'static str,
        run: fn(&Context) -> Attempt,
    ) -> Self {
        Self {
            name,
            item,
            what,
            control: Control::User,
            carried: false,
            smuggled: false,
            run,
        }
    }

    pub(crate) const fn root(mut self) -> Self {
        self.control = Control::Root;
        self
    }

    pub(crate) const fn uncontrolled(mut self) -> Self {
        self.control = Control::None;
        self
    }

    pub(crate) const fn carried(mut self) -> Self {
        self.carried = true;
        self
    }

    /// The same attack with bytes that were brought along.
    pub(crate) fn twin(&self) -> Self {
        Self {
            name: format!("{}-smuggled", self.name).leak(),
            carried: false,
            smuggled: true,
            ..*self
        }
    }

    /// Its line in the list.
    pub(crate) fn line(&self) -> String {
        let control = match self.control {
            Control::User => "user",
            Control::Root => "root",
            Control::None => "none",
        };
        let carried = if self.smuggled {
            ", with bytes brought along in disguise"
        } else {
            ""
        };
        format!(
            "{}\t{}\t{control}\t{}{carried}",
            self.name, self.item, self.what
        )
    }
}
