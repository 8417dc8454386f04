//! What an environment shows and lets be written: 22, 25, 26 of the catalogue.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::kit::{self, stop};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "fs-traversal-passwords",
        22,
        "read the host's password hashes",
        passwords,
    )
    .root(),
    Attack::new("fs-dev-block", 25, "find a raw disk in /dev", |_| {
        device(|metadata| metadata.mode() & libc::S_IFMT == libc::S_IFBLK)
    })
    .root(),
    Attack::new("fs-dev-kvm", 25, "open /dev/kvm", |_| {
        open_any(&[
            "/dev/kvm",
            "/dev/vhost-net",
            "/dev/vhost-vsock",
            "/dev/vfio/vfio",
        ])
    })
    .uncontrolled(),
    Attack::new("fs-dev-loop", 25, "open the loop controller", |_| {
        open_any(&["/dev/loop-control", "/dev/loop0", "/dev/mapper/control"])
    })
    .root(),
    Attack::new("fs-dev-tun", 25, "open /dev/net/tun", |_| {
        open_any(&["/dev/net/tun"])
    })
    .root(),
    Attack::new(
        "fs-dev-memory",
        25,
        "open the machine's memory or ports",
        |_| open_any(&["/dev/mem", "/dev/port", "/dev/kmem"]),
    )
    .uncontrolled(),
    Attack::new("fs-dev-kmsg", 25, "read the kernel's log", |_| {
        open_any(&["/dev/kmsg"])
    })
    .root(),
    Attack::new(
        "fs-dev-input",
        25,
        "open consoles, input or graphics",
        |_| {
            open_any(&[
                "/dev/console",
                "/dev/tty0",
                "/dev/tty1",
                "/dev/vcs",
                "/dev/input/event0",
                "/dev/dri/card0",
                "/dev/fb0",
                "/dev/uinput",
                "/dev/snd/timer",
            ])
        },
    )
    .root(),
    Attack::new(
        "fs-secrets-homes",
        26,
        "read keys and credentials in home folders",
        secrets,
    ),
    Attack::new(
        "fs-secrets-system",
        26,
        "read host keys, machine ids and secrets in /etc, /var and /run",
        |_| {
            readable(&[
                "/etc/shadow",
                "/etc/gshadow",
                "/etc/sudoers",
                "/etc/ssh/ssh_host_ed25519_key",
                "/etc/ssh/ssh_host_rsa_key",
                "/etc/machine-id",
                "/var/lib/dbus/machine-id",
                "/var/lib/nightcrew",
                "/run/secrets",
                "/var/run/secrets/kubernetes.io/serviceaccount/token",
                "/root",
                "/sys/class/dmi/id/product_uuid",
                "/sys/firmware",
            ])
        },
    )
    .root(),
    Attack::new(
        "fs-secrets-sockets",
        26,
        "find sockets of container engines, agents or the desktop",
        sockets,
    )
    .uncontrolled(),
    Attack::new(
        "fs-secrets-variables",
        26,
        "read secrets from variables of the environment",
        variables,
    )
    .uncontrolled(),
    Attack::new(
        "fs-write-system",
        22,
        "write to the system's folders",
        |_| {
            writable(&[
                "/usr", "/usr/bin", "/usr/lib", "/etc", "/lib", "/bin", "/sbin", "/",
            ])
        },
    )
    .root(),
    Attack::new("fs-write-inputs", 22, "write to the inputs", |_| {
        writable(&["/nightcrew/in", "/nightcrew"])
    })
    .uncontrolled(),
    Attack::new(
        "fs-write-program",
        22,
        "overwrite the nightcrew program",
        program,
    )
    .uncontrolled(),
    Attack::new(
        "fs-write-recipe-folder",
        22,
        "write to a folder that the recipe shows read-only",
        recipe_folder,
    ),
];

fn passwords(_: &Context) -> Attempt {
    readable(&["/etc/shadow", "/etc/shadow-", "/proc/1/root/etc/shadow"])
}

/// Any of these with content is a bypass.
fn readable(paths: &[&str]) -> Attempt {
    for path in paths {
        let content = fs::read(path).map(|bytes| !bytes.is_empty());
        let folder = fs::read_dir(path).map(|mut entries| entries.next().is_some());
        if content.unwrap_or(false) || folder.unwrap_or(false) {
            return Ok(Outcome::Bypass(format!("{path} can be read")));
        }
    }
    Ok(Outcome::Blocked(format!(
        "none of {} can be read",
        paths.len()
    )))
}

