//! What the gate knows of an environment.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::events::{Events, Kind};
use super::index::{Place, Root};
use super::policy::Policy;
use super::real::Behind;
use crate::exec_policy::{Digest, ExecEvent, ExecPolicy};
use crate::sys::other;
use crate::wire::{Malformed, Reader, Writer};

/// What the init of an environment tells the gate.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) id: String,
    /// Time since the machine started when the environment was made.
    pub(crate) made: Duration,
    pub(crate) policy: ExecPolicy,
    /// The template's place in the supervisor's mount namespace.
    pub(crate) root: PathBuf,
    /// What the root is made of where that is not the host's folders, highest first.
    pub(crate) trees: Vec<PathBuf>,
    /// Overlays: where they are inside, and the host's folder that receives what is written.
    pub(crate) uppers: Vec<(PathBuf, PathBuf)>,
    /// Host folders under them.
    pub(crate) lowers: Vec<PathBuf>,
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn paths(from: &mut Reader<'_>) -> Result<Vec<PathBuf>, Malformed> {
    (0..from.number()?)
        .map(|_| from.bytes().map(path))
        .collect()
}

fn raw(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

impl Register {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.bytes(self.id.as_bytes());
        to.number(u64::try_from(self.made.as_nanos()).unwrap_or(u64::MAX));
        to.bytes(&serde_json::to_vec(&self.policy).unwrap_or_default());
        to.bytes(raw(&self.root));
        to.number(self.uppers.len() as u64);
        for (inside, host) in &self.uppers {
            to.bytes(raw(inside)).bytes(raw(host));
        }
        for list in [&self.lowers, &self.trees] {
            to.number(list.len() as u64);
            for path in list {
                to.bytes(raw(path));
            }
        }
        to.finish()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(message);
        Ok(Self {
            id: from.text()?,
            made: Duration::from_nanos(from.number()?),
            policy: serde_json::from_slice(from.bytes()?).map_err(|_| Malformed)?,
            root: path(from.bytes()?),
            uppers: (0..from.number()?)
                .map(|_| Ok((path(from.bytes()?), path(from.bytes()?))))
                .collect::<Result<_, Malformed>>()?,
            lowers: paths(&mut from)?,
            trees: paths(&mut from)?,
        })
    }
}

/// A policy compiled for a root; environments with equal ones share it.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) root: Arc<Root>,
    /// Programs of the root whose output may execute, and whose input is judged, by path inside.
    pub(super) producers: HashSet<PathBuf>,
    pub(super) interpreters: HashSet<PathBuf>,
    /// Content of the latter, for copies; and of the loaders that start them.
    pub(super) interpreter_digests: HashSet<Digest>,
    /// What masks in the root stand for.
    pub(super) masked: HashMap<PathBuf, (usize, Digest)>,
}

/// What kind of file system a mount of an environment shows.
#[derive(Debug)]
pub(super) enum Shows {
    /// The root, which nobody can change.
    Root,
    /// Masks over files of the root that a rule refuses.
    Mask,
    /// An overlay of the environment's own, which receives writes.
    Overlay(Arc<Behind>),
    /// Files as they are: scratch space, or folders of the host.
    Files,
}

/// One mount of an environment.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) environment: Arc<Environment>,
    pub(super) shows: Shows,
    /// Its file system's device number.
    pub(super) file_system: u64,
    /// Whether environments that share it want different answers: then each is asked every time.
    pub(super) divided: Arc<RwLock<bool>>,
}

/// An environment.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) id: String,
    /// Tells it from all others of this gate.
    pub(super) serial: u64,
    /// Its init, as the host numbers it, and its pid namespace.
    pub(super) init: i32,
    pub(super) namespace: u64,
    pub(super) made: Duration,
    pub(super) pidfd: OwnedFd,
    pub(super) link: OwnedFd,
    rules: Arc<Rules>,
    /// Content that fell under a rule because of a path where it appeared, with its size.
    joined: RwLock<HashMap<Digest, (usize, u64)>>,
    pub(super) made_inside: Mutex<super::provenance::Made>,
    events: Mutex<Events>,
    /// Where what it asked for is written down for a later gate, which finds it by its number.
    _record: OwnedFd,
    /// Mounts and own file systems, to be forgotten with it.
    pub(super) mounts: Vec<u64>,
    pub(super) file_systems: Vec<u64>,
}

/// What identifies an environment when it is registered.
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) serial: u64,
    pub(super) init: i32,
    pub(super) namespace: u64,
    pub(super) made: Duration,
    pub(super) pidfd: OwnedFd,
    pub(super) link: OwnedFd,
}

