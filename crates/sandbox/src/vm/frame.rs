//! The byte stream between host and guest: frames of (length, kind, stream, body).
//!
//! One stream carries every step of every environment of a virtual machine. Output and input have
//! credit: a side sends at most [`WINDOW`] bytes that the other has not yet passed on, so a reader
//! that does not read holds up its own step and nothing else.

use std::io::{self, Read, Write};

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::message::Failure;
use crate::report::ProbeResult;
use crate::spec::{EnvironmentSpec, Workspace};
use crate::wire::{Malformed, Reader, Writer};

/// Largest frame, in bytes: the arguments of a step, bounded by what the kernel lets programs have.
const MAX_BODY: usize = 8 << 20;
/// Bytes of output or input under way per stream.
pub(super) const WINDOW: usize = 256 << 10;
/// Bytes of output or input in one frame.
pub(super) const CHUNK: usize = 32 << 10;
/// Version of this protocol. Both sides are the same executable; this is against an old initramfs.
pub(super) const VERSION: u64 = 1;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    // To the guest.
    /// Mount what is shared and start the supervisor: [`Setup`].
    Setup = 0,
    /// Make environment number `stream`: [`Wanted`].
    Create = 1,
    /// Destroy environment number `stream`.
    Destroy = 2,
    /// Run step number `stream`: the environment's number, then a `message::Exec`.
    Exec = 3,
    /// Standard input of step `stream`; nothing means its end.
    Input = 4,
    /// Kill step `stream`.
    Kill = 5,
    /// The host passed on so many bytes of step `stream`: which output, how many.
    Taken = 6,
    /// A change of what may be executed: [`crate::lsm`]'s own encoding.
    Verdict = 7,
    /// Try exec control in the guest by attacking it.
    Attack = 8,
    // From the guest.
    /// The kernel runs our program: version, release of the kernel.
    Hello = 16,
    /// Set up; layers of the guest itself.
    Serving = 17,
    /// The guest cannot go on, or a request was refused: stage and errno.
    Refused = 18,
    /// Environment `stream` is made: a `message::Reply`.
    Ready = 19,
    /// Environment `stream` is destroyed.
    Destroyed = 20,
    /// Output of step `stream`: which, then bytes.
    Output = 21,
    /// Step `stream` has ended: whether memory ran out, then a `message::Reply`.
    Ended = 22,
    /// The guest passed on so many bytes of input of step `stream`.
    Fed = 23,
    /// A program was refused, or would have been.
    Denial = 24,
    /// Outcome of [`Kind::Attack`]: probes.
    Attacked = 25,
    /// A verdict is in force.
    Ruled = 26,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        const ALL: [Kind; 20] = [
            Kind::Setup,
            Kind::Create,
            Kind::Destroy,
            Kind::Exec,
            Kind::Input,
            Kind::Kill,
            Kind::Taken,
            Kind::Verdict,
            Kind::Attack,
            Kind::Hello,
            Kind::Serving,
            Kind::Refused,
            Kind::Ready,
            Kind::Destroyed,
            Kind::Output,
            Kind::Ended,
            Kind::Fed,
            Kind::Denial,
            Kind::Attacked,
            Kind::Ruled,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) stream: u64,
    pub(super) body: Vec<u8>,
}

/// Writes one frame in one call.
pub(super) fn write(to: &mut impl Write, kind: Kind, stream: u64, body: &[u8]) -> io::Result<()> {
    if body.len() > MAX_BODY {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut frame = Vec::with_capacity(body.len() + 13);
    // Fits: MAX_BODY is far below 4 GiB.
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.push(kind as u8);
    frame.extend_from_slice(&stream.to_le_bytes());
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

/// Reads one frame; `None` when the other side has closed between two.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; 13];
    match from.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut head[1..])?,
    }
    let [a, b, c, d, kind, stream @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = Kind::of(kind).ok_or_else(nonsense)?;
    if length > MAX_BODY {
        return Err(nonsense());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Frame {
        kind,
        stream: u64::from_le_bytes(stream),
        body,
    }))
}

