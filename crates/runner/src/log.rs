//! What steps print: split into lines, cleaned, masked, bounded, shown live and kept.
//!
//! The kept log is a document of one line per line of output: milliseconds since the step began,
//! a space, the stream (`out`, `err`, or `note` for the runner's own words), a space, the text.

mod clean;
mod keep;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use model::protocol::{LogLine, LogStream};

use self::clean::clean;
use self::keep::Kept;
use crate::mask::{Mask, MaskStream};

pub(crate) use self::clean::plain;

/// Longest line kept, in bytes as printed; the rest of it is dropped and counted.
const LONGEST_LINE: usize = 16 * 1024;

/// The log of one attempt at one step.
pub(crate) struct StepLog {
    step: u32,
    started: Instant,
    mask: Arc<dyn Mask>,
    kept: Kept,
    /// Lines not yet sent to whoever looks on.
    live: Vec<LogLine>,
    live_bytes: u64,
    live_limit: u64,
    out: Partial,
    err: Partial,
    /// One for each stream, where secrets are looked for across lines.
    masked: [Option<Box<dyn MaskStream>>; 2],
}

/// The beginning of a line whose end was not printed yet.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    dropped: usize,
}

impl StepLog {
    /// An empty log that keeps at most about `limit` bytes.
    pub(crate) fn new(step: u32, limit: u64, mask: Arc<dyn Mask>) -> Self {
        let masked = [mask.stream(), mask.stream()];
        Self {
            step,
            started: Instant::now(),
            mask,
            masked,
            kept: Kept::new(limit),
            live: Vec::new(),
            live_bytes: 0,
            live_limit: limit,
            out: Partial::default(),
            err: Partial::default(),
        }
    }

    /// Takes in what was printed.
    pub(crate) fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        match &mut self.masked[usize::from(stream == LogStream::Err)] {
            None => self.take_in(stream, bytes),
            Some(masked) => {
                let shown = masked.push(bytes);
                self.take_in(stream, &shown);
            }
        }
    }

    fn take_in(&mut self, stream: LogStream, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.partial(stream).add(&bytes[..end]);
            self.end_line(stream);
            bytes = &bytes[end + 1..];
        }
        self.partial(stream).add(bytes);
    }

    /// Says something in the runner's own name.
    pub(crate) fn note(&mut self, text: &str) {
        let text = clean(text.as_bytes());
        let text = self.mask.mask(&text).into_owned();
        self.push(LogStream::Note, text);
    }

    /// Ends lines that were not ended.
    pub(crate) fn flush(&mut self) {
        for (number, stream) in [LogStream::Out, LogStream::Err].into_iter().enumerate() {
            if let Some(mut masked) = self.masked[number].take() {
                let shown = masked.end();
                self.take_in(stream, &shown);
                self.masked[number] = self.mask.stream();
            }
            let partial = self.partial(stream);
            if !partial.bytes.is_empty() || partial.dropped > 0 {
                self.end_line(stream);
            }
        }
    }

    /// Takes the lines that were not shown yet.
    pub(crate) fn take_live(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.live)
    }

    /// The document; `None` when nothing was printed.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.flush();
        self.kept.finish()
    }

    fn partial(&mut self, stream: LogStream) -> &mut Partial {
        match stream {
            LogStream::Err => &mut self.err,
            LogStream::Out | LogStream::Note => &mut self.out,
        }
    }

    fn end_line(&mut self, stream: LogStream) {
        let partial = std::mem::take(self.partial(stream));
        let bytes = partial.bytes.strip_suffix(b"\r").unwrap_or(&partial.bytes);
        let mut text = self.mask.mask(&clean(bytes)).into_owned();
        if partial.dropped > 0 {
            let _ = write!(text, " … ({} bytes more in this line)", partial.dropped);
        }
        self.push(stream, text);
    }

    fn push(&mut self, stream: LogStream, text: String) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let word = match stream {
            LogStream::Out => "out",
            LogStream::Err => "err",
            LogStream::Note => "note",
        };
        self.kept.add(format!("{at_ms} {word} {text}\n"));
        let before = self.live_bytes;
        self.live_bytes = before.saturating_add(text.len() as u64 + 1);
        let line = |text| LogLine {
            step: self.step,
            at_ms,
            stream,
            text,
        };
        if self.live_bytes <= self.live_limit || stream == LogStream::Note {
            self.live.push(line(text));
        } else if before <= self.live_limit {
            let text = "the log is longer than its limit: its end is shown when the step has ended";
            self.live.push(LogLine {
                stream: LogStream::Note,
                ..line(text.to_owned())
            });
        }
    }
}

impl Partial {
    fn add(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE
            .saturating_sub(self.bytes.len())
            .min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.dropped += bytes.len() - room;
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    struct Hide;
    impl Mask for Hide {
        fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
            Cow::Owned(text.replace("hunter2", "***"))
        }
    }

    fn log(limit: u64) -> StepLog {
        StepLog::new(3, limit, Arc::new(Hide))
    }

    #[test]
    fn lines_are_put_together_masked_and_kept_with_their_stream() {
        let mut log = log(1000);
        log.write(LogStream::Out, b"the password is hun");
        log.write(LogStream::Err, b"oh\r\n");
        log.write(LogStream::Out, b"ter2\nno end");
        log.flush();
        let texts: Vec<_> = log
            .take_live()
            .into_iter()
            .map(|line| (line.stream, line.text))
            .collect();
        assert_eq!(
            texts,
            [
                (LogStream::Err, "oh".to_owned()),
                (LogStream::Out, "the password is ***".to_owned()),
                (LogStream::Out, "no end".to_owned())
            ]
        );
        let document = String::from_utf8(log.finish().unwrap()).unwrap();
        assert!(
            document
                .lines()
                .all(|line| line.splitn(3, ' ').nth(2).is_some()),
            "{document}"
        );
        assert!(!document.contains("hunter2"));
    }

    #[test]
    fn a_flood_keeps_its_head_and_its_tail_and_says_what_is_missing() {
        let mut log = log(10_000);
        for n in 0..100_000 {
            log.write(LogStream::Out, format!("line {n}\n").as_bytes());
        }
        let live = log.take_live().len();
        assert!(live < 2000, "{live} lines were shown");
        let document = String::from_utf8(log.finish().unwrap()).unwrap();
        assert!(document.len() < 12_000, "{}", document.len());
        assert!(document.contains("out line 0\n") && document.contains("out line 99999\n"));
        assert!(document.contains("were dropped here"), "{document}");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut log = log(1 << 20);
        for _ in 0..100 {
            log.write(LogStream::Out, &[b'x'; 1000]);
        }
        let document = String::from_utf8(log.finish().unwrap()).unwrap();
        assert!(document.len() < LONGEST_LINE + 100);
        assert!(
            document.contains("83616 bytes more in this line"),
            "{}",
            &document[document.len() - 60..]
        );
    }

    #[test]
    fn silence_is_no_document() {
        assert_eq!(log(100).finish(), None);
    }
}
