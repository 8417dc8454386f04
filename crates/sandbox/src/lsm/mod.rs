//! Exec control by BPF-LSM: programs judged by the SHA-256 of their bytes, in the kernel.
//!
//! Three hooks (execution, executable mapping, a mapping made executable) of the kernel's security
//! modules run a small program of ours, `bpf/exec.bpf.c`. The kernel itself takes the digest (IMA), so
//! there is no moment between the check and the use in which another process could answer for it.
//! Only enrolled cgroups are judged, and for them every error is a refusal.
//!
//! Loading needs root, a kernel with `CONFIG_BPF_LSM` and `CONFIG_IMA` and `bpf` among its security
//! modules, and the cargo feature `bpf-lsm`. Where one is missing, [`probe`] says which; the types
//! here exist everywhere.

#[cfg(feature = "bpf-lsm")]
mod attack;
mod cgroup;
#[cfg(feature = "bpf-lsm")]
mod load;

use std::io;

#[cfg(feature = "bpf-lsm")]
pub use attack::self_test;
pub use cgroup::Cgroup;
#[cfg(feature = "bpf-lsm")]
pub use load::{Events, Lsm};

#[cfg(feature = "bpf-lsm")]
use crate::exec_policy::ExecMode;
use crate::exec_policy::{Digest, RuleVerdict};
use crate::preflight::Finding;
use crate::wire::Writer;
#[cfg(any(feature = "bpf-lsm", test))]
use crate::wire::{Malformed, Reader};

/// Name of the finding of [`probe`].
const FINDING: &str = "bpf-lsm";

/// Why exec control by BPF-LSM is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LsmError {
    /// The kernel refused the programs.
    #[error("the kernel refuses to {stage}")]
    Kernel {
        /// What was tried.
        stage: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A cgroup could not be made or used.
    #[error("cannot {action} the cgroup {name}")]
    Cgroup {
        /// What was tried.
        action: &'static str,
        /// Which.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A trial could not be prepared.
    #[error("cannot {stage}")]
    Trial {
        /// What.
        stage: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl LsmError {
    /// The errno at its bottom.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let (Self::Kernel { source, .. }
        | Self::Cgroup { source, .. }
        | Self::Trial { source, .. }) = self;
        source.raw_os_error().unwrap_or(libc::EIO)
    }
}

/// The number of a mode in the kernel's part; absent where nothing is judged.
#[cfg(feature = "bpf-lsm")]
fn mode_number(mode: ExecMode) -> Option<u32> {
    match mode {
        ExecMode::Off => None,
        ExecMode::Observe => Some(1),
        ExecMode::DenyList => Some(2),
        ExecMode::AllowList => Some(3),
        ExecMode::Strict => Some(4),
    }
}

fn verdict_number(verdict: Option<RuleVerdict>) -> u8 {
    match verdict {
        None => 0,
        Some(RuleVerdict::Deny) => 1,
        Some(RuleVerdict::Allow) => 2,
        Some(RuleVerdict::Report) => 3,
    }
}

/// Where a program was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `execve`: a program, script or interpreter.
    Exec,
    /// `mmap`: a library, or a program given to the dynamic linker.
    Map,
    /// `mprotect`: a mapping was to become executable.
    Protect,
    /// `open`: a file that is mapped executable was to be written.
    Open,
}

/// Why something was refused, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its digest is denied, or to be reported.
    Listed,
    /// Its digest is on no list.
    Unknown,
    /// The kernel could not take its digest.
    Unreadable,
    /// A mapped file was to become executable after it was checked.
    MadeExecutable,
    /// Memory was to be executable that is writable or no file.
    Writable,
    /// A file was to be mapped executable while it can be written, or written while it is mapped.
    Changing,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The content; absent where there is no file or none could be taken.
    pub digest: Option<Digest>,
    /// The enrolled cgroup, by its id.
    pub cgroup: u64,
    /// The process, as the kernel's first pid namespace numbers it.
    pub process: u32,
    /// The process's name, at most 15 bytes of it.
    pub name: String,
    /// Where.
    pub hook: Hook,
    /// Why.
    pub reason: Reason,
    /// Whether it was refused; otherwise it was observed.
    pub refused: bool,
}

/// Bytes of a denial as the kernel program writes it, and as it travels.
pub(crate) const DENIAL: usize = 64;