/// How the guest reaches what the host shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// A folder shared through virtiofsd.
    Virtiofs,
    /// A folder shared by QEMU itself.
    NineP,
}

impl Sharing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Virtiofs => "virtiofs",
            Self::NineP => "9p",
        }
    }
}

/// What the guest is told first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) sharing: Sharing,
    /// Files of the host belong to one user, who is user 0 in the guest.
    pub(super) single_user: bool,
    /// Judge programs by content, by BPF-LSM in the guest.
    pub(super) exec_control: bool,
}

impl Setup {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut to = Writer::default();
        to.byte(u8::from(self.sharing == Sharing::NineP));
        to.byte(u8::from(self.single_user));
        to.byte(u8::from(self.exec_control));
        to.finish()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        Ok(Self {
            sharing: match from.byte()? {
                0 => Sharing::Virtiofs,
                _ => Sharing::NineP,
            },
            single_user: from.byte()? == 1,
            exec_control: from.byte()? == 1,
        })
    }
}

/// An environment to make in the guest.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its workspace is the shared one; otherwise it is empty and in the guest's memory.
    pub(super) shared: bool,
    /// As in the guest: its paths are the guest's.
    pub(super) spec: EnvironmentSpec,
}

impl Wanted {
    /// An environment as `spec` describes it on the host, by the paths things have in the guest.
    pub(super) fn new(shared: bool, spec: &EnvironmentSpec) -> Self {
        let place = if shared {
            super::SHARED_WORK.into()
        } else {
            Path::new("/run/scratch").join(&spec.id)
        };
        let mut spec = spec.clone();
        spec.workspace = Workspace {
            base: None,
            frozen: Vec::new(),
            layer: place.join("layer"),
        };
        let moved = |given: &Option<PathBuf>, name: &str| given.as_ref().map(|_| place.join(name));
        spec.inputs = moved(&spec.inputs, "in");
        spec.outputs = moved(&spec.outputs, "out");
        spec.program = moved(&spec.program, "nightcrew");
        Self { shared, spec }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let raw = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        let spec = &self.spec;
        let mut to = Writer::default();
        to.byte(u8::from(self.shared));
        to.bytes(spec.id.as_bytes()).bytes(spec.hostname.as_bytes());
        to.bytes(&raw(&spec.workspace.layer));
        for path in [&spec.inputs, &spec.outputs, &spec.program] {
            to.optional_bytes(path.as_ref().map(raw).as_deref());
        }
        to.number(spec.root.extra.len() as u64);
        for path in &spec.root.extra {
            to.bytes(&raw(path));
        }
        // Serialising plain data to memory does not fail; an empty text is refused by the reader.
        to.bytes(&serde_json::to_vec(&spec.exec).unwrap_or_default());
        let limits = &spec.limits;
        to.number(limits.open_files)
            .number(limits.processes)
            .number(limits.file_size);
        to.number(limits.tmp_bytes)
            .number(u64::try_from(limits.wall.as_nanos()).unwrap_or(u64::MAX));
        for limit in [
            limits.address_space,
            limits.cpu_seconds,
            limits.memory,
            limits.cpu_milli,
        ] {
            to.optional_number(limit);
        }
        to.finish()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
        let mut from = Reader::new(body);
        let shared = from.byte()? == 1;
        let (id, hostname) = (from.text()?, from.text()?);
        let workspace = Workspace {
            base: None,
            frozen: Vec::new(),
            layer: path(from.bytes()?),
        };
        let mut spec = EnvironmentSpec::new(id, workspace);
        spec.hostname = hostname;
        for given in [&mut spec.inputs, &mut spec.outputs, &mut spec.program] {
            *given = from.optional_bytes()?.map(path);
        }
        for _ in 0..from.number()? {
            spec.root.extra.push(path(from.bytes()?));
        }
        spec.exec = serde_json::from_slice(from.bytes()?).map_err(|_| Malformed)?;
        let limits = &mut spec.limits;
        limits.open_files = from.number()?;
        limits.processes = from.number()?;
        limits.file_size = from.number()?;
        limits.tmp_bytes = from.number()?;
        limits.wall = std::time::Duration::from_nanos(from.number()?);
        for limit in [
            &mut limits.address_space,
            &mut limits.cpu_seconds,
            &mut limits.memory,
            &mut limits.cpu_milli,
        ] {
            *limit = from.optional_number()?;
        }
        Ok(Self { shared, spec })
    }
}

