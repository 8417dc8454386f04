//! The host's end of the stream: greetings with a deadline, then a thread that hands out frames.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::VmError;
use super::frame::{self, Frame, Kind, VERSION};
use super::machine::Machine;
use super::running::{Progress, Taken};
use crate::client::stack::Held;
use crate::wire::Reader;

/// What waits for frames of one number.
pub(super) enum Route {
    /// One answer.
    Answer(Sender<Frame>),
    /// A step.
    Step(Arc<Progress>),
}

/// A guest that serves.
pub(super) struct Link {
    pub(super) machine: Machine,
    writer: Mutex<UnixStream>,
    routes: Mutex<HashMap<u64, Route>>,
    numbers: AtomicU64,
    gone: AtomicBool,
    denials: Mutex<VecDeque<Vec<u8>>>,
    /// What keeps others from the machine's layers.
    held: Mutex<Option<Held>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Link").field(&self.machine).finish()
    }
}

/// Most denials kept until they are asked for; later ones push out the oldest.
const MAX_DENIALS: usize = 4096;

/// How long a guest may take to read a frame, all of it. Our program reads all the time: one that does
/// not is another.
const TAKING: Duration = Duration::from_secs(30);
/// Bytes that are written at once.
const PIECE: usize = 4096;
/// How often it is looked whether that is over.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for the guest's first frame; the release of its kernel.
pub(super) fn greet(machine: &Machine, patience: Duration) -> Result<String, VmError> {
    let frame = expect(machine, "start", patience, Kind::Hello)?;
    let mut from = Reader::new(&frame.body);
    match from.number() {
        Ok(VERSION) => from.text().map_err(|_| VmError::Nonsense),
        _ => Err(VmError::Nonsense),
    }
}

