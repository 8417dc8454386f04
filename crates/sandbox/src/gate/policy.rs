//! A policy compiled for quick answers, and the answers: no I/O.

use std::collections::{HashMap, HashSet};

use super::content::Content;
use crate::exec_policy::{Digest, ExecMode, ExecPolicy, ExecRule, ExecTarget, RuleVerdict};

/// Content that every policy refuses: the self-test proves the gate with it. Its interpreter does
/// not exist, so it would not run where the gate is absent either.
pub(crate) const CANARY: &[u8] = b"#!/nightcrew/refused-by-every-policy\n";

/// Largest file that is hashed only because some denied content is known by nothing but its digest,
/// and could be anything. Larger ones are looked at where they can execute by themselves.
pub(crate) const SEARCHED: u64 = 16 << 20;

/// A file that a target of the policy means, in the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) target: TargetAt,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Where in a policy a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetAt {
    Rule(usize),
    Producer(usize),
    Interpreter(usize),
}

/// Every target of a policy that has to be looked up in the root.
pub(crate) fn targets(policy: &ExecPolicy) -> Vec<(TargetAt, &ExecTarget)> {
    let rules = policy
        .rules
        .iter()
        .enumerate()
        .map(|(at, rule)| (TargetAt::Rule(at), &rule.target));
    let producers = policy
        .trusted_producers
        .iter()
        .enumerate()
        .map(|(at, target)| (TargetAt::Producer(at), target));
    let interpreters = policy
        .interpreters
        .iter()
        .enumerate()
        .map(|(at, target)| (TargetAt::Interpreter(at), target));
    rules.chain(producers).chain(interpreters).collect()
}

/// Why something was refused or reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// A rule, by its place.
    Rule(usize),
    /// Content that no rule and no root knows.
    Unknown,
    /// Content that could not be read.
    Unreadable,
    /// Content of which there is too much to be hashed.
    TooLarge,
    /// Content that somebody may be changing.
    Written,
    /// The self-test's.
    Canary,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Permit,
    /// Permit, and tell.
    Report(Why),
    Refuse(Why),
}

/// What the answer depends on, besides content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) content: Content,
    /// Whether it is opened to be executed.
    pub(crate) execute: bool,
    /// Whether it is a file of the root.
    pub(crate) of_root: bool,
    /// Whether a listed interpreter opens it as a script.
    pub(crate) interpreted: bool,
}

impl Subject {
    /// Whether this open can lead to execution.
    fn executable(&self) -> bool {
        self.execute || self.content == Content::Program || self.interpreted
    }
}

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) mode: ExecMode,
    pub(crate) rules: Vec<ExecRule>,
    denied: HashMap<Digest, usize>,
    reported: HashMap<Digest, usize>,
    allowed: HashSet<Digest>,
    /// Sizes of refused and reported content, where known.
    sizes: HashSet<u64>,
    /// Whether some refused or reported content is known by digest only, and whether some is refused.
    sizeless: bool,
    denies_sizeless: bool,
    names: HashMap<Vec<u8>, usize>,
    paths: HashMap<Vec<u8>, usize>,
    packages: Vec<(Vec<Vec<u8>>, usize)>,
    canary: Digest,
}

impl Policy {
    /// Compiles a policy, with what its targets mean in the root.
    pub(crate) fn compile(policy: &ExecPolicy, found: &[Found]) -> Self {
        let canary = super::digest::of_bytes(CANARY);
        let mut compiled = Self {
            mode: policy.mode,
            rules: policy.rules.clone(),
            denied: HashMap::new(),
            reported: HashMap::new(),
            allowed: HashSet::new(),
            sizes: HashSet::from([CANARY.len() as u64]),
            sizeless: false,
            denies_sizeless: false,
            names: HashMap::new(),
            paths: HashMap::new(),
            packages: Vec::new(),
            canary,
        };
        for (at, rule) in policy.rules.iter().enumerate() {
            compiled.add_live(at, rule);
        }
        for found in found {
            let TargetAt::Rule(at) = found.target else {
                continue;
            };
            let Some(rule) = policy.rules.get(at) else {
                continue;
            };
            // Nothing is executed by an empty file, and every empty file is the same content.
            if found.size > 0 {
                compiled.add_digest(found.digest, at, rule.verdict);
                if rule.verdict != RuleVerdict::Allow {
                    compiled.sizes.insert(found.size);
                }
            }
        }
        compiled
    }