pub(super) fn refusal(stage: &str, errno: i32) -> Vec<u8> {
    let mut to = Writer::default();
    to.bytes(stage.as_bytes()).number(errno as u64);
    to.finish()
}

pub(super) fn refused(body: &[u8]) -> Result<Failure, Malformed> {
    let mut from = Reader::new(body);
    Ok(Failure {
        stage: from.text()?,
        errno: from.number()? as i32,
    })
}

pub(super) fn probes(probes: &[ProbeResult]) -> Vec<u8> {
    let mut to = Writer::default();
    to.number(probes.len() as u64);
    for probe in probes {
        to.bytes(probe.name.as_bytes())
            .byte(u8::from(probe.passed))
            .bytes(probe.detail.as_bytes());
    }
    to.finish()
}

pub(super) fn probed(body: &[u8]) -> Result<Vec<ProbeResult>, Malformed> {
    let mut from = Reader::new(body);
    (0..from.number()?)
        .map(|_| {
            Ok(ProbeResult {
                name: from.text()?,
                passed: from.byte()? == 1,
                detail: from.text()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_and_a_closed_stream_is_no_error() {
        let mut stream = Vec::new();
        write(&mut stream, Kind::Output, 7, b"one").unwrap();
        write(&mut stream, Kind::Ended, u64::MAX, b"").unwrap();
        let mut from = stream.as_slice();
        let first = read(&mut from).unwrap().unwrap();
        assert_eq!((first.kind, first.stream), (Kind::Output, 7));
        assert_eq!(first.body, b"one");
        let second = read(&mut from).unwrap().unwrap();
        assert_eq!((second.kind, second.stream), (Kind::Ended, u64::MAX));
        assert!(read(&mut from).unwrap().is_none());
    }

    #[test]
    fn a_frame_cut_short_too_large_or_unknown_is_an_error() {
        let mut stream = Vec::new();
        write(&mut stream, Kind::Output, 7, b"one").unwrap();
        for length in 1..stream.len() {
            assert!(read(&mut &stream[..length]).is_err(), "{length}");
        }
        let mut large = stream.clone();
        large[3] = 0xff;
        assert!(read(&mut large.as_slice()).is_err());
        let mut unknown = stream;
        unknown[4] = 99;
        assert!(read(&mut unknown.as_slice()).is_err());
        assert!(write(&mut Vec::new(), Kind::Output, 0, &vec![0; MAX_BODY + 1]).is_err());
    }

    #[test]
    fn a_wish_survives_the_wire_and_no_damage_is_a_panic() {
        let workspace = Workspace {
            base: Some("/b".into()),
            frozen: Vec::new(),
            layer: "/x".into(),
        };
        let mut spec = EnvironmentSpec::new("id", workspace);
        spec.root.extra = vec!["/opt/odd,\\ name".into()];
        spec.outputs = Some("/anything".into());
        spec.limits.cpu_seconds = Some(3);
        let wanted = Wanted::new(true, &spec);
        let message = wanted.encode();
        let back = Wanted::decode(&message).ok().unwrap();
        assert_eq!(format!("{back:?}"), format!("{wanted:?}"));
        let work = Path::new(super::super::SHARED_WORK);
        assert_eq!(back.spec.outputs, Some(work.join("out")));
        assert_eq!(back.spec.inputs, None);
        assert_eq!(back.spec.workspace.base, None);
        for length in 0..message.len() {
            assert!(Wanted::decode(&message[..length]).is_err());
        }
    }
}
