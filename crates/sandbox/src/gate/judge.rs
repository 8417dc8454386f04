//! One open, from the event to the answer.

mod opener;

use std::cell::OnceCell;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Gate;
use super::content::{self, Content};
use super::digest;
use super::environment::{Rules, Shows, Site};
use super::events::{Kind, clean};
use super::held::{self, Key};
use super::policy::{Subject, Verdict, Why, describe};
use super::process::{self, Access};
use crate::exec_policy::{Digest, ExecMode};
use crate::sys::about::{self, About};
use crate::sys::fanotify::Event;
use crate::sys::lease;

/// Largest file hashed while all other events wait.
const SMALL: u64 = 64 * 1024;
/// How often a lease is tried when somebody has the file open for writing: a descriptor that a fork
/// has copied closes within moments. (The kernel's own answer to this race is ETXTBSY.)
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(1);
/// What is to be done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Permit,
    /// And never ask about this file again.
    PermitForGood,
    Refuse,
    /// It takes time: ask again where time may be taken. Names whose time that is.
    Later(u64),
}

/// Content of a file, as far as it can be known.
enum Known {
    Digest(Digest),
    Written,
    Unreadable,
    TooLarge,
    Later,
}

/// Answers an event. Without `patience` everything that takes long is left for later.
pub(super) fn judge(gate: &Gate, event: &Event, patience: bool) -> Answer {
    let Ok(about) = about::of(&event.file) else {
        return Answer::Refuse;
    };
    let Some(site) = gate.site(about.mount) else {
        return stranger(gate, event);
    };
    if !about.regular {
        return Answer::Permit;
    }
    let rules = site.environment.rules();
    let case = Case {
        gate,
        event,
        about,
        site: &site,
        rules,
        key: held::key(site.file_system, &about),
        patience,
        path: OnceCell::new(),
        program: OnceCell::new(),
    };
    case.answer()
}

/// A file of a mount that is nobody's: one of the supervisor's own while it builds, or of an
/// environment that is not registered yet or no more.
fn stranger(gate: &Gate, event: &Event) -> Answer {
    if process::namespace(event.thread) == Some(gate.namespace) {
        Answer::Permit
    } else {
        Answer::Refuse
    }
}

struct Case<'a> {
    gate: &'a Gate,
    event: &'a Event,
    about: About,
    site: &'a Site,
    rules: &'a Arc<Rules>,
    key: Key,
    patience: bool,
    path: OnceCell<Vec<u8>>,
    /// Program of the root that the opener executes, by path inside.
    program: OnceCell<Option<PathBuf>>,
}