    fn add_digest(&mut self, digest: Digest, at: usize, verdict: RuleVerdict) {
        match verdict {
            RuleVerdict::Allow => {
                self.allowed.insert(digest);
            }
            RuleVerdict::Deny => {
                self.denied.entry(digest).or_insert(at);
            }
            RuleVerdict::Report => {
                self.reported.entry(digest).or_insert(at);
            }
        }
    }

    /// What of a rule holds for files that appear later. A permission holds for the root only: or
    /// whoever writes a file could give it the name that is permitted.
    fn add_live(&mut self, at: usize, rule: &ExecRule) {
        if let ExecTarget::Digest(digest) = &rule.target {
            self.add_digest(*digest, at, rule.verdict);
            self.sizeless |= rule.verdict != RuleVerdict::Allow;
            self.denies_sizeless |= rule.verdict == RuleVerdict::Deny;
            return;
        }
        if rule.verdict == RuleVerdict::Allow {
            return;
        }
        let rules = &self.rules;
        // A denial wins over a report, and the first of equals is the one shown.
        let stronger = |old: usize| {
            rules[old].verdict == RuleVerdict::Deny || rule.verdict == RuleVerdict::Report
        };
        let place = match &rule.target {
            ExecTarget::Name(name) => Some(self.names.entry(name.clone().into_bytes())),
            ExecTarget::Path(path) => Some(self.paths.entry(path.clone().into_bytes())),
            ExecTarget::Package(name) => {
                let folders = ["node_modules", "site-packages", "dist-packages"]
                    .map(|folder| format!("/{folder}/{name}/").into_bytes());
                self.packages.push((folders.to_vec(), at));
                None
            }
            ExecTarget::Digest(_) => None,
        };
        if let Some(place) = place {
            place
                .and_modify(|old| {
                    if !stronger(*old) {
                        *old = at;
                    }
                })
                .or_insert(at);
        }
    }

    /// Whether paths matter to this policy.
    pub(crate) fn looks_at_paths(&self) -> bool {
        !(self.names.is_empty() && self.paths.is_empty() && self.packages.is_empty())
    }