/// Waits for a frame of one kind before anybody else reads.
pub(super) fn expect(
    machine: &Machine,
    what: &'static str,
    patience: Duration,
    kind: Kind,
) -> Result<Frame, VmError> {
    let end = Instant::now() + patience;
    let mut reader = Patient {
        stream: &machine.channel,
        end,
    };
    match frame::read(&mut reader) {
        Ok(Some(frame)) if frame.kind == kind => Ok(frame),
        Ok(Some(frame)) if frame.kind == Kind::Refused => Err(refused(&frame)),
        Ok(Some(_)) => Err(VmError::Nonsense),
        Ok(None) => Err(machine.closed()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(machine.silent(what, patience))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(VmError::Nonsense),
        Err(_) => Err(machine.closed()),
    }
}

/// Reads until a moment, however the bytes trickle in.
struct Patient<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

/// Writes until a moment, however slowly the guest takes the bytes.
struct Pressing<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl Write for Pressing<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        while Instant::now() < self.end {
            // The stream has a timeout of its own, after which this looks at the clock; it begins anew
            // with every piece that the kernel passes on.
            match self.stream.write(&buffer[..buffer.len().min(PIECE)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::fd::AsFd;
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            let [ready] = crate::sys::process::poll([self.stream.as_fd()], Some(left))?;
            if ready {
                return self.stream.read(buffer);
            }
        }
    }
}

/// Writes a frame to a guest within a time.
pub(super) fn tell(machine: &Machine, kind: Kind, body: &[u8]) -> io::Result<()> {
    press(&machine.channel, TAKING, |to| {
        frame::write(to, kind, 0, body)
    })
}

/// Writes to a stream within a time.
fn press(
    stream: &UnixStream,
    patience: Duration,
    write: impl FnOnce(&mut Pressing<'_>) -> io::Result<()>,
) -> io::Result<()> {
    stream.set_write_timeout(Some(LOOK.min(patience)))?;
    let end = Instant::now() + patience;
    write(&mut Pressing { stream, end })
}

pub(super) fn refused(frame: &Frame) -> VmError {
    match frame::refused(&frame.body) {
        Ok(failure) => VmError::Guest {
            stage: clean(&failure.stage),
            source: io::Error::from_raw_os_error(failure.errno),
        },
        Err(_) => VmError::Nonsense,
    }
}

/// Longest text of a guest that is passed on, in characters.
const MAX_TEXT: usize = 1000;

/// A guest's words: bounded, and without what a terminal takes for an order.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_TEXT)
        .collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Takes over a machine whose guest serves, and starts handing out its frames.
    pub(super) fn new(machine: Machine, held: Held) -> Result<Arc<Self>, VmError> {
        let shared = |stage: &str| {
            let stage = stage.to_owned();
            move |source| VmError::Start { stage, source }
        };
        let reader = machine
            .channel
            .try_clone()
            .map_err(shared("share the channel"))?;
        let writer = machine
            .channel
            .try_clone()
            .map_err(shared("share the channel"))?;
        let link = Arc::new(Self {
            machine,
            writer: Mutex::new(writer),
            routes: Mutex::default(),
            numbers: AtomicU64::new(1),
            gone: AtomicBool::new(false),
            denials: Mutex::default(),
            held: Mutex::new(Some(held)),
        });
        // Holds no strong reference: the machine ends with its last user, and then the stream.
        let weak = Arc::downgrade(&link);
        std::thread::spawn(move || {
            let mut reader = &reader;
            while let Ok(Some(frame)) = frame::read(&mut reader) {
                let Some(link) = weak.upgrade() else {
                    return;
                };
                if !link.hand_out(frame) {
                    break;
                }
            }
            if let Some(link) = weak.upgrade() {
                // Whatever it is that runs there still, nobody listens to it any more.
                let _ = link.machine.closed();
                link.lose();
            }
        });
        Ok(link)
    }

    /// Gives a frame to whom it is for; false when the guest breaks the protocol.
    fn hand_out(&self, frame: Frame) -> bool {
        if frame.kind == Kind::Denial {
            // Of fixed length: a guest that floods cannot fill the host's memory.
            let known = frame.body.len() == crate::lsm::DENIAL;
            let mut denials = locked(&self.denials);
            if denials.len() >= MAX_DENIALS {
                denials.pop_front();
            }
            denials.extend(known.then_some(frame.body));
            return known;
        }
        let mut routes = locked(&self.routes);
        let last = match routes.get(&frame.stream) {
            Some(Route::Answer(_)) => true,
            Some(Route::Step(progress)) => match progress.take(&frame) {
                Taken::More => false,
                Taken::Last => true,
                Taken::Nonsense => return false,
            },
            None => false,
        };
        if last && let Some(Route::Answer(sender)) = routes.remove(&frame.stream) {
            let _ = sender.send(frame);
        }
        true
    }

    /// Everything that waits learns that the machine is gone.
    fn lose(&self) {
        self.gone.store(true, Ordering::Release);
        for (_, route) in locked(&self.routes).drain() {
            if let Route::Step(progress) = route {
                progress.gone();
            }
        }
    }

    /// Ends the machine and lets go of its layers.
    pub(super) fn end(&self) {
        self.machine.end();
        drop(locked(&self.held).take());
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn send(&self, kind: Kind, stream: u64, body: &[u8]) -> io::Result<()> {
        let writer = locked(&self.writer);
        if self.is_gone() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let sent = press(&writer, TAKING, |to| frame::write(to, kind, stream, body));
        if sent.is_err() {
            // Half a frame may be on its way: nothing that follows would be understood.
            self.gone.store(true, Ordering::Release);
            drop(writer);
            self.machine.end();
            self.lose();
        }
        sent
    }

    /// Registers who waits for frames of a number.
    pub(super) fn route(&self, number: u64, route: Route) {
        locked(&self.routes).insert(number, route);
        // Lost in between: nobody would tell it any more.
        if self.is_gone() {
            self.lose();
        }
    }

    pub(super) fn forget(&self, number: u64) {
        locked(&self.routes).remove(&number);
    }

    /// Sends a request and waits for its one answer.
    pub(super) fn ask(
        &self,
        kind: Kind,
        number: u64,
        body: &[u8],
        what: &'static str,
        patience: Duration,
    ) -> Result<Frame, VmError> {
        let (sender, receiver): (_, Receiver<Frame>) = channel();
        self.route(number, Route::Answer(sender));
        if self.send(kind, number, body).is_err() {
            self.forget(number);
            return Err(self.machine.closed());
        }
        match receiver.recv_timeout(patience) {
            Ok(frame) if frame.kind == Kind::Refused => Err(refused(&frame)),
            Ok(frame) => Ok(frame),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                self.forget(number);
                Err(self.machine.silent(what, patience))
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(self.machine.closed()),
        }
    }

    pub(super) fn take_denials(&self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut *locked(&self.denials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_stops_reading_or_hardly_reads_keeps_nobody() {
        let patience = Duration::from_millis(50);
        let write =
            |stream: &UnixStream| press(stream, patience, |to| to.write_all(&vec![7; 8 << 20]));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let error = write(&ours).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Always a little, so that each single write goes on.
        let (ours, mut slow) = UnixStream::pair().unwrap();
        let reader =
            std::thread::spawn(move || while slow.read(&mut [0; 1]).is_ok_and(|n| n > 0) {});
        let error = write(&ours).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop((ours, theirs));
        reader.join().unwrap();
        // And one that reads is waited for.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all.len()
        });
        press(&ours, TAKING, |to| to.write_all(&[7; 1 << 20])).unwrap();
        drop(ours);
        assert_eq!(reader.join().unwrap(), 1 << 20);
    }
}
