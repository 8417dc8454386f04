//! Keeps environments to their quota where the file system does not: looks at what was written
//! while steps run, and kills the step that goes beyond.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::environment::Link;
use crate::layer::UPPER;
use crate::message::Order;
use crate::spec::EnvironmentSpec;
use crate::storage::nameless::nameless;
use crate::storage::quota::{DiskUsage, Unmeasurable, measure};
use crate::sys::{attribute, btrfs, process};

/// Between two looks, unless looking takes long: then it must not take more than a tenth of the time.
const PAUSE: Duration = Duration::from_millis(100);
const SHARE: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A step over the quota from its beginning may free space, and write this much on the way.
const SLACK: DiskUsage = DiskUsage {
    bytes: 1 << 20,
    inodes: 64,
};

/// What stays free on the host's file system, at most: below, the step that wrote most goes.
const RESERVE: u64 = 1 << 30;
/// The same as a part of the file system.
const RESERVE_PART: u64 = 50;

/// The watch over all environments of a supervisor. Its thread lives while there are any.
#[derive(Debug, Default)]
pub(super) struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<Watched>,
    running: bool,
    ended: bool,
}

#[derive(Debug)]
struct Watched {
    link: Weak<Link>,
    /// What the environment writes to.
    trees: Vec<PathBuf>,
    bytes: Option<u64>,
    inodes: Option<u64>,
    /// What was there before: of another disk, on a file system where a fork takes it over.
    before: DiskUsage,
    /// The step last looked at, and what was used then.
    step: u64,
    used: DiskUsage,
    /// What was used before that step.
    start: DiskUsage,
    /// Whether the end of that step was seen.
    settled: bool,
}

impl Watch {
    /// Watches an environment that has a quota.
    pub(super) fn add(&self, spec: &EnvironmentSpec, link: &Arc<Link>) {
        let limits = &spec.limits;
        if limits.disk_bytes.is_none() && limits.disk_inodes.is_none() {
            return;
        }
        let trees = written(spec);
        let forked = spec.workspace.layer.as_path();
        let before = if btrfs::is_subvolume(forked) {
            measure(&trees, &|_| false).unwrap_or_default()
        } else {
            DiskUsage::default()
        };
        let mut watched = Watched {
            link: Arc::downgrade(link),
            trees,
            bytes: limits.disk_bytes,
            inodes: limits.disk_inodes,
            before,
            step: 0,
            used: DiskUsage::default(),
            start: DiskUsage::default(),
            settled: true,
        };
        // A layer that is resumed may be full.
        watched.used = watched.measure(None).unwrap_or_default();
        link.watch(watched.trees.clone());
        let mut state = self.0.lock();
        state.watched.push(watched);
        if !state.running {
            state.running = true;
            let shared = Arc::clone(&self.0);
            std::thread::spawn(move || shared.run());
        }
    }
}

/// Every tree that an environment writes to and nothing else does.
fn written(spec: &EnvironmentSpec) -> Vec<PathBuf> {
    let trees = [&spec.workspace].into_iter().chain(&spec.home);
    let mounts = spec.mounts.iter().filter_map(|mount| mount.upper.as_ref());
    let layers = trees.map(|tree| &tree.layer).chain(mounts);
    let uppers = layers
        .chain(&spec.root.writable)
        .map(|layer| layer.join(UPPER));
    uppers.chain(spec.outputs.clone()).collect()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut pause = PAUSE;
        loop {
            let state = self.lock();
            let waited = self
                .changed
                .wait_timeout_while(state, pause, |state| !state.ended);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.watched.retain(|one| one.link.strong_count() > 0);
            if state.ended || state.watched.is_empty() {
                state.running = false;
                return;
            }
            // Looked at without the lock: environments are made meanwhile.
            let mut watched = std::mem::take(&mut state.watched);
            drop(state);
            let started = Instant::now();
            watched.iter_mut().for_each(Watched::look);
            spare_the_host(&mut watched);
            pause = (started.elapsed() * SHARE).clamp(PAUSE, LONGEST_PAUSE);
            self.lock().watched.append(&mut watched);
        }
    }
}

