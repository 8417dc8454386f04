//! What depends on who asks: cgroups, watching executions, user maps.

use std::collections::HashSet;

use super::Finding;
use crate::cgroup::{Ability, Groups};
use crate::sys::{creds, watch};

/// Where an ordinary user gets cgroups from.
const DELEGATE: &str =
    "run as root, or as `systemd-run --user --scope -p Delegate=yes nightcrew …`";

/// Container engines show cgroups read-only.
const CONTAINER: &str =
    "run the container with a writable cgroup file system, or Nightcrew outside of it";

/// One finding for each thing that cgroups do.
pub(super) fn cgroups() -> Vec<Finding> {
    let groups = Groups::find(&[std::process::id()]);
    let has: HashSet<Ability> = groups.abilities().into_iter().collect();
    let obstacle = groups.obstacle.clone();
    groups.finish();
    Ability::ALL
        .iter()
        .map(|(ability, layer, controller)| {
            if has.contains(ability) {
                return Finding::active(layer, "");
            }
            let (cause, cure) = match (ability, &obstacle) {
                (_, Some(obstacle)) if obstacle.contains("Read-only") => {
                    (obstacle.clone(), CONTAINER)
                }
                (_, Some(obstacle)) => (obstacle.clone(), DELEGATE),
                (Ability::Io, None) => (
                    "the second version of cgroups hands no io controller on to here".to_owned(),
                    "the second version of cgroups alone: `systemd.unified_cgroup_hierarchy=1`",
                ),
                (Ability::Kill, None) => (
                    "no second version of cgroups here; processes are killed with their init"
                        .to_owned(),
                    "Linux 5.14 or later with cgroup2 mounted",
                ),
                (_, None) => (
                    format!("no `{controller}` controller is handed on to this process's cgroup"),
                    DELEGATE,
                ),
            };
            Finding::absent(layer, cause, cure)
        })
        .collect()
}

/// Whether executions can be held until somebody has judged them.
pub(super) fn exec_gate() -> Finding {
    const NAME: &str = "exec-gate";
    match watch::try_permission_events() {
        Ok(()) => Finding::active(NAME, "fanotify permission events"),
        Err(error) if creds::effective_uid() != 0 => Finding::absent(
            NAME,
            format!("only root may hold executions ({error})"),
            "run as root; without it, unknown content executes nowhere in the modes `allow-list` and `strict`",
        ),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Finding::absent(
            NAME,
            "this root lacks CAP_SYS_ADMIN of the host, as in a container",
            "run the container with `--cap-add SYS_ADMIN`, or Nightcrew outside of it",
        ),
        Err(error) => Finding::absent(
            NAME,
            format!("fanotify permission events are refused ({error})"),
            "a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
        ),
    }
}

/// Said because other tools need it.
pub(super) fn newuidmap() -> Finding {
    Finding::active(
        "newuidmap",
        "not needed: one user is mapped, which the kernel lets everybody do",
    )
}
