//! What a spec requires against what an environment has.

use crate::report::{IsolationLevel, IsolationReport};
use crate::spec::Required;

/// What to do about a layer that is not in force, by its name.
const CURES: [(&str, &str); 15] = [
    (
        "overlay",
        "Linux 5.11 or later, and workspaces on ext4, xfs, btrfs or tmpfs",
    ),
    (
        "landlock",
        "Linux 5.13 or later with `landlock` in its `lsm=` list",
    ),
    (
        "noexec",
        "the exec mode `strict`; in `allow-list` it is in force where no gate judges content",
    ),
    (
        "wx",
        "Linux 6.3 or later; it is in force in the exec mode `strict` only",
    ),
    (
        "cgroup-memory",
        "a limit `memory` in the spec, and a memory cgroup: run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "cgroup-cpu",
        "a limit `cpu_milli` in the spec, and a CPU cgroup: run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "cgroup-pids",
        "a limit `memory` in the spec; run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "cgroup-io",
        "the second version of cgroups with its io controller; run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "cgroup-freeze",
        "run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "cgroup-kill",
        "Linux 5.14 or later with the second version of cgroups; run as root, or under `systemd-run --user --scope -p Delegate=yes`",
    ),
    (
        "exec-gate",
        "run as root on a kernel with fanotify permission events",
    ),
    (
        "bpf-lsm",
        "run as root on a kernel with `bpf` in its `lsm=` list",
    ),
    (
        "network-brokered",
        "an environment whose definition has `network`",
    ),
    ("disk-quota", "workspaces on btrfs, or as root on ext4"),
    ("vm", "QEMU, and /dev/kvm for speed"),
];

/// A layer that is missing, with the cure.
pub(super) fn layer(name: &str) -> String {
    let cure = CURES.iter().find(|(layer, _)| *layer == name).map_or(
        "`nightcrew doctor` says what this host can do",
        |(_, cure)| cure,
    );
    format!("layer `{name}` is not in force (cure: {cure})")
}

fn level(required: IsolationLevel, reached: IsolationLevel) -> String {
    let cure = match required {
        IsolationLevel::L0 => "see `nightcrew doctor`",
        IsolationLevel::L1 => {
            "run as root on a kernel with fanotify permission events, and set an exec mode other than `off`"
        }
        IsolationLevel::L2 => "run as root on a kernel with `bpf` in its `lsm=` list",
        IsolationLevel::L3 => "use the virtual machine driver",
    };
    format!("level {required:?} is required and {reached:?} was reached (cure: {cure})")
}

/// What is required and absent, one sentence each.
pub(crate) fn missing(required: &Required, report: &IsolationReport) -> Vec<String> {
    let too_low = required.level.filter(|level| report.level < *level);
    let absent = required
        .layers
        .iter()
        .filter(|name| !report.layers.contains(name));
    too_low
        .map(|required| level(required, report.level))
        .into_iter()
        .chain(absent.map(|name| layer(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shortfall_is_named_with_a_cure_and_nothing_else() {
        let report = IsolationReport {
            level: IsolationLevel::L0,
            layers: vec!["landlock".to_owned()],
            self_test: Vec::new(),
            weaker: Vec::new(),
        };
        assert_eq!(missing(&Required::default(), &report), Vec::<String>::new());
        let required = Required {
            level: Some(IsolationLevel::L1),
            layers: ["landlock", "cgroup-memory", "unheard-of"]
                .map(str::to_owned)
                .to_vec(),
        };
        let missing = missing(&required, &report);
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing[0].starts_with("level L1 is required and L0"));
        assert!(missing[1].starts_with("layer `cgroup-memory`"));
        assert!(missing[2].contains("doctor"));
        assert!(missing.iter().all(|sentence| sentence.contains("(cure: ")));
    }
}