    /// Whether names matter to this policy.
    pub(crate) fn looks_at_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The rule that a file at this path falls under because of its path.
    pub(crate) fn rule_of_path(&self, path: &[u8], content: Content) -> Option<usize> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let of_package = || {
            // Of a package only what can execute; its data may be read.
            let executable = content != Content::Other || super::content::is_script_name(path);
            self.packages
                .iter()
                .filter(move |_| executable)
                .filter(|(folders, _)| {
                    folders.iter().any(|folder| {
                        path.windows(folder.len())
                            .any(|part| part == folder.as_slice())
                    })
                })
                .map(|(_, at)| *at)
        };
        let found = [self.names.get(name).copied(), self.paths.get(path).copied()];
        found
            .into_iter()
            .flatten()
            .chain(of_package())
            .min_by_key(|at| (self.rules[*at].verdict != RuleVerdict::Deny, *at))
    }

    /// Whether the beginning of a file must be looked at.
    pub(crate) fn needs_content(&self, execute: bool) -> bool {
        execute || self.sizeless || self.mode >= ExecMode::AllowList || !self.packages.is_empty()
    }

    /// Whether a file of this size must be hashed to be judged.
    pub(crate) fn needs_digest(&self, subject: &Subject, size: u64) -> bool {
        if size == 0 && !subject.execute {
            return false;
        }
        if self.sizes.contains(&size) {
            return true;
        }
        let executable = subject.executable() || subject.content == Content::Script;
        if self.sizeless && executable {
            return true;
        }
        // Unknown content is judged, or at least reported with its digest.
        !subject.of_root
            && (subject.execute || (self.mode >= ExecMode::AllowList && subject.executable()))
    }

    /// Whether files of this size are hashed whatever they are: content that is neither a program nor
    /// names its interpreter is executed by whoever reads it.
    pub(crate) fn searches(&self, size: u64) -> bool {
        self.denies_sizeless && self.mode >= ExecMode::DenyList && (1..=SEARCHED).contains(&size)
    }

    /// Whether a rule refuses or reports this content; of content that was not hashed, whether one
    /// could.
    pub(super) fn may_speak_of(&self, digest: Option<&Digest>) -> bool {
        match digest {
            Some(digest) => self.reported.contains_key(digest) || self.denied.contains_key(digest),
            None => self.sizeless,
        }
    }

    /// The verdict on content. `joined` is the rule that the content fell under because of a path
    /// where it appeared; `known` whether the content is the root's, or a trusted producer's.
    pub(crate) fn decide(
        &self,
        subject: &Subject,
        digest: Option<&Digest>,
        joined: Option<usize>,
        known: bool,
    ) -> Verdict {
        if self.mode == ExecMode::Off {
            return Verdict::Permit;
        }
        if digest == Some(&self.canary) {
            return Verdict::Refuse(Why::Canary);
        }
        let of = |digests: &HashMap<Digest, usize>| {
            digest.and_then(|digest| digests.get(digest)).copied()
        };
        let denies = |at: &usize| {
            self.rules
                .get(*at)
                .is_some_and(|rule| rule.verdict == RuleVerdict::Deny)
        };
        if let Some(at) = of(&self.denied).or(joined.filter(denies)) {
            return match self.mode {
                ExecMode::Observe if subject.executable() => Verdict::Report(Why::Rule(at)),
                ExecMode::Observe => Verdict::Permit,
                _ => Verdict::Refuse(Why::Rule(at)),
            };
        }
        let reported = of(&self.reported)
            .or(joined)
            .filter(|_| subject.executable());
        let permitted =
            subject.of_root || known || digest.is_some_and(|digest| self.allowed.contains(digest));
        if !permitted && subject.executable() {
            if self.mode >= ExecMode::AllowList {
                return Verdict::Refuse(Why::Unknown);
            }
            if subject.execute && reported.is_none() {
                return Verdict::Report(Why::Unknown);
            }
        }
        reported.map_or(Verdict::Permit, |at| Verdict::Report(Why::Rule(at)))
    }

    /// How a reason reads in an event: the rule's target and its reason.
    pub(crate) fn describe(&self, why: Why) -> String {
        match why {
            Why::Rule(at) => self.rules.get(at).map_or_else(String::new, |rule| {
                let target = describe(&rule.target);
                if rule.reason.is_empty() {
                    target
                } else {
                    format!("{target}: {}", rule.reason)
                }
            }),
            Why::Unknown => "unknown content".to_owned(),
            Why::Unreadable => "content that cannot be read".to_owned(),
            Why::TooLarge => format!(
                "content that is too large to be judged, of more than {} MiB",
                super::digest::MAX_WRITTEN >> 20
            ),
            Why::Written => "content that is open for writing".to_owned(),
            Why::Canary => "the self-test's canary".to_owned(),
        }
    }
}

/// A target as people read it.
pub(crate) fn describe(target: &ExecTarget) -> String {
    match target {
        ExecTarget::Name(name) => format!("name {name}"),
        ExecTarget::Path(path) => format!("path {path}"),
        ExecTarget::Package(name) => format!("package {name}"),
        ExecTarget::Digest(digest) => {
            use std::fmt::Write;
            digest.iter().fold("digest ".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
