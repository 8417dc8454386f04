//! What an environment uses, seen from the host's `/proc`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Every process of the host by its parent.
pub(super) struct Processes {
    children: HashMap<u32, Vec<u32>>,
}

/// What runs in one environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Processes, the environment's own first one among them.
    pub(super) processes: u64,
    /// Resident memory in bytes; what they share is counted for each.
    pub(super) memory: u64,
}

impl Processes {
    /// Looks once.
    pub(super) fn look() -> Self {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if let Some(parent) = parent(&entry.path()) {
                children.entry(parent).or_default().push(id);
            }
        }
        Self { children }
    }

    /// What runs below a supervisor.
    pub(super) fn below(&self, supervisor: u32) -> Used {
        let mut used = Used::default();
        let mut left = self.children.get(&supervisor).cloned().unwrap_or_default();
        while let Some(id) = left.pop() {
            used.processes += 1;
            used.memory += resident(id).unwrap_or(0);
            left.extend(self.children.get(&id).into_iter().flatten());
        }
        used
    }
}

/// The fourth field of `stat`, behind a name that may contain anything.
fn parent(folder: &Path) -> Option<u32> {
    let text = fs::read(folder.join("stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let rest = &text[text.rfind(')')? + 1..];
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn resident(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Bytes that a tree takes up on disk, and whether there was more than is worth looking at.
pub(super) fn on_disk(folder: &Path) -> (u64, bool) {
    use std::os::unix::fs::MetadataExt;
    /// Files and folders looked at.
    const MOST: u32 = 200_000;
    let mut left = vec![folder.to_owned()];
    let (mut bytes, mut seen) = (0_u64, 0);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return (bytes, true);
            }
            let Ok(meta) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(meta.blocks() * 512);
            if meta.is_dir() {
                left.push(entry.path());
            }
        }
    }
    (bytes, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_below_its_parent() {
        let own = std::process::id();
        let up = parent(Path::new("/proc/self")).unwrap();
        let used = Processes::look().below(up);
        assert!(used.processes >= 1 && used.memory > 0, "{used:?}");
        assert!(resident(own).unwrap() > 0);
        assert_eq!(Processes::look().below(u32::MAX), Used::default());
    }

    #[test]
    fn files_are_counted_with_what_they_take() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), vec![1; 100_000]).unwrap();
        let (bytes, more) = on_disk(folder.path());
        assert!((100_000..300_000).contains(&bytes) && !more, "{bytes}");
    }
}
