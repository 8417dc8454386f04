//! The messages themselves. Client to supervisor: [`Create`]. Environment to client: [`Reply`].
//! Client to environment: [`Order`].

mod order;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exec_policy::{ExecMode, ExecPolicy};
use crate::network::{Kind, NetworkSpec};
use crate::report::ProbeResult;
use crate::spec::{FolderMount, Limits, RootRecipe};
use crate::wire::{Malformed, Reader, Writer};

pub(crate) use order::{Exec, Order};

/// Everything the supervisor and the new init need to know.
#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub(crate) id: String,
    pub(crate) hostname: String,
    /// Lowest tree; when it is absent and nothing is frozen, `/work` is `upper` itself.
    pub(crate) base: Option<PathBuf>,
    /// Content folders of frozen layers over the base, lowest first.
    pub(crate) frozen: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    /// Where else the workspace appears.
    pub(crate) also: Option<PathBuf>,
    pub(crate) inputs: Option<PathBuf>,
    pub(crate) outputs: Option<PathBuf>,
    pub(crate) program: Option<PathBuf>,
    /// The root, with all its paths absolute.
    pub(crate) root: RootRecipe,
    /// What is behind `/home/agent`, where it is kept.
    pub(crate) home: Option<Stack>,
    pub(crate) mounts: Vec<FolderMount>,
    pub(crate) exec: ExecPolicy,
    /// Host paths the self-test must not find.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) network: Option<NetworkSpec>,
    /// Whether the gate judges what executes. Not part of the message: the supervisor knows.
    pub(crate) gated: bool,
    /// How many files of the root that rules refuse are not hidden in it: set by the supervisor.
    pub(crate) unhidden: usize,
}

