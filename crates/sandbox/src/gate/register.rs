//! Taking in environments: marks on every mount of theirs that can hold content, before anything
//! runs in them.

use std::collections::HashSet;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use super::environment::{self, Environment, Identity, Register, Rules, Shows, Site};
use super::index::Root;
use super::real::Behind;
use super::{ASKS_REGISTER, Gate, SAYS_FAILED, SAYS_READY, masks, process};
use crate::sys::mounts::{self, Mount};
use crate::sys::{fanotify, file, socket};
use crate::wire::Reader;

/// File systems without content of their own.
const WITHOUT_CONTENT: &[&str] = &[
    "proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2",
];

/// Where the program of the host is shown that steps may call: nobody inside can change it, and it
/// is what runs the gate.
const PROGRAM: &str = "/nightcrew/bin/nightcrew";

/// Serves requests to register; returns when nobody is left who could make one.
pub(super) fn serve(gate: &Gate, control: &OwnedFd) {
    let mut buffer = [0; 16];
    loop {
        match socket::receive(control.as_fd(), &mut buffer) {
            Ok(Some((1, fds))) if buffer[0] == ASKS_REGISTER => {
                let Ok([pidfd, link, message]) = <[OwnedFd; 3]>::try_from(fds) else {
                    continue;
                };
                let answer = link.try_clone();
                let result = register(gate, pidfd, link, message, None);
                if let Ok(link) = answer {
                    let _ = match result {
                        Ok(()) => socket::send(link.as_fd(), &[SAYS_READY], &[]),
                        Err(error) => {
                            let text = [&[SAYS_FAILED], error.to_string().as_bytes()].concat();
                            socket::send(link.as_fd(), &text, &[])
                        }
                    };
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                gate.no_more.store(true, Ordering::Release);
                gate.ring(-1);
                return;
            }
        }
    }
}

/// Most compiled policies kept although no environment has them at the moment.
const MAX_RULES: usize = 64;

/// Most bytes of what an environment asks for: its policy and paths.
const MAX_REQUEST: u64 = 64 << 20;

/// Begins a record, which lies among descriptors of all kinds.
const RECORD: u64 = 0x6e63_5f72_6563_6f72;

/// What is kept of an environment for a later gate: numbers of its descriptors, then its request.
fn record(pidfd: &OwnedFd, link: &OwnedFd, request: &Register) -> io::Result<OwnedFd> {
    let mut to = crate::wire::Writer::default();
    to.number(RECORD)
        .number(pidfd.as_raw_fd() as u64)
        .number(link.as_raw_fd() as u64)
        .bytes(&request.encode());
    file::memory_file(&to.finish())
}

/// Takes up the environments of an earlier gate; the descriptors that are theirs.
pub(super) fn take_up(gate: &Gate, left: &[RawFd]) -> HashSet<RawFd> {
    let mut taken = HashSet::new();
    for number in left {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        if !link.as_os_str().as_bytes().starts_with(b"/memfd:") {
            continue;
        }
        // Opened anew: its own position may be anywhere.
        let content = std::fs::read(format!("/proc/self/fd/{number}")).unwrap_or_default();
        let mut reader = Reader::new(&content);
        let (Ok(RECORD), Ok(pidfd), Ok(link), Ok(request)) = (
            reader.number(),
            reader.number(),
            reader.number(),
            reader.bytes(),
        ) else {
            continue;
        };
        let (pidfd, link) = (pidfd as RawFd, link as RawFd);
        if !left.contains(&pidfd) || !left.contains(&link) || taken.contains(&pidfd) {
            continue;
        }
        let request = request.to_vec();
        let (Ok(pidfd_owned), Ok(link_owned), Ok(memory)) =
            (file::adopt(pidfd), file::adopt(link), file::adopt(*number))
        else {
            continue;
        };
        taken.extend([pidfd, link, *number]);
        let Ok(message) = file::memory_file(&request) else {
            continue;
        };
        // An environment that cannot be taken up cannot be judged for: it ends.
        let dying = pidfd_owned.try_clone();
        if register(gate, pidfd_owned, link_owned, message, Some(memory)).is_err()
            && let Ok(dying) = dying
        {
            let _ = crate::sys::process::signal_pidfd(dying.as_fd(), libc::SIGKILL);
        }
    }
    taken
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn register(
    gate: &Gate,
    pidfd: OwnedFd,
    link: OwnedFd,
    message: OwnedFd,
    memory: Option<OwnedFd>,
) -> io::Result<()> {
    let mut content = Vec::new();
    let mut limited = std::fs::File::from(message).take(MAX_REQUEST);
    limited.read_to_end(&mut content)?;
    let request =
        Register::decode(&content).map_err(|_| invalid("a request that is not understood"))?;
    let init = process_of(&pidfd)?;
    let namespace =
        process::namespace(init).ok_or_else(|| invalid("an init without a pid namespace"))?;
    let memory = match memory {
        Some(memory) => memory,
        None => record(&pidfd, &link, &request)?,
    };
    let rules = gate.rules_for(&request);
    let shown = mounts::parse(&std::fs::read(format!("/proc/{init}/mountinfo"))?);
    let seen: Vec<&Mount> = shown
        .iter()
        .filter(|mount| !WITHOUT_CONTENT.contains(&mount.kind.as_str()))
        .collect();
    let mut own = Vec::new();
    let mut kinds = Vec::new();
    for mount in &seen {
        let shows = shows(mount, &request)?;
        // What is the environment's alone, and must be let go of when it ends.
        if matches!(shows, Shows::Overlay(_)) || mount.source == "scratch" {
            own.push(mount.device);
        }
        kinds.push(shows);
    }
    let identity = Identity {
        id: request.id.clone(),
        serial: gate.serial.fetch_add(1, Ordering::Relaxed),
        init,
        namespace,
        made: request.made,
        pidfd,
        link,
    };
    let environment = Arc::new(Environment::new(
        identity,
        rules,
        seen.iter().map(|mount| mount.id).collect(),
        own,
        memory,
    ));
    gate.enter(&environment, &seen, kinds);
    let mut marked = HashSet::new();
    for mount in &seen {
        let private = mount.kind == "overlay" || is_own_memory(mount);
        if private && !marked.insert(mount.device) {
            continue;
        }
        let at = mount.at.strip_prefix("/").unwrap_or(&mount.at);
        let path = Path::new("/proc")
            .join(init.to_string())
            .join("root")
            .join(at);
        let path = CString::new(path.as_os_str().as_bytes())?;
        let result = if private {
            fanotify::watch_file_system(gate.group.as_fd(), &path)
        } else {
            fanotify::watch_mount(gate.group.as_fd(), &path)
        };
        if let Err(error) = result {
            gate.leave(&environment);
            return Err(io::Error::new(
                error.kind(),
                format!("cannot watch {}: {error}", mount.at.display()),
            ));
        }
    }
    gate.environments
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(environment);
    gate.ring(-1);
    Ok(())
}

/// Memory file systems that the supervisor or the init made: nobody else sees them.
fn is_own_memory(mount: &Mount) -> bool {
    mount.kind == "tmpfs" && ["root", "scratch", masks::SOURCE].contains(&mount.source.as_str())
}

fn shows(mount: &Mount, request: &Register) -> io::Result<Shows> {
    if mount.kind == "overlay" {
        if mount.source == "root" && !mount.is_writable_overlay() {
            return Ok(Shows::Root);
        }
        // Folders of the host that nobody inside can change, but that are no part of the root.
        if !mount.is_writable_overlay() {
            return Ok(Shows::Files);
        }
        let (_, upper) = request
            .uppers
            .iter()
            .find(|(inside, _)| *inside == mount.at)
            .ok_or_else(|| {
                invalid(&format!(
                    "nobody said what is behind {}",
                    mount.at.display()
                ))
            })?;
        return Behind::open(mount.at.clone(), upper, &request.lowers)
            .map(|behind| Shows::Overlay(Arc::new(behind)));
    }
    Ok(match mount.source.as_str() {
        "root" if mount.kind == "tmpfs" => Shows::Root,
        masks::SOURCE if mount.kind == "tmpfs" => Shows::Mask,
        _ if mount.at == Path::new(PROGRAM) => Shows::Root,
        _ => Shows::Files,
    })
}

/// The process a pidfd names, as this process numbers it.
fn process_of(pidfd: &OwnedFd) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| invalid("no process behind a pidfd"))
}