impl Watched {
    fn look(&mut self) {
        let Some(link) = self.link.upgrade() else {
            return;
        };
        let (step, busy) = link.step();
        if step != self.step {
            let start = link.after().map_or(self.used, |used| used - self.before);
            (self.step, self.start, self.settled) = (step, start, false);
        }
        if self.settled {
            return;
        }
        self.settled = !busy;
        let init = process::process_of(link.pidfd()).filter(|_| busy);
        let Ok(used) = self.measure(init) else {
            let reason = "its files cannot be measured: folders lie too deep in each other";
            return kill(&link, step, reason.to_owned());
        };
        self.used = used;
        let most = |quota: Option<u64>, start: u64, slack: u64| {
            quota.map(|quota| {
                if start > quota {
                    start.saturating_add(slack)
                } else {
                    quota
                }
            })
        };
        let bytes = most(self.bytes, self.start.bytes, SLACK.bytes);
        let inodes = most(self.inodes, self.start.inodes, SLACK.inodes);
        if busy && used.exceeds(bytes, inodes) {
            kill(&link, step, self.reason(used));
        }
    }

    /// What is used now, with what processes below `init` hold open without a name.
    fn measure(&self, init: Option<u32>) -> Result<DiskUsage, Unmeasurable> {
        let slack = |quota: Option<u64>, start: u64, before: u64, slack: u64| {
            quota.map(|quota| {
                quota
                    .max(start)
                    .saturating_add(slack)
                    .saturating_add(before)
            })
        };
        let bytes = slack(self.bytes, self.start.bytes, self.before.bytes, SLACK.bytes);
        let inodes = slack(
            self.inodes,
            self.start.inodes,
            self.before.inodes,
            SLACK.inodes,
        );
        let mut used = measure(&self.trees, &|used| used.exceeds(bytes, inodes))? - self.before;
        used.bytes = used.bytes.saturating_add(init.map_or(0, nameless));
        Ok(used)
    }

    fn reason(&self, used: DiskUsage) -> String {
        let over = |what, used: u64, quota: Option<u64>| {
            let quota = quota.filter(|quota| used > *quota)?;
            Some(format!(
                "{used} {what} of workspace, home, outputs and other folders that are written are more than the quota of {quota}"
            ))
        };
        let bytes = over("bytes", used.bytes, self.bytes);
        let inodes = over("files", used.inodes, self.inodes);
        bytes
            .into_iter()
            .chain(inodes)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// When the host's own file system is nearly full, the step that wrote most ends.
fn spare_the_host(watched: &mut [Watched]) {
    let running = watched.iter().filter(|one| !one.settled);
    let short = running.filter(|one| {
        one.trees.iter().any(|tree| {
            attribute::file_system(tree)
                .is_ok_and(|host| host.free_bytes < RESERVE.min(host.bytes / RESERVE_PART))
        })
    });
    let worst = short.max_by_key(|one| (one.used - one.start).bytes);
    if let Some(one) = worst
        && let Some(link) = one.link.upgrade()
    {
        let reason = "the host's disk is nearly full, and this step wrote most".to_owned();
        kill(&link, one.step, reason);
    }
}

fn kill(link: &Link, step: u64, reason: String) {
    link.blame(step, reason);
    // An environment that is gone has no step left.
    let _ = link.order(&Order::Kill(step), &[]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FolderMount, Workspace};

    #[test]
    fn everything_that_an_environment_alone_writes_to_is_watched() {
        let tree = |layer: &str| Workspace {
            base: None,
            frozen: Vec::new(),
            layer: layer.into(),
        };
        let mount = |upper: Option<&str>| FolderMount {
            source: "/cache".into(),
            target: "/mnt/cache".into(),
            writable: true,
            upper: upper.map(PathBuf::from),
        };
        let mut spec = EnvironmentSpec::new("a", tree("/w"));
        spec.home = Some(tree("/h"));
        spec.mounts = vec![mount(Some("/m")), mount(None), mount(Some("/n"))];
        spec.root.writable = Some("/r".into());
        spec.outputs = Some("/o".into());
        let trees = [
            "/w/upper", "/h/upper", "/m/upper", "/n/upper", "/r/upper", "/o",
        ];
        assert_eq!(written(&spec), trees.map(PathBuf::from));
    }
}
