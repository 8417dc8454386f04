//! Escape attempts as data: what a hostile step would try first, for demonstrations and tests.

/// One attempt. Its script is for `/bin/sh` and exits 0 only when it escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapeAttempt {
    /// Stable name.
    pub name: &'static str,
    /// What it tries, as a sentence.
    pub what: &'static str,
    /// What a step runs with `sh -c`. Needs nothing but the usual shell programs.
    pub script: &'static str,
}

/// Every attempt. Each must be refused in every environment.
///
/// `see-host-processes` and `kill-host-process` aim at the host process whose id is in the variable
/// `HOST_PID`, when it is set.
#[must_use]
pub fn escape_attempts() -> &'static [EscapeAttempt] {
    &ATTEMPTS
}

const ATTEMPTS: [EscapeAttempt; 14] = [
    EscapeAttempt {
        name: "read-passwords",
        what: "read the host's password hashes",
        script: "cat /etc/shadow",
    },
    EscapeAttempt {
        name: "read-homes",
        what: "read the home folders of the host",
        script: r#"ls -d /root/* /root/.[a-z]* 2>/dev/null | grep . && exit 0; ls -A /home | grep -v '^agent$'"#,
    },
    EscapeAttempt {
        name: "see-host-processes",
        what: "see or read processes of the host",
        script: r#"[ -n "${HOST_PID:-}" ] && [ -d "/proc/$HOST_PID" ] && exit 0
[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 12 ]"#,
    },
    EscapeAttempt {
        name: "read-init-memory",
        what: "look into the environment's own init, and through its root",
        script: "cat /proc/1/environ /proc/1/maps 2>/dev/null | grep . || ls /proc/1/root/ /proc/1/fd/",
    },
    EscapeAttempt {
        name: "write-system",
        what: "replace a program of the system",
        script: "echo owned >/usr/bin/owned || cp /bin/sh /usr/bin/owned || echo x >/etc/passwd || chmod 777 /usr",
    },
    EscapeAttempt {
        name: "write-kernel-settings",
        what: "change kernel settings through /proc",
        script: "echo '|/tmp/x' >/proc/sys/kernel/core_pattern || echo b >/proc/sysrq-trigger || echo 1 >/proc/sys/kernel/panic",
    },
    EscapeAttempt {
        name: "reach-metadata",
        what: "fetch the cloud machine's credentials",
        script: "if command -v bash >/dev/null; then bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'; else wget -T 2 -q -O - http://169.254.169.254/; fi",
    },
    EscapeAttempt {
        name: "reach-internet",
        what: "connect to the internet",
        script: "if command -v bash >/dev/null; then bash -c 'exec 3<>/dev/tcp/1.1.1.1/443'; else wget -T 2 -q -O - http://1.1.1.1/; fi",
    },
    EscapeAttempt {
        name: "mount-something",
        what: "mount a file system over the root",
        script: "mount -t tmpfs none /mnt || mount --bind /work /mnt || mount -o remount,rw /usr || umount /proc/sys",
    },
    EscapeAttempt {
        name: "new-namespaces",
        what: "gain capabilities in a namespace of its own",
        script: "unshare -Ur true || unshare -m true || unshare -n true || nsenter -t 1 -m true",
    },
    EscapeAttempt {
        name: "make-device",
        what: "make a disk device and read the host's disk",
        script: "cd /tmp && { mknod disk b 8 0 || mknod disk b 254 0 || mknod mem c 1 1; }",
    },
    EscapeAttempt {
        name: "kill-host-process",
        what: "kill a process of the host",
        script: r#"for p in ${HOST_PID:-} 99999 4242; do
  [ "$p" -gt 40 ] && kill -9 "$p" && exit 0
done; exit 1"#,
    },
    EscapeAttempt {
        name: "link-out-of-workspace",
        what: "write and read the host through a link in the workspace",
        script: "ln -sfn /etc/shadow stolen && cat stolen && exit 0; ln -sfn /etc/cron.d out && mkdir -p out 2>/dev/null; echo x >out/owned",
    },
    EscapeAttempt {
        name: "gain-privileges",
        what: "become more than it is through a set-user-id program",
        script: r#"cp /bin/sh /tmp/s && chmod 6755 /tmp/s; caps=$(/tmp/s -c 'grep CapEff /proc/self/status' | tr -d '\t ' | cut -d: -f2)
[ -n "$caps" ] && [ "$caps" != 0000000000000000 ]"#,
    },
];
