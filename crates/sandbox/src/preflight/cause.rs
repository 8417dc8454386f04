//! From a refusal to its cause and cure.

use std::fs;
use std::path::Path;

use super::Finding;

/// A setting that forbids user namespaces: file, value that forbids, cause, cure.
const SETTINGS: [(&str, &str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts unprivileged user namespaces (the default of Ubuntu 23.10 and later)",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0   # or an AppArmor profile for the nightcrew program that allows `userns`",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "the kernel lets only root make user namespaces",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are limited to none",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
];

/// Explains the refusal `errno` of the thing `name`.
pub(super) fn explain(name: &str, errno: i32, root: bool) -> Finding {
    let (cause, cure) = match name {
        _ if errno == libc::ECANCELED => {
            ("not tried: something it needs was refused".to_owned(), "see the findings above".to_owned())
        }
        "user-namespace" | "mount-namespace" | "tmpfs" => {
            namespace(errno, root, |path| fs::read_to_string(path).ok(), in_container())
        }
        "overlay" => (
            format!("overlay file systems in a user namespace are refused ({})", text(errno)),
            "Linux 5.11 or later, and a temporary folder on ext4, xfs, btrfs or tmpfs; without them workspaces are copied".to_owned(),
        ),
        "proc" => (
            format!("a new /proc is refused ({}); container engines mask parts of theirs, which forbids it", text(errno)),
            "run the container with `--security-opt systempaths=unconfined`".to_owned(),
        ),
        "mount-attributes" => {
            (format!("mount_setattr is refused ({})", text(errno)), "Linux 5.12 or later".to_owned())
        }
        "noexec" => (
            format!("mounts cannot forbid execution ({})", text(errno)),
            "Linux 5.12 or later".to_owned(),
        ),
        "terminals" => (
            format!("a /dev/pts of one's own is refused ({})", text(errno)),
            "a kernel with CONFIG_UNIX98_PTYS".to_owned(),
        ),
        "seccomp-notify" => (
            format!("system call filters cannot ask another process ({})", text(errno)),
            "Linux 5.0 or later; nothing depends on it today".to_owned(),
        ),
        "landlock" => (
            format!("Landlock is absent or switched off ({})", text(errno)),
            "Linux 5.13 or later, with `landlock` in the boot parameter `lsm=`".to_owned(),
        ),
        "wx" => (
            format!("memory can become executable after it was writable ({})", text(errno)),
            "Linux 6.3 or later".to_owned(),
        ),
        "seccomp" => (
            format!("system call filters are refused ({})", text(errno)),
            "a kernel with CONFIG_SECCOMP_FILTER".to_owned(),
        ),
        _ => namespace(errno, root, |path| fs::read_to_string(path).ok(), in_container()),
    };
    Finding::absent(name, cause, cure)
}

/// Why a namespace is refused, given how to read settings and whether this is a container.
fn namespace(
    errno: i32,
    root: bool,
    setting: impl Fn(&str) -> Option<String>,
    container: bool,
) -> (String, String) {
    for (path, forbids, cause, cure) in SETTINGS {
        // Root is above the settings for the unprivileged.
        if root && !path.ends_with("max_user_namespaces") {
            continue;
        }
        if setting(path).is_some_and(|value| value.trim() == forbids) {
            return (cause.to_owned(), cure.to_owned());
        }
    }
    if errno == libc::ENOSPC {
        return (
            "the limit on namespaces is reached".to_owned(),
            "sudo sysctl -w user.max_user_namespaces=15000 user.max_net_namespaces=15000"
                .to_owned(),
        );
    }
    if container {
        return (
            format!("the container's own system call filter refuses namespaces ({})", text(errno)),
            "run the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`, or Nightcrew outside of it".to_owned(),
        );
    }
    (
        format!("the kernel refuses namespaces ({})", text(errno)),
        "a kernel with CONFIG_USER_NS and CONFIG_NET_NS".to_owned(),
    )
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists())
        || fs::read_to_string("/proc/1/cgroup").is_ok_and(|groups| {
            ["docker", "kubepods", "containerd", "libpod", "lxc"]
                .iter()
                .any(|word| groups.contains(word))
        })
}

fn text(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(path: &'static str, value: &'static str) -> impl Fn(&str) -> Option<String> {
        move |asked| (asked == path).then(|| format!("{value}\n"))
    }

    #[test]
    fn each_forbidding_setting_is_named_with_its_cure() {
        for (path, forbids, cause, cure) in SETTINGS {
            let found = namespace(libc::EPERM, false, only(path, forbids), true);
            assert_eq!(found, (cause.to_owned(), cure.to_owned()));
        }
    }

    #[test]
    fn a_setting_that_permits_is_not_blamed() {
        let (path, ..) = SETTINGS[0];
        let (cause, _) = namespace(libc::EPERM, false, only(path, "0"), true);
        assert!(cause.contains("container"), "{cause}");
    }

    #[test]
    fn root_is_not_told_of_settings_for_the_unprivileged() {
        let (path, forbids, cause, _) = SETTINGS[0];
        let (found, _) = namespace(libc::EPERM, true, only(path, forbids), false);
        assert_ne!(found, cause);
    }
}
