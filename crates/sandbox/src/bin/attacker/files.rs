//! Ways out of the view: 22, 23, 25, 26 of the catalogue.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::context::Context;
use super::kit::{self, stop, stop_or};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "fs-traversal-dot-dot",
        22,
        "read a host file by climbing above the root",
        |context| {
            canary(context, |path| {
                format!("/../../../../../../../..{path}").into()
            })
        },
    ),
    Attack::new(
        "fs-traversal-absolute",
        22,
        "read a host file by its absolute path",
        |context| canary(context, |path| path.into()),
    ),
    Attack::new(
        "fs-traversal-symlink",
        22,
        "read a host file through a symbolic link of the workspace",
        through_link,
    ),
    Attack::new(
        "fs-traversal-proc-root",
        22,
        "read a host file through /proc/1/root",
        |context| canary(context, |path| format!("/proc/1/root{path}").into()),
    )
    .root(),
    Attack::new(
        "fs-traversal-proc-cwd",
        22,
        "read a host file through the working folder of another process",
        |context| {
            canary(context, |path| {
                format!("/proc/1/cwd/../../../../..{path}").into()
            })
        },
    )
    .root(),
    Attack::new(
        "fs-traversal-passwords",
        22,
        "read the host's password hashes",
        passwords,
    )
    .root(),
    Attack::new(
        "fs-link-out-of-outputs",
        22,
        "leave links in the outputs that point to host files",
        links_in_outputs,
    )
    .uncontrolled(),
    Attack::new(
        "fs-link-swap-in-outputs",
        22,
        "swap folders and links in the outputs while the host looks",
        swap_in_outputs,
    )
    .uncontrolled(),
    Attack::new(
        "fs-hardlink-system",
        23,
        "hard-link a system program into the workspace and write to it",
        |context| hard_link(context, Path::new("/usr/bin/env")),
    )
    .uncontrolled(),
    Attack::new(
        "fs-hardlink-inputs",
        23,
        "hard-link an input into the outputs and write to it",
        |context| hard_link(context, Path::new("/nightcrew/in/input")),
    )
    .uncontrolled(),
    Attack::new(
        "fs-mknod-block",
        23,
        "make a device file of the host's disk",
        |context| mknod(context, libc::S_IFBLK, 254, 0),
    )
    .root(),
    Attack::new(
        "fs-mknod-memory",
        23,
        "make a device file of the machine's memory",
        |context| mknod(context, libc::S_IFCHR, 1, 1),
    )
    .root(),
    Attack::new(
        "fs-mknod-kmsg",
        23,
        "make a device file of the kernel's log",
        |context| mknod(context, libc::S_IFCHR, 1, 11),
    )
    .root(),
    Attack::new(
        "fs-mknod-whiteout",
        23,
        "make an overlay whiteout that hides files from the host",
        whiteout,
    ),
    Attack::new(
        "fs-open-by-handle",
        23,
        "open a file by its handle, past every path",
        by_handle,
    )
    .root(),
    Attack::new(
        "fs-overlay-xattr",
        23,
        "set overlay attributes that redirect to host folders",
        overlay_attribute,
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
    .root(),
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

fn canary(context: &Context, way: impl Fn(&str) -> PathBuf) -> Attempt {
    let path = context.variable("HOST_CANARY")?;
    read_canary(&way(&path))
}

fn read_canary(path: &Path) -> Attempt {
    match fs::read_to_string(path) {
        Ok(text) if text.contains("NIGHTCREW-HOST-SECRET") => {
            Ok(Outcome::Bypass(format!("read {}", path.display())))
        }
        Ok(_) => Err(Stop::Fault(format!("{} is another file", path.display()))),
        Err(error) => Err(stop(&error, "reading the host's file")),
    }
}

fn through_link(context: &Context) -> Attempt {
    let link = context.place()?.join("link");
    symlink(context.variable("HOST_CANARY")?, &link)?;
    read_canary(&link)
}

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

fn links_in_outputs(context: &Context) -> Attempt {
    let target = context.variable("HOST_CANARY")?;
    let outputs = Path::new("/nightcrew/out");
    for (name, to) in [
        ("change.bundle", target.as_str()),
        ("intents.json", "/etc/shadow"),
        ("folder", "/etc"),
        ("loop", "loop"),
    ] {
        let _ = fs::remove_file(outputs.join(name));
        symlink(to, outputs.join(name)).map_err(|error| stop(&error, "symlink in the outputs"))?;
    }
    Ok(Outcome::HostJudges("four links lie in the outputs".into()))
}

fn swap_in_outputs(context: &Context) -> Attempt {
    let target = context.variable("HOST_CANARY")?;
    let outputs = Path::new("/nightcrew/out");
    let (file, link) = (outputs.join("swap"), outputs.join("swap.link"));
    for _ in 0..2000 {
        let _ = fs::remove_file(&link);
        symlink(&target, &link).map_err(|error| stop(&error, "symlink in the outputs"))?;
        fs::rename(&link, &file)?;
        fs::write(&link, "harmless")?;
        fs::rename(&link, &file)?;
    }
    let _ = fs::remove_file(&link);
    symlink(&target, &link)?;
    fs::rename(&link, &file)?;
    Ok(Outcome::HostJudges("a link lies where a file was".into()))
}

fn hard_link(context: &Context, from: &Path) -> Attempt {
    let to = if from.starts_with("/nightcrew") {
        context.place_in("/nightcrew/out".as_ref())?
    } else {
        context.place()?
    }
    .join("linked");
    if !from.exists() {
        return Err(Stop::Fault(format!("{} is not there", from.display())));
    }
    fs::hard_link(from, &to).map_err(|error| stop_or(&error, "link", &[libc::EXDEV]))?;
    match fs::File::options().write(true).open(&to) {
        Ok(_) => Ok(Outcome::Bypass(format!(
            "{} is writable by another name",
            from.display()
        ))),
        Err(error) => Err(stop(&error, "opening the link for writing")),
    }
}

fn mknod(context: &Context, kind: libc::mode_t, major: u32, minor: u32) -> Attempt {
    let path = context.place()?.join("device");
    let name = kit::c_path(&path);
    let device = libc::makedev(major, minor);
    let here = libc::AT_FDCWD as usize;
    kit::call(
        libc::SYS_mknodat,
        [
            here,
            name.as_ptr() as usize,
            (kind | 0o666) as usize,
            device as usize,
            0,
            0,
        ],
    )
    .map_err(|error| stop(&error, "mknod"))?;
    match fs::File::open(&path) {
        Ok(_) => Ok(Outcome::Bypass("the device was made and opened".into())),
        // Made without being opened is too much already: the host sees a device.
        Err(error) => Ok(Outcome::Bypass(format!(
            "the device was made (opening it: {})",
            kit::name(kit::number(&error))
        ))),
    }
}

/// Linux lets everybody make these: what must not happen is that the host loses sight of files by it.
fn whiteout(context: &Context) -> Attempt {
    mknod(context, libc::S_IFCHR, 0, 0)
}

fn by_handle(_: &Context) -> Attempt {
    let path = kit::c_path("/");
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    let here = libc::AT_FDCWD as usize;
    kit::call(
        libc::SYS_name_to_handle_at,
        [
            here,
            path.as_ptr() as usize,
            handle.as_mut_ptr() as usize,
            (&raw mut mount) as usize,
            0,
            0,
        ],
    )
    .map_err(|error| stop_or(&error, "name_to_handle_at", &[libc::EOPNOTSUPP]))?;
    let root = fs::File::open("/")?;
    use std::os::fd::AsRawFd;
    match kit::call(
        libc::SYS_open_by_handle_at,
        [
            root.as_raw_fd() as usize,
            handle.as_ptr() as usize,
            libc::O_PATH as usize,
            0,
            0,
            0,
        ],
    ) {
        Ok(fd) => {
            drop(kit::own(fd));
            Ok(Outcome::Bypass("the root was opened by its handle".into()))
        }
        Err(error) => Err(stop_or(&error, "open_by_handle_at", &[libc::EOPNOTSUPP])),
    }
}

/// On overlay, `user.overlay.*` and `trusted.overlay.*` would redirect a folder when resumed.
fn overlay_attribute(context: &Context) -> Attempt {
    let place = context.place()?;
    let path = kit::c_path(&place);
    let mut last = String::new();
    for name in ["trusted.overlay.redirect", "trusted.overlay.opaque"] {
        let attribute = kit::c_path(name);
        let value = b"/";
        match kit::call(
            libc::SYS_setxattr,
            [
                path.as_ptr() as usize,
                attribute.as_ptr() as usize,
                value.as_ptr() as usize,
                1,
                0,
                0,
            ],
        ) {
            Ok(_) => return Ok(Outcome::Bypass(format!("{name} was set"))),
            Err(error) => last = stop_or_text(&error)?,
        }
    }
    Ok(Outcome::Blocked(last))
}

fn stop_or_text(error: &io::Error) -> Result<String, Stop> {
    match stop_or(error, "setxattr", &[libc::EOPNOTSUPP]) {
        Stop::Blocked(text) => Ok(text),
        other => Err(other),
    }
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
