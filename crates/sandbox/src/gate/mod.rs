//! The gate: decides by content which files of environments may be opened and executed.
//!
//! Two processes of the supervisor's, made before the first environment that wants them:
//!
//! - the **anchor** holds the fanotify group and every descriptor the gate uses, and does nothing
//!   but start the gate, again when it dies. While the anchor lives, an open that nobody answers
//!   *waits*; it is never permitted for want of an answer.
//! - the **gate** shares the anchor's table of descriptors and answers. Files whose openers wait, and
//!   what it knows of environments, are descriptors: they survive it, and the next gate takes them up
//!   where the last one fell.
//!
//! `policy`, `content`, `index`, `events`, `provenance`, `queue` are plain data and rules;
//! `teller` speaks to whoever is refused;
//! `judge` is one open from event to answer; `daemon` is the gate process, `keeper` its housekeeping,
//! `anchor` the other process; `door` is what the init and the client hold.

mod anchor;
mod beat;
pub(crate) mod content;
mod daemon;
pub(crate) mod digest;
mod digests;
pub(crate) mod door;
pub(crate) mod environment;
pub(crate) mod events;
mod held;
pub(crate) mod index;
mod judge;
mod keeper;
pub(crate) mod masks;
pub(crate) mod policy;
mod process;
mod provenance;
mod queue;
mod real;
mod register;
mod teller;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

pub(crate) use anchor::Anchor;

use crate::exec_policy::Digest;
use crate::sys::fanotify::{self, Event};
use crate::sys::{about, c_path};
use environment::{Environment, Rules, Site};

/// First bytes of what the gate says to an environment's client, and of what it is asked.
pub(crate) const SAYS_READY: u8 = 0;
pub(crate) const SAYS_FAILED: u8 = 1;
pub(crate) const SAYS_EVENT: u8 = 2;
pub(crate) const ASKS_REGISTER: u8 = 3;

/// What rules are compiled from: the template's place and the policy as text.
type Origin = (PathBuf, Vec<u8>);

/// The state of the gate process.
struct Gate {
    group: OwnedFd,
    /// Its own pid namespace, the host's.
    namespace: u64,
    sites: RwLock<HashMap<u64, Arc<Site>>>,
    environments: Mutex<Vec<Arc<Environment>>>,
    rules: Mutex<HashMap<Origin, Arc<Rules>>>,
    roots: Mutex<HashMap<PathBuf, Arc<index::Root>>>,
    /// By file system: whether environments that share it want different answers.
    divided: Mutex<HashMap<u64, Weak<RwLock<bool>>>>,
    held: Mutex<held::Held>,
    digests: digests::Digests,
    later: queue::Queue<Event>,
    /// Wakes the keeper.
    bell: OwnedFd,
    /// Whether the keeper will look for events to tell by itself.
    telling: AtomicBool,
    serial: AtomicU64,
    /// Whether nobody is left who could register an environment.
    no_more: AtomicBool,
    teller: teller::Teller,
    /// Signs of life, and events being judged, for the gate after this one.
    beat: beat::Beat,
}

impl Gate {
    /// The site a mount is.
    fn site(&self, mount: u64) -> Option<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.get(&mount).map(Arc::clone)
    }

    fn environments(&self) -> Vec<Arc<Environment>> {
        self.environments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells the keeper that somebody waits for the lease on a file.
    fn wanted(&self, file: &File) {
        self.ring(file.as_raw_fd());
    }

    /// Wakes the keeper, for a lease or, with -1, for anything else.
    fn ring(&self, number: i32) {
        crate::sys::file::write_all(&self.bell, &number.to_ne_bytes());
    }

    /// Has the keeper look for events that were counted.
    fn tell_later(&self) {
        if !self.telling.swap(true, Ordering::AcqRel) {
            self.ring(-1);
        }
    }

    /// The digest of a file of the host.
    fn digest_of_host(&self, path: &Path) -> io::Result<(Digest, u64)> {
        let about = about::at(&c_path(path)?)?;
        if let Some(digest) = self.digests.get(&about) {
            return Ok((digest, about.size));
        }
        let file = File::open(path)?;
        let about = about::of(&file)?;
        let found = digest::of_file(&file)?;
        self.digests.put(&about, found.0);
        Ok(found)
    }

    /// Sites of an environment.
    fn sites_of(&self, environment: &Environment) -> Vec<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites
            .values()
            .filter(|site| site.environment.serial == environment.serial)
            .map(Arc::clone)
            .collect()
    }

    /// Asks about every file again, because an environment wants other answers than before.
    fn reconsider(&self, environment: &Environment) {
        let mine = self.sites_of(environment);
        let all: Vec<Arc<Site>> = {
            let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
            sites.values().map(Arc::clone).collect()
        };
        for site in mine {
            let wants = |site: &Site| {
                (
                    Arc::as_ptr(site.environment.rules()),
                    site.environment.has_any_joined(),
                )
            };
            let first = wants(&site);
            // Held while it changes: nobody is between having judged by the old answers and
            // saying "never again".
            let mut divided = site.divided.write().unwrap_or_else(PoisonError::into_inner);
            *divided = all
                .iter()
                .filter(|other| other.file_system == site.file_system)
                .filter(|other| other.environment.serial != site.environment.serial)
                .any(|other| first.1 || wants(other) != first);
        }
        let _ = fanotify::ask_again(self.group.as_fd());
    }
}
