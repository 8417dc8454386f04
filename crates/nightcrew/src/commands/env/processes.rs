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
}