/// Whether an environment's client is still there. It has nothing to say: only its hanging up counts.
pub(super) fn heed(environment: &Environment) -> bool {
    match socket::receive(environment.link.as_fd(), &mut [0; 16]) {
        Ok(Some(_)) => true,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => true,
        Ok(None) | Err(_) => false,
    }
}

impl Gate {
    /// A policy compiled for the root of a template; equal ones are shared.
    fn rules_for(&self, request: &Register) -> Arc<Rules> {
        let (root, policy) = (&request.root, &request.policy);
        let key = (root.clone(), serde_json::to_vec(policy).unwrap_or_default());
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rules.get(&key) {
            return Arc::clone(known);
        }
        let compiled = environment::compile(policy, &self.root_at(root, &request.trees), |place| {
            self.digest_of_host(&place.host)
        });
        let compiled = Arc::new(compiled);
        if rules.len() >= MAX_RULES {
            rules.retain(|_, rules| Arc::strong_count(rules) > 1);
        }
        rules.insert(key, Arc::clone(&compiled));
        compiled
    }

    fn root_at(&self, place: &Path, trees: &[PathBuf]) -> Arc<Root> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.len() >= MAX_RULES {
            roots.retain(|_, root| Arc::strong_count(root) > 1);
        }
        let root = roots
            .entry(place.to_owned())
            .or_insert_with(|| Arc::new(root_at(place, trees)));
        Arc::clone(root)
    }

    /// Makes an environment's mounts known.
    fn enter(&self, environment: &Arc<Environment>, seen: &[&Mount], kinds: Vec<Shows>) {
        let mut divided = self.divided.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        for (mount, shows) in seen.iter().zip(kinds) {
            let shared = divided
                .get(&mount.device)
                .and_then(std::sync::Weak::upgrade)
                .unwrap_or_else(|| {
                    let fresh = Arc::new(RwLock::new(false));
                    divided.insert(mount.device, Arc::downgrade(&fresh));
                    fresh
                });
            // Another policy over the same files: no answer holds for both.
            if matches!(shows, Shows::Root) {
                let rules = environment.rules();
                let differs = sites.values().any(|site| {
                    site.file_system == mount.device
                        && (!Arc::ptr_eq(site.environment.rules(), rules)
                            || site.environment.has_any_joined())
                });
                if differs {
                    *shared.write().unwrap_or_else(PoisonError::into_inner) = true;
                }
            }
            let site = Site {
                environment: Arc::clone(environment),
                shows,
                file_system: mount.device,
                divided: shared,
            };
            sites.insert(mount.id, Arc::new(site));
        }
        divided.retain(|_, shared| shared.strong_count() > 0);
    }

    /// Forgets an environment, and everything that keeps its file systems.
    pub(super) fn leave(&self, environment: &Environment) {
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        for mount in &environment.mounts {
            // Its number may be another environment's by now.
            if sites
                .get(mount)
                .is_some_and(|site| site.environment.serial == environment.serial)
            {
                sites.remove(mount);
            }
        }
        drop(sites);
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(&environment.file_systems);
        self.environments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| other.serial != environment.serial);
    }
}

/// The root of a template, as it is mounted in this mount namespace; `trees` is what it is made of
/// where that is not the host's folders.
pub(crate) fn root_at(place: &Path, trees: &[PathBuf]) -> Root {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    Root::of(&mounts::parse(&text), place)
        .with_trees(trees)
        .with_top(PathBuf::from(place))
}
