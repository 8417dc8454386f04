//! The environment git runs in: ours, whole; nothing of the host's but the search path.

use std::ffi::{OsStr, OsString};

/// Settings that no repository and no host may change; they reach git and its children through `GIT_CONFIG_COUNT`.
///
/// `core.fsync` and `core.fsyncMethod`: objects and refs are on disk before git returns; loose objects share a flush.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.fsync", "committed,pack-metadata"),
    ("core.fsyncMethod", "batch"),
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("credential.helper", ""),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("transfer.fsckObjects", "true"),
    // Old, harmless faults of real histories: refusing them would refuse real repositories.
    ("fetch.fsck.zeroPaddedFilemode", "warn"),
    ("fetch.fsck.badTimezone", "warn"),
    ("fetch.fsck.missingSpaceBeforeDate", "warn"),
    ("receive.fsck.zeroPaddedFilemode", "warn"),
    ("receive.fsck.badTimezone", "warn"),
    ("receive.fsck.missingSpaceBeforeDate", "warn"),
    ("transfer.hideRefs", "refs/nightcrew"),
    ("advice.detachedHead", "false"),
    // We read repositories that belong to other users. Their configuration can start nothing: hooks, monitors and
    // filters are off, and environments cannot write the trees that git runs in.
    ("safe.directory", "*"),
    ("pack.threads", "1"),
    ("pack.writeReverseIndex", "false"),
    ("index.version", "2"),
    ("diff.renames", "true"),
    ("diff.renameLimit", "1000"),
    ("merge.renames", "true"),
];

/// Variables of the host that reach git only when it talks to another machine.
pub(super) const NETWORK_VARIABLES: &[&str] = &[
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

pub(super) fn environment(search_path: &OsStr) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = vec![("PATH".into(), search_path.to_owned())];
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("XDG_CONFIG_HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("SSH_ASKPASS", "/bin/false"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_ALLOW_PROTOCOL", "file:http:https:ssh:git"),
        (
            "GIT_SSH_COMMAND",
            "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30",
        ),
        ("GIT_HTTP_LOW_SPEED_LIMIT", "1000"),
        ("GIT_HTTP_LOW_SPEED_TIME", "60"),
        // An identity is never guessed from the host; ours is given per commit.
        ("GIT_AUTHOR_NAME", "Nightcrew"),
        ("GIT_AUTHOR_EMAIL", "nightcrew@localhost"),
        ("GIT_COMMITTER_NAME", "Nightcrew"),
        ("GIT_COMMITTER_EMAIL", "nightcrew@localhost"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
    ] {
        all.push((name.into(), value.into()));
    }
    all.push(("GIT_CONFIG_COUNT".into(), SETTINGS.len().to_string().into()));
    for (n, (key, value)) in SETTINGS.iter().enumerate() {
        all.push((format!("GIT_CONFIG_KEY_{n}").into(), (*key).into()));
        all.push((format!("GIT_CONFIG_VALUE_{n}").into(), (*value).into()));
    }
    all
}