impl Environment {
    pub(super) fn new(
        identity: Identity,
        rules: Arc<Rules>,
        mounts: Vec<u64>,
        file_systems: Vec<u64>,
        record: OwnedFd,
    ) -> Self {
        Self {
            _record: record,
            id: identity.id,
            serial: identity.serial,
            init: identity.init,
            namespace: identity.namespace,
            made: identity.made,
            pidfd: identity.pidfd,
            link: identity.link,
            rules,
            joined: RwLock::default(),
            made_inside: Mutex::default(),
            events: Mutex::default(),
            mounts,
            file_systems,
        }
    }

    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Whether any content joined.
    pub(super) fn has_any_joined(&self) -> bool {
        !self
            .joined
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Whether some content of this size joined.
    pub(super) fn has_joined(&self, size: u64) -> bool {
        let joined = self.joined.read().unwrap_or_else(PoisonError::into_inner);
        joined.values().any(|(_, joined)| *joined == size)
    }

    pub(super) fn joined(&self, digest: &Digest) -> Option<usize> {
        let joined = self.joined.read().unwrap_or_else(PoisonError::into_inner);
        joined.get(digest).map(|(at, _)| *at)
    }

    /// Puts content under a rule; true when it was not there.
    pub(super) fn join(&self, digest: Digest, rule: usize, size: u64) -> bool {
        /// Most contents that join: of more, each is judged by its path only.
        const MAX: usize = 65_536;
        if self.joined(&digest).is_some() {
            return false;
        }
        let mut joined = self.joined.write().unwrap_or_else(PoisonError::into_inner);
        joined.len() < MAX && joined.insert(digest, (rule, size)).is_none()
    }

    /// Counts an event of a kind that was told lately.
    pub(super) fn count(&self, kind: &Kind) -> bool {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(kind)
    }

    /// Tells a new kind of event.
    pub(super) fn first(&self, kind: Kind, processes: Vec<(u32, String)>) {
        let event = ExecEvent {
            environment: self.id.clone(),
            denied: kind.denied,
            digest: kind.digest,
            path: kind.path.clone(),
            processes,
            rule: kind.rule.clone(),
            count: 1,
            at: other::uptime().saturating_sub(self.made),
        };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.first(kind, event, Instant::now());
        self.tell(&mut events);
    }

    /// Tells what was counted; whether more may come.
    pub(super) fn flush(&self) -> bool {
        self.tell(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, events: &mut Events) -> bool {
        events.tell(Instant::now(), |event| {
            let mut event = event.clone();
            event.environment.clone_from(&self.id);
            let mut message = vec![super::SAYS_EVENT];
            message.extend(serde_json::to_vec(&event).unwrap_or_default());
            other::send_now(self.link.as_fd(), &message).is_ok()
        })
    }
}

/// Compiles a policy for a root.
pub(super) fn compile(
    policy: &ExecPolicy,
    root: &Arc<Root>,
    digest: impl Fn(&Place) -> io::Result<(Digest, u64)>,
) -> Rules {
    use super::policy::{Found, TargetAt};
    let mut rules = Rules {
        policy: Policy::compile(policy, &[]),
        root: Arc::clone(root),
        producers: HashSet::new(),
        interpreters: HashSet::new(),
        interpreter_digests: HashSet::new(),
        masked: HashMap::new(),
    };
    let mut found = Vec::new();
    for (target, place) in root.resolve(policy) {
        match target {
            TargetAt::Producer(_) => {
                rules.producers.insert(place.inside);
            }
            TargetAt::Interpreter(_) => {
                // A loader that is told a program executes it, and is what is seen to execute.
                let loader = loader_of(&place.host).and_then(|path| root.follow(&path));
                for place in [Some(place), loader].into_iter().flatten() {
                    if let Ok((digest, _)) = digest(&place) {
                        rules.interpreter_digests.insert(digest);
                    }
                    rules.interpreters.insert(place.inside);
                }
            }
            TargetAt::Rule(at) => {
                if let Ok((digest, size)) = digest(&place) {
                    found.push(Found {
                        target,
                        digest,
                        size,
                    });
                    rules.masked.entry(place.inside).or_insert((at, digest));
                }
            }
        }
    }
    rules.policy = Policy::compile(policy, &found);
    rules
}

/// Bytes of a program that hold the name of its loader: it stands in the first page.
const LOADER_WITHIN: u64 = 64 * 1024;

/// The loader that a program of the root names.
fn loader_of(program: &Path) -> Option<PathBuf> {
    use std::io::Read;
    let mut head = Vec::new();
    let file = std::fs::File::open(program).ok()?;
    file.take(LOADER_WITHIN).read_to_end(&mut head).ok()?;
    crate::vm::elf::interpreter(&head).ok()?
}
