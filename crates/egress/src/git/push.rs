//! The list of commands that a push begins with: it says which refs are to change, before the pack
//! (gitprotocol-pack, "Reference Update Request and Packfile Transfer").

use super::packet::{self, Packet};
use super::refs::{RefUpdate, is_object_id};

/// Most refs that one push may change.
pub const MOST_UPDATES: usize = 256;

/// Most lines of a list: commands, and borders of a shallow clone.
const MOST_LINES: usize = 2048;

/// Most bytes of a list, the pack not counted.
pub const LONGEST_COMMANDS: usize = 512 * 1024;

/// What a client may ask for: what these mean for the form of the list is known, and that is none.
const CAPABILITIES: [&str; 7] = [
    "report-status",
    "report-status-v2",
    "side-band-64k",
    "quiet",
    "atomic",
    "ofs-delta",
    "no-thin",
];

/// What a client may tell.
const TOLD: [&str; 3] = ["agent=", "session-id=", "object-format="];

/// A list of commands that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// Refs that shall change; none where git only asks whether it may push.
    pub updates: Vec<RefUpdate>,
    /// Whether the client wants to know how each ref fared.
    pub report: bool,
    /// Whether what it is told is parted into bands.
    pub side_band: bool,
}

/// Why bytes are no push that could be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// They are not what git would write.
    #[error("this is not a list of refs to update: {0}")]
    Malformed(&'static str),
    /// Too many refs, lines or bytes.
    #[error("a push has at most 256 refs")]
    TooLong,
    /// One ref, two commands.
    #[error("a push changes each ref once")]
    Twice,
    /// A signed push has its commands a second time, inside its certificate.
    #[error("signed pushes are not passed on: push without --signed")]
    Signed,
    /// Options are commands to the server.
    #[error("push options are not passed on: push without --push-option")]
    Options,
}

/// Reads the beginning of a push as it arrives, and keeps its bytes, so that nothing has to leave
/// before all of its refs are known.
#[derive(Debug, Default)]
pub struct PushReader {
    received: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    lines: usize,
    push: Push,
    /// Length of ids, once a command was read.
    id_length: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Commands,
    /// The list has ended; what follows must be a pack.
    Ended,
    /// All is known.
    Known,
}

impl PushReader {
    /// Takes the next bytes. The push, as soon as its refs are known and its pack has begun.
    ///
    /// # Errors
    /// [`PushError`]: nothing of it may leave.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<&Push>, PushError> {
        self.received.extend_from_slice(bytes);
        while self.stage == Stage::Commands {
            let received = self.received.get(self.at..).unwrap_or_default();
            let Some((packet, length)) = packet::next(received).map_err(PushError::Malformed)?
            else {
                break;
            };
            match packet {
                Packet::Flush => self.stage = Stage::Ended,
                Packet::Line(line) => {
                    let line = line.to_vec();
                    self.line(&line)?;
                }
            }
            self.at += length;
            if self.at > LONGEST_COMMANDS {
                return Err(PushError::TooLong);
            }
        }
        if self.stage == Stage::Ended {
            self.begin_pack()?;
        }
        Ok((self.stage == Stage::Known).then_some(&self.push))
    }

    /// The body has ended. The push and all bytes so far.
    ///
    /// # Errors
    /// [`PushError::Malformed`] when it ended too early.
    pub fn end(self) -> Result<(Push, Vec<u8>), PushError> {
        let empty = self.stage == Stage::Ended && self.push.updates.is_empty();
        if self.stage == Stage::Known || empty {
            return Ok((self.push, self.received));
        }
        Err(PushError::Malformed("it ends before its pack begins"))
    }

    /// The push and all bytes so far, if its refs are known: more bytes may follow them.
    #[must_use]
    pub fn known(self) -> Option<(Push, Vec<u8>)> {
        (self.stage == Stage::Known).then_some((self.push, self.received))
    }

    /// After the list stands the pack, or nothing at all. A second list would go unjudged.
    fn begin_pack(&mut self) -> Result<(), PushError> {
        const PACK: &[u8] = b"PACK";
        let rest = self.received.get(self.at..).unwrap_or_default();
        let start = rest.get(..PACK.len()).unwrap_or(rest);
        if !PACK.starts_with(start) || (self.push.updates.is_empty() && !rest.is_empty()) {
            return Err(PushError::Malformed(
                "something stands between its refs and its pack",
            ));
        }
        if start == PACK {
            self.stage = Stage::Known;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), PushError> {
        self.lines += 1;
        if self.lines > MOST_LINES || self.push.updates.len() >= MOST_UPDATES {
            return Err(PushError::TooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text =
            std::str::from_utf8(line).map_err(|_| PushError::Malformed("a line is not UTF-8"))?;
        let (command, asked) = match text.split_once('\0') {
            Some((command, asked)) => (command, Some(asked)),
            None => (text, None),
        };
        if command == "push-cert" {
            return Err(PushError::Signed);
        }
        let first = self.push.updates.is_empty();
        if let Some(id) = command.strip_prefix("shallow ") {
            return match is_object_id(id) && first && asked.is_none() {
                true => Ok(()),
                false => Err(PushError::Malformed(
                    "a border of a shallow clone is not one",
                )),
            };
        }
        match asked {
            Some(asked) if first => self.capabilities(asked)?,
            None if !first => {}
            _ => {
                return Err(PushError::Malformed(
                    "what the client can do stands after the first command, and only there",
                ));
            }
        }
        self.command(command)
    }

    fn capabilities(&mut self, asked: &str) -> Result<(), PushError> {
        self.id_length = 40;
        for capability in asked.split(' ').filter(|part| !part.is_empty()) {
            let told = TOLD.iter().any(|key| capability.starts_with(key));
            match capability {
                "push-options" => return Err(PushError::Options),
                "report-status" | "report-status-v2" => self.push.report = true,
                "side-band-64k" => self.push.side_band = true,
                "object-format=sha1" => {}
                "object-format=sha256" => self.id_length = 64,
                _ if capability.starts_with("push-cert=") => return Err(PushError::Signed),
                _ if capability.starts_with("object-format=")
                    || !(told || CAPABILITIES.contains(&capability)) =>
                {
                    return Err(PushError::Malformed(
                        "the client asks for something unknown",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn command(&mut self, command: &str) -> Result<(), PushError> {
        let mut parts = command.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(PushError::Malformed("a command is not two ids and a ref"));
        };
        let is_id = |id: &str| id.len() == self.id_length && is_object_id(id);
        if !is_id(old) || !is_id(new) {
            return Err(PushError::Malformed("a command is not two ids and a ref"));
        }
        if self.push.updates.iter().any(|update| update.name == name) {
            return Err(PushError::Twice);
        }
        self.push.updates.push(RefUpdate {
            name: name.to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