/// A writable tree over others.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Trees underneath, lowest first; none: `upper` is mounted as it is.
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn raw(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Create {
    /// Whether nothing in writable folders may execute: by policy, or because the policy judges
    /// content and nothing here can.
    pub(crate) fn forbids_new_programs(&self) -> bool {
        match self.exec.mode {
            ExecMode::Strict => true,
            ExecMode::AllowList => !self.gated,
            ExecMode::Off | ExecMode::Observe | ExecMode::DenyList => false,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.bytes(self.id.as_bytes()).bytes(self.hostname.as_bytes());
        to.optional_bytes(self.base.as_deref().map(raw));
        to.bytes(raw(&self.upper)).bytes(raw(&self.work));
        for optional in [
            &self.also,
            &self.inputs,
            &self.outputs,
            &self.program,
            &self.root.tree,
            &self.root.writable,
        ] {
            to.optional_bytes(optional.as_deref().map(raw));
        }
        to.byte(u8::from(self.home.is_some()));
        if let Some(home) = &self.home {
            to.bytes(raw(&home.upper)).bytes(raw(&home.work));
            to.number(home.lowers.len() as u64);
            for lower in &home.lowers {
                to.bytes(raw(lower));
            }
        }
        to.number(self.mounts.len() as u64);
        for folder in &self.mounts {
            to.bytes(raw(&folder.source)).bytes(raw(&folder.target));
            to.byte(u8::from(folder.writable));
            to.optional_bytes(folder.upper.as_deref().map(raw));
        }
        // Serialising plain data to memory does not fail; an empty text is refused by the reader.
        to.bytes(&serde_json::to_vec(&self.exec).unwrap_or_default());
        for list in [
            &self.frozen,
            &self.root.layers,
            &self.root.extra,
            &self.hidden,
        ] {
            to.number(list.len() as u64);
            for item in list {
                to.bytes(raw(item));
            }
        }
        let limits = &self.limits;
        to.number(limits.open_files)
            .number(limits.processes)
            .number(limits.file_size);
        to.optional_number(limits.address_space)
            .optional_number(limits.cpu_seconds);
        to.number(limits.tmp_bytes).number(nanoseconds(limits.wall));
        for limit in [
            limits.memory,
            limits.cpu_milli,
            limits.disk_bytes,
            limits.disk_inodes,
        ] {
            to.optional_number(limit);
        }
        NetworkSpec::encode(self.network.as_ref(), &mut to);
        to.finish()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(message);
        let (id, hostname) = (from.text()?, from.text()?);
        let base = from.optional_bytes()?.map(path);
        let (upper, work) = (path(from.bytes()?), path(from.bytes()?));
        let mut optional = || Ok(from.optional_bytes()?.map(path));
        let also = optional()?;
        let (inputs, outputs, program) = (optional()?, optional()?, optional()?);
        let (tree, writable) = (optional()?, optional()?);
        let home = match from.byte()? {
            0 => None,
            _ => Some(Stack {
                upper: path(from.bytes()?),
                work: path(from.bytes()?),
                lowers: paths(&mut from)?,
            }),
        };
        let mounts = mounts(&mut from)?;
        let exec = serde_json::from_slice(from.bytes()?).map_err(|_| Malformed)?;
        let frozen = paths(&mut from)?;
        let root = RootRecipe {
            tree,
            writable,
            layers: paths(&mut from)?,
            extra: paths(&mut from)?,
        };
        Ok(Self {
            id,
            hostname,
            base,
            frozen,
            upper,
            work,
            also,
            inputs,
            outputs,
            program,
            root,
            home,
            mounts,
            exec,
            hidden: paths(&mut from)?,
            limits: Limits {
                open_files: from.number()?,
                processes: from.number()?,
                file_size: from.number()?,
                address_space: from.optional_number()?,
                cpu_seconds: from.optional_number()?,
                tmp_bytes: from.number()?,
                wall: Duration::from_nanos(from.number()?),
                memory: from.optional_number()?,
                cpu_milli: from.optional_number()?,
                disk_bytes: from.optional_number()?,
                disk_inodes: from.optional_number()?,
            },
            network: NetworkSpec::decode(&mut from)?,
            gated: false,
            unhidden: 0,
        })
    }
}

fn mounts(from: &mut Reader<'_>) -> Result<Vec<FolderMount>, Malformed> {
    (0..from.number()?)
        .map(|_| {
            Ok(FolderMount {
                source: path(from.bytes()?),
                target: path(from.bytes()?),
                writable: from.byte()? == 1,
                upper: from.optional_bytes()?.map(path),
            })
        })
        .collect()
}

fn paths(from: &mut Reader<'_>) -> Result<Vec<PathBuf>, Malformed> {
    (0..from.number()?)
        .map(|_| from.bytes().map(path))
        .collect()
}

/// A stage of the set-up that the kernel refused.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    pub(crate) errno: i32,
}

/// Names the stage an I/O error happened in.
pub(crate) trait Stage<T> {
    fn stage(self, stage: &str) -> Result<T, Failure>;
}

impl<T> Stage<T> for io::Result<T> {
    fn stage(self, stage: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            stage: stage.to_owned(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

/// Stage name of the overlay mount, on which the client falls back to copying.
pub(crate) const OVERLAY_STAGE: &str = "mount the workspace as an overlay";

/// What an environment tells its client.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Set-up done; carries a pidfd of the init, the gate's link where it is gated, and the
    /// sockets of its network. The self-test may still have failed.
    Ready {
        layers: Vec<String>,
        self_test: Vec<ProbeResult>,
        weaker: Vec<String>,
        /// Where the client finds its cgroups.
        cgroups: Vec<String>,
        /// What the last descriptors are.
        network: Vec<Kind>,
    },
    /// Set-up refused.
    Failed(Failure),
    /// The step of this number has ended and nothing of it is left.
    Exited(Exited),
    /// The step of this number has a terminal; carries its steering end.
    Terminal(u64),
}

/// The end of a step, as the init saw it.
#[derive(Clone, Debug)]
pub(crate) struct Exited {
    pub(crate) step: u64,
    /// 0 exited, 1 killed by a signal, 2 timed out.
    pub(crate) kind: u8,
    /// Code or signal.
    pub(crate) value: i32,
    pub(crate) wall: Duration,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) max_rss_kib: u64,
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Ready {
                layers,
                self_test,
                weaker,
                cgroups,
                network,
            } => {
                to.byte(0);
                for list in [layers, weaker, cgroups] {
                    to.number(list.len() as u64);
                    for item in list {
                        to.bytes(item.as_bytes());
                    }
                }
                to.number(self_test.len() as u64);
                for probe in self_test {
                    to.bytes(probe.name.as_bytes());
                    to.byte(u8::from(probe.passed))
                        .bytes(probe.detail.as_bytes());
                }
                Kind::encode(network, &mut to);
            }
            Self::Failed(failure) => {
                to.byte(1)
                    .bytes(failure.stage.as_bytes())
                    .number(failure.errno as u64);
            }
            Self::Exited(exited) => {
                to.byte(2).number(exited.step).byte(exited.kind);
                to.number(u64::from(exited.value as u32))
                    .number(nanoseconds(exited.wall));
                to.number(nanoseconds(exited.user))
                    .number(nanoseconds(exited.system));
                to.number(exited.max_rss_kib);
            }
            Self::Terminal(step) => {
                to.byte(3).number(*step);
            }
        }
        to.finish()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(message);
        match from.byte()? {
            0 => {
                let layers = texts(&mut from)?;
                let weaker = texts(&mut from)?;
                let cgroups = texts(&mut from)?;
                let self_test = (0..from.number()?)
                    .map(|_| {
                        Ok(ProbeResult {
                            name: from.text()?,
                            passed: from.byte()? == 1,
                            detail: from.text()?,
                        })
                    })
                    .collect::<Result<_, Malformed>>()?;
                Ok(Self::Ready {
                    layers,
                    self_test,
                    weaker,
                    cgroups,
                    network: Kind::decode(&mut from)?,
                })
            }
            1 => Ok(Self::Failed(Failure {
                stage: from.text()?,
                errno: from.number()? as i32,
            })),
            2 => Ok(Self::Exited(Exited {
                step: from.number()?,
                kind: from.byte()?,
                value: from.number()? as u32 as i32,
                wall: Duration::from_nanos(from.number()?),
                user: Duration::from_nanos(from.number()?),
                system: Duration::from_nanos(from.number()?),
                max_rss_kib: from.number()?,
            })),
            3 => Ok(Self::Terminal(from.number()?)),
            _ => Err(Malformed),
        }
    }
}

