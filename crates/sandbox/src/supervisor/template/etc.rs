//! `/etc` of an environment: public files of the host copied by an allow-list, the rest generated.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Files and folders copied when they exist. Only what everybody may read is copied, whoever runs
/// this, so nothing private becomes visible through the copy.
const COPIED: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls",
    "protocols",
    "python3",
    "services",
    "shells",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Files made here, with their content.
const GENERATED: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:agent:/home/agent:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\nnogroup:x:65534:\n"),
    (
        "hosts",
        "127.0.0.1 localhost environment\n::1 localhost environment\n",
    ),
    ("hostname", "environment\n"),
    ("resolv.conf", ""),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    ),
    ("host.conf", "multi on\n"),
];

/// Largest file copied and most bytes in all.
const MAX_FILE: u64 = 4 << 20;
const MAX_TOTAL: u64 = 32 << 20;

/// The content of a file made here.
pub(super) fn generated(name: &str) -> &'static str {
    let found = GENERATED.iter().find(|(generated, _)| *generated == name);
    found.map_or("", |(_, content)| content)
}

/// Fills the folder that becomes `/etc`.
pub(super) fn fill(to: &Path) -> io::Result<()> {
    let mut room = MAX_TOTAL;
    for name in COPIED {
        let target = to.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        copy(&Path::new("/etc").join(name), &target, &mut room)?;
    }
    for (name, content) in GENERATED {
        fs::write(to.join(name), content)?;
    }
    symlink("/proc/mounts", to.join("mtab"))
}

/// Copies what is public; absent and private things are left out.
fn copy(from: &Path, to: &Path, room: &mut u64) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(from) else {
        return Ok(());
    };
    if meta.is_symlink() {
        let target = fs::read_link(from)?;
        // A link out of what is shown (into /run, /var …) would dangle: take what it points at.
        let shown =
            !target.is_absolute() || target.starts_with("/usr") || target.starts_with("/etc");
        if shown {
            return symlink(target, to);
        }
        return match fs::metadata(from) {
            Ok(meta) if meta.is_file() => copy_file(from, to, &meta, room),
            _ => Ok(()),
        };
    }
    if meta.is_file() {
        return copy_file(from, to, &meta, room);
    }
    if meta.is_dir() && meta.permissions().mode() & 0o005 == 0o005 {
        fs::create_dir_all(to)?;
        let Ok(entries) = fs::read_dir(from) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            copy(&entry.path(), &to.join(entry.file_name()), room)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, meta: &fs::Metadata, room: &mut u64) -> io::Result<()> {
    if meta.permissions().mode() & 0o004 == 0 || meta.len() > MAX_FILE || meta.len() > *room {
        return Ok(());
    }
    let Ok(content) = fs::read(from) else {
        return Ok(());
    };
    *room = room.saturating_sub(content.len() as u64);
    fs::write(to, content)?;
    let executable = meta.permissions().mode() & 0o111 != 0;
    fs::set_permissions(
        to,
        fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }),
    )
}