impl Case<'_> {
    fn path(&self) -> &[u8] {
        self.path.get_or_init(|| process::path_of(&self.event.file))
    }

    fn is_root(&self) -> bool {
        matches!(self.site.shows, Shows::Root | Shows::Mask)
    }

    fn later(&self) -> Answer {
        Answer::Later(self.site.environment.serial)
    }

    fn answer(&self) -> Answer {
        if matches!(self.site.shows, Shows::Mask) {
            return self.masked();
        }
        self.note_writer();
        // What is executed may be filled before it is; what is opened may be too, like all that is
        // written after it was judged.
        if self.about.size == 0 && !self.event.execute {
            return self.act(Verdict::Permit, None);
        }
        let policy = &self.rules.policy;
        let content = if policy.needs_content(self.event.execute) {
            match self.content() {
                Some(content) => content,
                None => return self.act(Verdict::Refuse(Why::Unreadable), None),
            }
        } else {
            Content::Other
        };
        let subject = Subject {
            content,
            execute: self.event.execute,
            of_root: self.is_root(),
            interpreted: self.is_interpreted(content),
        };
        let of_path = self.rule_by_path(content);
        let size = self.about.size;
        let needed = of_path.is_some()
            || policy.needs_digest(&subject, size)
            || self.site.environment.has_joined(size);
        if !needed && !policy.searches(size) {
            return self.act(policy.decide(&subject, None, None, false), None);
        }
        // What can only be read is looked for, too, but not where it is written: nothing is executed
        // through such an open, and its content is still to come.
        if !needed && !self.is_root() {
            match self.access() {
                Access::Empties | Access::Writes => return Answer::Permit,
                Access::Both => return self.as_it_is(&subject, of_path),
                Access::Read | Access::Unclear => {}
            }
        }
        match self.known() {
            Known::Later => self.later(),
            Known::Digest(digest) => self.by_digest(&subject, digest, of_path),
            Known::Unreadable => self.by_absence(Why::Unreadable),
            Known::TooLarge => self.by_absence(Why::TooLarge),
            Known::Written => self.written(&subject, of_path),
        }
    }

    /// A file of the root that a rule refuses, and that was hidden when the root was made.
    fn masked(&self) -> Answer {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(self.path()));
        match self.rules.masked.get(path) {
            Some((at, digest)) => self.act(Verdict::Refuse(Why::Rule(*at)), Some(*digest)),
            // The rule is gone, the mask is still there: what it hides cannot be shown any more.
            None => Answer::Permit,
        }
    }

    fn content(&self) -> Option<Content> {
        let mut head = [0; content::HEAD];
        let length = self.event.file.read_at(&mut head, 0).ok()?;
        Some(content::sniff(&head[..length]))
    }

    /// The content's digest, with the proof that it stays as it is.
    fn known(&self) -> Known {
        if self.is_root() {
            return self.known_of_root();
        }
        let executing = self.event.execute.then_some(self.event.thread);
        let held = || {
            self.gate
                .held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(digest) = held().digest(&self.key, executing) {
            return Known::Digest(digest);
        }
        if self.about.size > digest::MAX_WRITTEN {
            return Known::TooLarge;
        }
        if self.takes_time() {
            return Known::Later;
        }
        let file = self.event.file.as_fd();
        if lease::tell_me(file).is_err() {
            return Known::Unreadable;
        }
        for attempt in 0..TRIES {
            match lease::take(file) {
                Ok(true) if self.is_still() => break,
                Ok(true) => lease::give_up(file),
                Ok(false) => {}
                Err(_) => return Known::Unreadable,
            }
            if !self.patience {
                return Known::Later;
            }
            if attempt + 1 == TRIES {
                return Known::Written;
            }
            std::thread::sleep(PAUSE);
        }
        // Under the lease: the size may have changed before it.
        let (Ok(digest), Ok(about)) = (self.hash(), about::of(&self.event.file)) else {
            lease::give_up(file);
            return Known::Unreadable;
        };
        let file = Arc::clone(&self.event.file);
        held().hold(self.key, Arc::clone(&file), about, digest, executing);
        if !lease::is_whole(file.as_fd()) {
            self.gate.wanted(&file);
        }
        Known::Digest(digest)
    }

    fn is_still(&self) -> bool {
        match &self.site.shows {
            Shows::Overlay(behind) => behind.is_still(
                &self.event.file,
                &self.about,
                &process::path_of(&self.event.file),
            ),
            _ => true,
        }
    }

    fn known_of_root(&self) -> Known {
        match self.gate.digests.get(&self.about) {
            Some(digest) => Known::Digest(digest),
            None if !self.patience && self.about.size > SMALL => Known::Later,
            None => match digest::of_file(&*self.event.file) {
                Ok((digest, _)) => {
                    self.gate.digests.put(&self.about, digest);
                    Known::Digest(digest)
                }
                Err(_) => Known::Unreadable,
            },
        }
    }

    fn by_digest(&self, subject: &Subject, digest: Digest, of_path: Option<usize>) -> Answer {
        let environment = &self.site.environment;
        // Every empty file is the same content.
        if let Some(at) = of_path
            && digest != digest::of_bytes(b"")
            && environment.join(digest, at, self.about.size)
        {
            // A file of the root with the same content may be one that is asked about no more.
            self.gate.reconsider(environment);
        }
        let joined = environment.joined(&digest);
        let verdict = self
            .rules
            .policy
            .decide(subject, Some(&digest), joined, false);
        if matches!(
            verdict,
            Verdict::Refuse(Why::Unknown) | Verdict::Report(Why::Unknown)
        ) {
            let Some(known) = self.is_known(&digest) else {
                return self.later();
            };
            let verdict = self
                .rules
                .policy
                .decide(subject, Some(&digest), joined, known);
            return self.act(verdict, Some(digest));
        }
        self.act(verdict, Some(digest))
    }

    /// Whether content is the root's or was made by a trusted producer; `None` when finding out
    /// takes time.
    fn is_known(&self, digest: &Digest) -> Option<bool> {
        let made = &self.site.environment.made_inside;
        {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.is_made(&self.key) {
                made.learn(*digest);
            }
            if made.knows(digest) {
                return Some(true);
            }
        }
        // Where it would only be reported, it is not worth looking through the whole root.
        if self.rules.policy.mode < ExecMode::AllowList {
            return Some(false);
        }
        if !self.patience {
            return None;
        }
        let same = |path: &PathBuf| {
            self.gate
                .digest_of_host(path)
                .is_ok_and(|(host, _)| host == *digest)
        };
        Some(self.rules.root.of_size(self.about.size).iter().any(same))
    }

    /// Content that somebody has open for writing, or mapped so.
    fn written(&self, subject: &Subject, of_path: Option<usize>) -> Answer {
        if self.event.execute {
            return self.by_absence(Why::Written);
        }
        match self.access() {
            // Nothing is executed through this open.
            Access::Empties | Access::Writes => return Answer::Permit,
            Access::Read | Access::Unclear if subject.content == Content::Program => {
                return self.by_absence(Why::Written);
            }
            _ => {}
        }
        // Data, or the writer itself.
        self.as_it_is(subject, of_path)
    }

    /// By its content at the moment, which somebody may be changing.
    fn as_it_is(&self, subject: &Subject, of_path: Option<usize>) -> Answer {
        if self.about.size > digest::MAX_WRITTEN {
            return self.by_absence(Why::TooLarge);
        }
        if self.takes_time() {
            return self.later();
        }
        match self.hash() {
            Ok(digest) => self.by_digest(subject, digest, of_path),
            Err(_) => self.by_absence(Why::Unreadable),
        }
    }

    /// Whether hashing is for later: because there is much, or there was much of this environment.
    fn takes_time(&self) -> bool {
        let owner = self.site.environment.serial;
        !self.patience && (self.about.size > SMALL || self.gate.later.is_spent(owner))
    }

    /// Hashes what environments write, on this one's account.
    fn hash(&self) -> std::io::Result<Digest> {
        let hashed = digest::of_file_within(&*self.event.file, digest::MAX_WRITTEN);
        let bytes = hashed.as_ref().map_or(self.about.size, |(_, bytes)| *bytes);
        let owner = self.site.environment.serial;
        self.gate.later.charge(owner, bytes);
        hashed.map(|(digest, _)| digest)
    }

    /// Without a digest: refused, except where nothing is.
    fn by_absence(&self, why: Why) -> Answer {
        let verdict = if self.rules.policy.mode <= ExecMode::Observe {
            Verdict::Report(why)
        } else {
            Verdict::Refuse(why)
        };
        self.act(verdict, None)
    }

    fn act(&self, verdict: Verdict, digest: Option<Digest>) -> Answer {
        match verdict {
            // A rule that speaks of the content wants to hear of its later execution too; and what
            // was not looked at may be what a rule speaks of.
            Verdict::Permit
                if matches!(self.site.shows, Shows::Root)
                    && !self.rules.policy.may_speak_of(digest.as_ref()) =>
            {
                Answer::PermitForGood
            }
            Verdict::Permit => Answer::Permit,
            Verdict::Refuse(Why::Canary) => Answer::Refuse,
            Verdict::Report(why) => {
                if self.report(why, digest, false) {
                    Answer::Permit
                } else {
                    self.later()
                }
            }
            Verdict::Refuse(why) => self.refuse(why, digest),
        }
    }

    fn refuse(&self, why: Why, digest: Option<Digest>) -> Answer {
        let unknown = matches!(why, Why::Unknown | Why::Rule(_) | Why::TooLarge);
        if unknown && !self.event.execute && !self.is_root() {
            // What is overwritten is not executed.
            if matches!(self.access(), Access::Empties | Access::Writes) {
                return Answer::Permit;
            }
        }
        // The host's own processes are not judged.
        let inside = process::namespace(self.event.thread);
        if inside.is_some_and(|namespace| namespace != self.site.environment.namespace) {
            return Answer::Permit;
        }
        if self.report(why, digest, true) {
            Answer::Refuse
        } else {
            self.later()
        }
    }

    /// Tells or counts an event; false when that takes time.
    fn report(&self, why: Why, digest: Option<Digest>, denied: bool) -> bool {
        let environment = &self.site.environment;
        let kind = Kind {
            digest,
            path: clean(self.path()),
            rule: self.rules.policy.describe(why),
            denied,
        };
        if environment.count(&kind) {
            self.gate.tell_later();
            return true;
        }
        if !self.patience {
            return false;
        }
        let processes = process::tree(self.event.thread, environment.init);
        if denied {
            let text = self.explanation(&kind, why);
            self.gate.teller.tell(self.event.thread, &text);
        }
        environment.first(kind, processes);
        self.gate.tell_later();
        true
    }

    /// What whoever is refused reads.
    fn explanation(&self, kind: &Kind, why: Why) -> String {
        let act = if self.event.execute {
            "execute"
        } else {
            "open"
        };
        let (cause, reason) = match why {
            Why::Rule(at) => match self.rules.policy.rules.get(at) {
                Some(rule) => (
                    format!("rule: {}", describe(&rule.target)),
                    rule.reason.clone(),
                ),
                None => ("rule".to_owned(), String::new()),
            },
            _ => (kind.rule.clone(), String::new()),
        };
        let reason = clean(reason.trim_end_matches('.').as_bytes());
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(": {reason}")
        };
        format!(
            "nightcrew: refused to {act} {} ({}){reason}. Another name, path or copy of it changes nothing. \
             Ask a person to permit it if the task needs it.\n",
            kind.path,
            clean(cause.as_bytes()),
        )
    }
}
