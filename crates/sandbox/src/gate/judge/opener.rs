//! Who opens a file, by what path, and what for.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Case, Shows, held};
use crate::gate::content::{self, Content};
use crate::gate::process::{self, Access};

/// How long an opener may take to come to sleep, where time may be taken and where all others wait.
const TO_SLEEP: Duration = Duration::from_millis(500);
const TO_SLEEP_SOON: Duration = Duration::from_millis(5);

impl Case<'_> {
    /// The opener's program, if it is one of the root.
    pub(super) fn program(&self) -> Option<&PathBuf> {
        self.program
            .get_or_init(|| {
                let (about, path) = process::program(self.event.thread)?;
                let site = self.gate.site(about.mount)?;
                let of_root = matches!(site.shows, Shows::Root)
                    && Arc::ptr_eq(&site.environment, &self.site.environment);
                of_root.then_some(path)
            })
            .as_ref()
    }

    /// Whether a listed interpreter opens it as a script.
    pub(super) fn is_interpreted(&self, content: Content) -> bool {
        if self.rules.interpreters.is_empty() {
            return false;
        }
        let path = self.path();
        // A path too long to be told may have any ending.
        let named = path.is_empty() || content::is_script_name(path);
        (content == Content::Script || named) && self.is_interpreter()
    }

    /// Whether the opener executes a listed interpreter, or the loader that starts one, whatever it is
    /// called and wherever it lies; or it cannot be said what it executes.
    fn is_interpreter(&self) -> bool {
        let rules = &self.rules;
        let Some((about, path)) = process::program(self.event.thread) else {
            return true;
        };
        let Some(site) = self.gate.site(about.mount) else {
            return true;
        };
        if matches!(site.shows, Shows::Root | Shows::Mask) {
            // Of another name in the root, the same file: its digest is known since it was listed.
            let digest = self.gate.digests.get(&about);
            return rules.interpreters.contains(&path)
                || digest.is_some_and(|digest| rules.interpreter_digests.contains(&digest));
        }
        // It was hashed when it was executed, and cannot be written as long as it is.
        let mut held = self
            .gate
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let digest = held.digest(&held::key(site.file_system, &about), None);
        digest.is_none_or(|digest| rules.interpreter_digests.contains(&digest))
    }

    pub(super) fn rule_by_path(&self, content: Content) -> Option<usize> {
        let policy = &self.rules.policy;
        if !policy.looks_at_paths() {
            return None;
        }
        let found = policy.rule_of_path(self.path(), content);
        if found.is_some() || !policy.looks_at_names() || !self.event.execute || self.is_root() {
            return found;
        }
        // Through a link of that name: the path is the one it leads to.
        let named = process::executed_path(self.event.thread, self.to_sleep())?;
        policy.rule_of_path(&named, content)
    }

    /// How the file is opened. Never left for later: who wrote a file is known by the order of opens.
    pub(super) fn access(&self) -> Access {
        process::access(self.event.thread, self.to_sleep())
    }

    fn to_sleep(&self) -> Duration {
        if self.patience {
            TO_SLEEP
        } else {
            TO_SLEEP_SOON
        }
    }

    /// Keeps account of who writes what, where trusted producers are named.
    pub(super) fn note_writer(&self) {
        if self.rules.producers.is_empty() || self.is_root() || self.event.execute {
            return;
        }
        let producer = self
            .program()
            .is_some_and(|program| self.rules.producers.contains(program));
        let made = &self.site.environment.made_inside;
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if producer || made.is_made(&self.key) {
            let access = self.access();
            made.opened(self.key, producer, access, self.about.size);
        }
    }
}
