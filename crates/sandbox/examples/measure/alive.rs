//! Many environments at once: time to make them, memory, time to end them, and what is left.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::say;
use crate::world::{World, modes};

pub(crate) fn measure(count: usize) {
    for (words, mode) in modes() {
        let world = World::new();
        let base = world.tree("base", 50_000);
        // One before counting: templates are made with the first.
        let first = world.supervisor.create(&world.spec("first", &base, mode));
        drop(first.expect("an environment"));
        let before = Left::now(&world);
        let memory = available();
        let began = Instant::now();
        let alive = Mutex::new(Vec::with_capacity(count));
        both(count, &|n| {
            let spec = world.spec(&n.to_string(), &base, mode);
            let environment = world.supervisor.create(&spec).expect("an environment");
            alive.lock().expect("no panic").push(environment);
        });
        let created = began.elapsed().as_secs_f64();
        let used = memory.saturating_sub(available());
        let alive = alive.into_inner().expect("no panic");
        say(
            &format!("{count} environments ({words}): created"),
            created,
            " s",
        );
        #[expect(clippy::cast_precision_loss, reason = "kibibytes and a count")]
        let each = used as f64 / 1024.0 / count as f64;
        say(
            &format!("{words}: memory of each, from the machine's available memory"),
            each,
            " MiB",
        );
        say(
            &format!("{words}: memory of each, share of pages of its init"),
            pages(&world),
            " MiB",
        );
        let began = Instant::now();
        let alive: Vec<_> = alive.into_iter().map(|one| Mutex::new(Some(one))).collect();
        both(count, &|n| {
            let taken = alive[n].lock().expect("no panic").take();
            taken.expect("an environment").destroy().expect("destroyed");
        });
        let ended = began.elapsed().as_secs_f64();
        say(
            &format!("{count} environments ({words}): destroyed"),
            ended,
            " s",
        );
        for n in 0..count {
            world.remove(&n.to_string());
        }
        Left::now(&world).compare(&before, words);
    }
}

/// Does it for each number, from as many threads as there are cores.
pub(crate) fn both(count: usize, each: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    each(n);
                }
            });
        }
    });
}

/// What must be the same before and after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) processes: usize,
    pub(crate) mounts: usize,
    pub(crate) descriptors: usize,
    pub(crate) own_descriptors: usize,
    pub(crate) cgroups: usize,
    pub(crate) files: usize,
}

impl Left {
    pub(crate) fn now(world: &World) -> Self {
        let supervisor = format!("/proc/{}", world.supervisor.process_id());
        let lines = |file: &str| {
            std::fs::read_to_string(format!("{supervisor}/{file}")).map_or(0, |t| t.lines().count())
        };
        Self {
            processes: descendants(world.supervisor.process_id()).len(),
            mounts: lines("mountinfo"),
            descriptors: entries(Path::new(&format!("{supervisor}/fd"))),
            own_descriptors: entries(Path::new("/proc/self/fd")),
            cgroups: cgroups(Path::new("/sys/fs/cgroup"), 0),
            files: entries(world.place.path()),
        }
    }

    /// Says what grew.
    pub(crate) fn compare(&self, before: &Self, words: &str) {
        let mut left = 0;
        for (what, now, then) in [
            ("processes", self.processes, before.processes),
            ("mounts", self.mounts, before.mounts),
            (
                "descriptors of the supervisor",
                self.descriptors,
                before.descriptors,
            ),
            (
                "descriptors of the client",
                self.own_descriptors,
                before.own_descriptors,
            ),
            ("cgroups", self.cgroups, before.cgroups),
            ("files", self.files, before.files),
        ] {
            if now > then {
                left += now - then;
                println!("# {words}: {what} grew from {then} to {now}");
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        say(
            &format!("{words}: processes, mounts, descriptors, cgroups, files left"),
            left as f64,
            "",
        );
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Groups of ours anywhere below the hierarchies.
fn cgroups(folder: &Path, depth: usize) -> usize {
    if depth > 6 {
        return 0;
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            let ours = entry.path().to_string_lossy().contains("nightcrew");
            usize::from(ours) + cgroups(&entry.path(), depth + 1)
        })
        .sum()
}

/// Ids of all processes below one.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    found.split_off(1)
}

fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Mean proportional share of pages of the inits, in MiB.
fn pages(world: &World) -> f64 {
    let shares: Vec<f64> = descendants(world.supervisor.process_id())
        .into_iter()
        .filter_map(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().split(' ').next()?.parse::<f64>().ok()
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = shares.len().max(1) as f64;
    shares.iter().sum::<f64>() / 1024.0 / count
}
