//! Events on their way to whoever listens: alike ones are counted, floods stay bounded.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::exec_policy::{Digest, ExecEvent};

/// How long alike events are counted together after the first, which is told at once.
pub(crate) const WINDOW: Duration = Duration::from_millis(250);
/// Most kinds of events kept per environment; of more, only how many there were.
const MAX_KINDS: usize = 256;
/// Most events kept for a listener that does not take them; of more, only how many there were.
const MAX_UNSENT: usize = 512;

/// What makes events alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) digest: Option<Digest>,
    pub(crate) path: String,
    pub(crate) rule: String,
    pub(crate) denied: bool,
}

/// The events of one environment.
#[derive(Debug, Default)]
pub(crate) struct Events {
    kinds: HashMap<Kind, Counted>,
    /// Events that the listener has not taken yet.
    unsent: VecDeque<ExecEvent>,
    /// Events of kinds there was no room for.
    more: u64,
    more_denied: u64,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    /// The first of them, without its count.
    event: ExecEvent,
    /// How many came since the first was told.
    count: u64,
}

impl Events {
    /// Counts an event of a kind that was told lately; false when it is new and must be told.
    pub(crate) fn count(&mut self, kind: &Kind) -> bool {
        if let Some(counted) = self.kinds.get_mut(kind) {
            counted.count += 1;
            return true;
        }
        if self.kinds.len() >= MAX_KINDS {
            self.more += 1;
            self.more_denied += u64::from(kind.denied);
            return true;
        }
        false
    }

    /// Takes in an event of a new kind.
    pub(crate) fn first(&mut self, kind: Kind, event: ExecEvent, now: Instant) {
        self.queue(event.clone());
        self.kinds.insert(
            kind,
            Counted {
                since: now,
                event,
                count: 0,
            },
        );
    }

    fn queue(&mut self, event: ExecEvent) {
        if self.unsent.len() < MAX_UNSENT {
            self.unsent.push_back(event);
        } else {
            self.more += event.count;
            self.more_denied += if event.denied { event.count } else { 0 };
        }
    }

    /// Tells what is to be told, by `send`, which says whether it could; true when more will be.
    pub(crate) fn tell(&mut self, now: Instant, mut send: impl FnMut(&ExecEvent) -> bool) -> bool {
        for event in self.over(now) {
            self.queue(event);
        }
        while let Some(event) = self.unsent.front() {
            if !send(event) {
                return true;
            }
            self.unsent.pop_front();
        }
        if self.more > 0 && send(&various(self.more, self.more_denied)) {
            (self.more, self.more_denied) = (0, 0);
        }
        self.more > 0 || !self.kinds.is_empty()
    }

    /// Counts of kinds whose window is over.
    fn over(&mut self, now: Instant) -> Vec<ExecEvent> {
        let mut due = Vec::new();
        self.kinds.retain(|_, counted| {
            let over = now.saturating_duration_since(counted.since) >= WINDOW;
            if over && counted.count > 0 {
                counted.event.count = counted.count;
                due.push(counted.event.clone());
            }
            !over
        });
        due
    }
}

/// One event that stands for all of which only the number is known.
pub(crate) fn various(count: u64, denied: u64) -> ExecEvent {
    ExecEvent {
        environment: String::new(),
        denied: denied > 0,
        digest: None,
        path: String::new(),
        processes: Vec::new(),
        rule: format!("various: more kinds than are kept apart, {denied} of them refused"),
        count,
        at: Duration::ZERO,
    }
}

/// Text from inside without control characters, which would speak to a terminal.
pub(crate) fn clean(text: &[u8]) -> String {
    use std::fmt::Write;
    let mut clean = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        // Marks that turn the direction of writing make a path read as another.
        let turning = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turning {
            let _ = write!(clean, "\\u{{{:x}}}", u32::from(character));
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(number: u64) -> Kind {
        Kind {
            digest: None,
            path: format!("/{number}"),
            rule: "name x".to_owned(),
            denied: true,
        }
    }

    fn event(number: u64) -> ExecEvent {
        ExecEvent {
            environment: "e".to_owned(),
            denied: true,
            digest: None,
            path: format!("/{number}"),
            processes: Vec::new(),
            rule: "name x".to_owned(),
            count: 1,
            at: Duration::ZERO,
        }
    }

    proptest! {
        /// However events come, every one is told or counted once, and no more kinds are kept than
        /// there is room for.
        #[test]
        fn nothing_is_lost_and_nothing_grows(numbers in prop::collection::vec(0_u64..1000, 0..3000)) {
            let mut events = Events::default();
            let start = Instant::now();
            let mut told = 0;
            for (at, number) in numbers.iter().enumerate() {
                let now = start + Duration::from_millis(at as u64);
                if !events.count(&kind(*number)) {
                    events.first(kind(*number), event(*number), now);
                }
                if at % 10 == 0 {
                    // The listener takes some at a time.
                    let mut room = 3;
                    events.tell(now, |event| {
                        room -= 1;
                        if room >= 0 {
                            told += event.count;
                        }
                        room >= 0
                    });
                }
                prop_assert!(events.kinds.len() <= MAX_KINDS && events.unsent.len() <= MAX_UNSENT);
            }
            let end = start + Duration::from_hours(1);
            let more = events.tell(end, |event| {
                told += event.count;
                true
            });
            prop_assert_eq!(told, numbers.len() as u64);
            prop_assert!(!more);
        }
    }

    #[test]
    fn a_path_cannot_speak_to_a_terminal_nor_turn_around() {
        assert_eq!(clean(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(clean("x\u{202e}fdp".as_bytes()), "x\\u{202e}fdp");
        assert_eq!(clean("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
    }
}