impl Denial {
    /// Writes what [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; DENIAL];
        bytes[..32].copy_from_slice(&self.digest.unwrap_or_default());
        bytes[32..40].copy_from_slice(&self.cgroup.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.process.to_le_bytes());
        bytes[44] = match self.hook {
            Hook::Exec => 1,
            Hook::Map => 2,
            Hook::Protect => 3,
            Hook::Open => 4,
        };
        bytes[45] = match self.reason {
            Reason::Listed => 1,
            Reason::Unknown => 2,
            Reason::Unreadable => 3,
            Reason::MadeExecutable => 4,
            Reason::Writable => 5,
            Reason::Changing => 6,
        };
        bytes[47] = u8::from(self.refused);
        for (to, from) in bytes[48..63].iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        bytes
    }

    /// Reads what the kernel program wrote; see `struct denial` there.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; DENIAL] = bytes.try_into().ok()?;
        let digest: Digest = bytes[..32].try_into().ok()?;
        let name = bytes[48..64].split(|byte| *byte == 0).next()?;
        Some(Self {
            digest: (digest != [0; 32]).then_some(digest),
            cgroup: u64::from_le_bytes(bytes[32..40].try_into().ok()?),
            process: u32::from_le_bytes(bytes[40..44].try_into().ok()?),
            name: String::from_utf8_lossy(name).into_owned(),
            hook: match bytes[44] {
                1 => Hook::Exec,
                2 => Hook::Map,
                3 => Hook::Protect,
                4 => Hook::Open,
                _ => return None,
            },
            reason: match bytes[45] {
                1 => Reason::Listed,
                2 => Reason::Unknown,
                3 => Reason::Unreadable,
                4 => Reason::MadeExecutable,
                5 => Reason::Writable,
                6 => Reason::Changing,
                _ => return None,
            },
            refused: bytes[47] == 1,
        })
    }
}

/// What is said of contents; `None` takes back what was said.
pub type Verdicts = Vec<(Digest, Option<RuleVerdict>)>;

/// Verdicts as they travel to a guest.
#[must_use]
pub(crate) fn encode_verdicts(verdicts: &[(Digest, Option<RuleVerdict>)]) -> Vec<u8> {
    let mut to = Writer::default();
    to.number(verdicts.len() as u64);
    for (digest, verdict) in verdicts {
        for byte in digest {
            to.byte(*byte);
        }
        to.byte(verdict_number(*verdict));
    }
    to.finish()
}

/// Reads what [`encode_verdicts`] wrote.
#[cfg(any(feature = "bpf-lsm", test))]
pub(crate) fn decode_verdicts(body: &[u8]) -> Result<Verdicts, Malformed> {
    let mut from = Reader::new(body);
    (0..from.number()?)
        .map(|_| {
            let mut digest = [0; 32];
            for byte in &mut digest {
                *byte = from.byte()?;
            }
            let number = from.byte()?;
            let all = [
                None,
                Some(RuleVerdict::Deny),
                Some(RuleVerdict::Allow),
                Some(RuleVerdict::Report),
            ];
            let verdict = all
                .into_iter()
                .find(|verdict| verdict_number(*verdict) == number);
            Ok((digest, verdict.ok_or(Malformed)?))
        })
        .collect()
}

/// Whether exec control by BPF-LSM works on this host: found by loading it and attacking it.
#[must_use]
pub fn probe() -> Finding {
    #[cfg(feature = "bpf-lsm")]
    return attack::probe();
    #[cfg(not(feature = "bpf-lsm"))]
    Finding::absent(
        FINDING,
        "this program was built without exec control by BPF-LSM",
        "build it with --features bpf-lsm (needs clang, libbpf-dev, libelf-dev and zlib1g-dev)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive_the_wire_and_damage_is_refused() {
        let verdicts = vec![
            ([7; 32], None),
            ([8; 32], Some(RuleVerdict::Deny)),
            ([9; 32], Some(RuleVerdict::Report)),
        ];
        let body = encode_verdicts(&verdicts);
        assert_eq!(decode_verdicts(&body).ok(), Some(verdicts));
        for length in 0..body.len() {
            assert!(decode_verdicts(&body[..length]).is_err());
        }
        let mut unknown = body;
        unknown[8 + 32] = 9;
        assert!(decode_verdicts(&unknown).is_err());
    }

    #[test]
    fn a_denial_is_read_as_the_kernel_program_lays_it_out() {
        let mut bytes = [0; DENIAL];
        bytes[..32].copy_from_slice(&[9; 32]);
        bytes[32..40].copy_from_slice(&77_u64.to_le_bytes());
        bytes[40..44].copy_from_slice(&42_u32.to_le_bytes());
        bytes[44..48].copy_from_slice(&[2, 1, 2, 1]);
        bytes[48..50].copy_from_slice(b"sh");
        let denial = Denial::decode(&bytes).unwrap();
        assert_eq!(denial.digest, Some([9; 32]));
        assert_eq!((denial.cgroup, denial.process), (77, 42));
        assert_eq!((denial.hook, denial.reason), (Hook::Map, Reason::Listed));
        assert_eq!(denial.name, "sh");
        assert!(denial.refused);
        assert_eq!(Denial::decode(&denial.encode()).as_ref(), Some(&denial));
        assert_eq!(Denial::decode(&bytes[1..]), None);
        bytes[45] = 99;
        assert_eq!(Denial::decode(&bytes), None);
    }

    #[cfg(not(feature = "bpf-lsm"))]
    #[test]
    fn without_the_feature_the_probe_says_so() {
        let finding = probe();
        assert!(!finding.ok);
        assert!(finding.cure.contains("--features bpf-lsm"), "{finding:?}");
    }
}