fn texts(from: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    (0..from.number()?).map(|_| from.text()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    /// A request with something odd in every field.
    pub(crate) fn request() -> Create {
        let odd = |name: &[u8]| PathBuf::from(OsString::from_vec(name.to_vec()));
        Create {
            id: "id".to_owned(),
            hostname: "host".to_owned(),
            base: Some(odd(b"/b\xff,:\\")),
            upper: odd(b"/u\n"),
            work: odd(b""),
            also: Some(odd(b"/srv/\xfa")),
            inputs: None,
            outputs: Some(odd(b"/out")),
            program: None,
            frozen: vec![odd(b"/f\xfd")],
            root: RootRecipe {
                extra: vec![odd(b"/x\xfe")],
                ..RootRecipe::default()
            },
            home: Some(Stack {
                lowers: vec![odd(b"/l\xff")],
                upper: odd(b"/h"),
                work: odd(b"/w"),
            }),
            mounts: vec![FolderMount {
                source: odd(b"/s"),
                target: odd(b"/t\xff"),
                writable: true,
                upper: None,
            }],
            exec: ExecPolicy::default(),
            hidden: Vec::new(),
            limits: Limits {
                cpu_seconds: Some(7),
                ..Limits::default()
            },
            network: Some(NetworkSpec {
                ports: vec![1, 65535],
                certificates: Some(b"\xff".to_vec()),
            }),
            gated: false,
            unhidden: 0,
        }
    }

    #[test]
    fn a_request_survives_the_wire_whatever_its_bytes() {
        let request = request();
        let back = Create::decode(&request.encode()).ok().unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
    }

    #[test]
    fn no_message_cut_short_or_altered_is_a_panic() {
        let message = request().encode();
        for length in 0..message.len() {
            assert!(Create::decode(&message[..length]).is_err(), "{length}");
            let mut altered = message.clone();
            altered[length] ^= 0xff;
            let _ = Create::decode(&altered);
            let _ = Reply::decode(&altered[length..]);
            let _ = Order::decode(&altered[length..]);
        }
    }
}