/// Any of these opened is a bypass.
fn open_any(paths: &[&str]) -> Attempt {
    let mut last = String::new();
    let mut absent = true;
    for path in paths {
        for write in [false, true] {
            match fs::File::options().read(!write).write(write).open(path) {
                Ok(_) => return Ok(Outcome::Bypass(format!("{path} can be opened"))),
                Err(error) => {
                    absent &= error.kind() == io::ErrorKind::NotFound;
                    last = kit::name(kit::number(&error));
                }
            }
        }
    }
    Ok(Outcome::Blocked(if absent {
        "absent".into()
    } else {
        last
    }))
}

fn device(test: impl Fn(&fs::Metadata) -> bool) -> Attempt {
    for entry in fs::read_dir("/dev")?.flatten() {
        if let Ok(metadata) = entry.metadata()
            && test(&metadata)
        {
            return Ok(Outcome::Bypass(format!(
                "{} is there",
                entry.path().display()
            )));
        }
    }
    Ok(Outcome::Blocked("none in /dev".into()))
}

const SECRETS: [&str; 22] = [
    ".ssh/id_rsa",
    ".ssh/id_ed25519",
    ".ssh/config",
    ".aws/credentials",
    ".config/gcloud/application_default_credentials.json",
    ".azure/accessTokens.json",
    ".kube/config",
    ".docker/config.json",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".gitconfig",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".claude.json",
    ".claude/settings.json",
    ".codex/auth.json",
    ".config/gh/hosts.yml",
    ".gnupg/private-keys-v1.d",
    ".bash_history",
    ".local/share/keyrings",
];

fn secrets(context: &Context) -> Attempt {
    let mut homes: Vec<PathBuf> = vec![context.variable("HOST_HOME")?.into(), "/root".into()];
    homes.extend(
        fs::read_dir("/home")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    for home in &homes {
        for secret in SECRETS {
            let path = home.join(secret);
            if fs::metadata(&path).is_ok() {
                return Ok(Outcome::Bypass(format!("{} is there", path.display())));
            }
        }
    }
    Ok(Outcome::Blocked(format!(
        "nothing in {} homes",
        homes.len()
    )))
}

fn sockets(_: &Context) -> Attempt {
    for path in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/user",
        "/run/snapd.socket",
        "/tmp/.X11-unix",
        "/run/nscd/socket",
    ] {
        if fs::symlink_metadata(path).is_ok() {
            return Ok(Outcome::Bypass(format!("{path} is there")));
        }
    }
    Ok(Outcome::Blocked("none is there".into()))
}

fn variables(_: &Context) -> Attempt {
    for (name, _) in std::env::vars() {
        let name = name.to_uppercase();
        if [
            "TOKEN",
            "SECRET",
            "PASSWORD",
            "API_KEY",
            "CREDENTIAL",
            "SSH_AUTH_SOCK",
            "PRIVATE",
        ]
        .iter()
        .any(|word| name.contains(word))
        {
            return Ok(Outcome::Bypass(format!("{name} is set")));
        }
    }
    Ok(Outcome::Blocked("no variable looks like a secret".into()))
}

fn writable(folders: &[&str]) -> Attempt {
    let mut last = String::new();
    for folder in folders {
        let path = Path::new(folder).join(format!("attack-{}", std::process::id()));
        match fs::write(&path, "") {
            Ok(()) => {
                let _ = fs::remove_file(&path);
                return Ok(Outcome::Bypass(format!("{folder} can be written")));
            }
            Err(error) => match stop(&error, folder) {
                Stop::Blocked(text) => last = text,
                other => return Err(other),
            },
        }
    }
    Ok(Outcome::Blocked(last))
}

fn program(_: &Context) -> Attempt {
    let path = "/nightcrew/bin/nightcrew";
    if !Path::new(path).exists() {
        return Err(Stop::Fault(format!("{path} is not there")));
    }
    if fs::File::options().write(true).open(path).is_ok()
        || fs::remove_file(path).is_ok()
        || fs::rename("/nightcrew/bin", "/nightcrew/bin2").is_ok()
    {
        return Ok(Outcome::Bypass(format!("{path} can be changed")));
    }
    Ok(Outcome::Blocked(
        "it can be neither written, removed nor moved".into(),
    ))
}

fn recipe_folder(context: &Context) -> Attempt {
    let tool = PathBuf::from(context.variable("TARGET")?);
    let folder = tool
        .parent()
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    writable(&[&folder])
}
