//! Files of one environment's own, laid over those of the root it shares with others: read-only, on
//! a file system of theirs that nothing inside can write, by whatever path.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::message::{Create, Failure, Stage};
use crate::network::{BUNDLE, CERTIFICATES, NAME_SERVER};
use crate::spec::DEFAULT_HOSTNAME;
use crate::sys::{c_path, mount};

/// Where they lie.
const PLACE: &CStr = c"/nightcrew/etc";

/// Where systems keep the certificates they trust: Debian and Alpine; Fedora, twice; Arch; SUSE,
/// twice; what OpenSSL looks for by itself.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Folders in which something may be laid over a file: a link of an image may lead elsewhere.
const COVERED: [&str; 3] = ["/etc", "/usr", "/var"];

/// Largest bundle that is taken over.
const MAX_BUNDLE: u64 = 2 << 20;

const READ_ONLY: u64 = mount::PLAIN | libc::MS_NOEXEC | libc::MS_RDONLY;

/// A file and what it covers.
struct Laid {
    name: &'static str,
    content: Vec<u8>,
    over: Vec<PathBuf>,
}

/// Lays them in, where the request has any. The root is the environment's own already, so that no
/// link of it leads out.
pub(super) fn lay(request: &Create) -> Result<(), Failure> {
    let files = files(request);
    if files.is_empty() {
        return Ok(());
    }
    let stage = "lay in the environment's own files";
    let kind = Some(c"tmpfs");
    let writable = mount::PLAIN | libc::MS_NOEXEC;
    let options = Some(c"mode=755,size=4m,nr_inodes=16");
    mount::mount(c"laid", PLACE, kind, writable, options).stage(stage)?;
    let place = Path::new("/nightcrew/etc");
    for file in &files {
        let path = place.join(file.name);
        fs::write(path, &file.content).stage(stage)?;
    }
    // The file system itself: no other path to the same files is writable either.
    mount::mount(c"laid", PLACE, None, READ_ONLY | libc::MS_REMOUNT, None).stage(stage)?;
    for file in &files {
        let from = c_path(&place.join(file.name)).stage(stage)?;
        for over in &file.over {
            let stage = format!("{stage}: {}", over.display());
            mount::bind(&from, &c_path(over).stage(&stage)?, false).stage(&stage)?;
        }
    }
    Ok(())
}

fn files(request: &Create) -> Vec<Laid> {
    let mut files = Vec::new();
    let mut lay = |name, content: Vec<u8>, over: Vec<PathBuf>| {
        files.push(Laid {
            name,
            content,
            over,
        });
    };
    let name = &request.hostname;
    if name != DEFAULT_HOSTNAME {
        let hosts = format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n");
        lay("hosts", hosts.into(), vec!["/etc/hosts".into()]);
        let line = format!("{name}\n");
        lay("hostname", line.into(), vec!["/etc/hostname".into()]);
    }
    let Some(network) = &request.network else {
        return files;
    };
    let resolver = format!("nameserver {NAME_SERVER}\n");
    lay(
        "resolv.conf",
        resolver.into(),
        vec!["/etc/resolv.conf".into()],
    );
    // An image says itself where its names come from.
    if request.root.tree.is_none()
        && let Ok(text) = fs::read_to_string("/etc/nsswitch.conf")
    {
        let text = text.replace("hosts: files\n", "hosts: files dns\n");
        lay(
            "nsswitch.conf",
            text.into(),
            vec!["/etc/nsswitch.conf".into()],
        );
    }
    if let Some(certificates) = &network.certificates {
        let covered = covered();
        let mut bundle = covered
            .iter()
            .find_map(|path| read(path))
            .unwrap_or_default();
        if bundle.last().is_some_and(|last| *last != b'\n') {
            bundle.push(b'\n');
        }
        bundle.extend(certificates);
        lay(file_name(CERTIFICATES), certificates.clone(), Vec::new());
        lay(file_name(BUNDLE), bundle, covered);
    }
    files
}

fn file_name(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The root's bundles, each once, whatever links lead to it; the first is the one to add to.
fn covered() -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let real = BUNDLES
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok());
    real.filter(|path| COVERED.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file()))
        .filter(|path| seen.insert(path.clone()))
        .collect()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path).ok()?;
    let mut content = Vec::new();
    let length = file.take(MAX_BUNDLE + 1).read_to_end(&mut content).ok()?;
    (length as u64 <= MAX_BUNDLE).then_some(content)
}
