//! What exec control refuses or sees during steps: like events put together, sent in batches,
//! explained in the step's log.
//!
//! The first event goes out at once, so that a person who looks on sees it; under a flood batches
//! come ever more slowly, and what does not fit into one is counted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use model::exec::{ExecBatch, ExecEvent, ExecProcess, MOST_EVENTS};
use sandbox::Environment;

use crate::fencing;

/// Pause after a batch that was not full.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between batches of a flood.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest path in an event, in characters.
const LONGEST_PATH: usize = 1024;
/// Longest rule and reason in an event, in characters.
const LONGEST_RULE: usize = 1200;
/// Longest process name in an event, in characters; the kernel's own has 15.
const LONGEST_NAME: usize = 64;
/// Ancestors in an event.
const MOST_PROCESSES: usize = 16;
/// Refusals explained in one step's log.
const MOST_EXPLAINED: usize = 20;

/// What makes events alike.
#[derive(PartialEq, Eq, Hash, Clone)]
struct Kind {
    denied: bool,
    digest: Option<[u8; 32]>,
    path: String,
    rule: String,
}

/// Gives the events since it was last called.
pub type Source = Box<dyn FnMut() -> Vec<sandbox::ExecEvent> + Send>;

/// Watches exec control during one step.
pub(crate) struct Gate {
    header: ExecBatch,
    next: Arc<AtomicU32>,
    watch: Watch,
    source: Option<Source>,
    /// Handed out and not known to have arrived.
    under_way: Option<ExecBatch>,
}

impl Gate {
    /// A gate whose batches are like `header` and numbered by `next`.
    pub(crate) fn new(header: ExecBatch, next: Arc<AtomicU32>) -> Self {
        Self {
            header,
            next,
            watch: Watch::default(),
            source: None,
            under_way: None,
        }
    }

    /// Watches this environment from now on; false where it has nothing to say.
    pub(crate) fn attach(&mut self, environment: &Arc<Environment>) -> bool {
        self.source = source(environment);
        self.source.is_some()
    }

    /// Takes in what happened; lines for the step's log.
    pub(crate) fn look(&mut self) -> Vec<String> {
        match &mut self.source {
            Some(source) => self.watch.add(source()),
            None => Vec::new(),
        }
    }

    /// A batch to send, when it is time. It is handed out again until [`sent`](Self::sent).
    pub(crate) fn due(&mut self) -> Option<ExecBatch> {
        if self.under_way.is_none() {
            let content = self.watch.due(Instant::now())?;
            self.under_way = Some(self.batch(content));
        }
        self.under_way.clone()
    }

    /// The batch handed out has arrived.
    pub(crate) fn sent(&mut self) {
        self.under_way = None;
    }

    /// The step ended: the last lines for its log.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let mut lines = self.look();
        lines.extend(self.watch.end_step());
        lines
    }

    /// What was not sent yet, in order. A batch that may have arrived keeps its number: sending it
    /// again is no second one.
    pub(crate) fn rest(&mut self) -> Vec<ExecBatch> {
        let mut all: Vec<ExecBatch> = self.under_way.take().into_iter().collect();
        if let Some(content) = self.watch.take(Instant::now()) {
            all.push(self.batch(content));
        }
        all
    }

    fn batch(&self, content: Content) -> ExecBatch {
        ExecBatch {
            batch: self.next.fetch_add(1, Ordering::Relaxed),
            events: content.events,
            more_denied: content.more_denied,
            more_unknown: content.more_unknown,
            ..self.header.clone()
        }
    }
}

/// Events between two batches, and what was explained in this step already.
#[derive(Default)]
pub struct Watch {
    events: Vec<ExecEvent>,
    known: HashMap<Kind, usize>,
    more_denied: u64,
    more_unknown: u64,
    explained: HashMap<Kind, ()>,
    unexplained: u64,
    sent: Option<(Instant, Duration)>,
}

/// A batch without the numbers that the talk with the control plane adds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The events, at most [`MOST_EVENTS`].
    pub events: Vec<ExecEvent>,
    /// Refusals beyond those.
    pub more_denied: u64,
    /// Others beyond those.
    pub more_unknown: u64,
}

impl Watch {
    /// Takes in events; the lines that explain new refusals to whoever reads the step's log.
    pub fn add(&mut self, events: Vec<sandbox::ExecEvent>) -> Vec<String> {
        let mut lines = Vec::new();
        for event in events {
            let kind = Kind {
                denied: event.denied,
                digest: event.digest,
                path: shortened(&event.path, LONGEST_PATH),
                rule: shortened(&event.rule, LONGEST_RULE),
            };
            if event.denied && !self.explained.contains_key(&kind) {
                if self.explained.len() < MOST_EXPLAINED {
                    lines.push(explanation(&kind));
                    self.explained.insert(kind.clone(), ());
                } else {
                    self.unexplained = self.unexplained.saturating_add(event.count);
                }
            }
            self.count(kind, &event);
        }
        lines
    }

    fn count(&mut self, kind: Kind, event: &sandbox::ExecEvent) {
        if let Some(place) = self.known.get(&kind) {
            let known = &mut self.events[*place];
            known.count = known.count.saturating_add(event.count);
        } else if self.events.len() < MOST_EVENTS {
            self.known.insert(kind.clone(), self.events.len());
            self.events.push(told(kind, event));
        } else {
            let more = match event.denied {
                true => &mut self.more_denied,
                false => &mut self.more_unknown,
            };
            *more = more.saturating_add(event.count);
        }
    }

    /// A batch, when there is something and it is time.
    pub fn due(&mut self, now: Instant) -> Option<Content> {
        let early = self
            .sent
            .is_some_and(|(at, pause)| now.duration_since(at) < pause);
        if early {
            return None;
        }
        self.take(now)
    }

    /// A batch of everything that there is: at the end of a step.
    pub fn take(&mut self, now: Instant) -> Option<Content> {
        if self.events.is_empty() {
            return None;
        }
        let content = Content {
            events: std::mem::take(&mut self.events),
            more_denied: std::mem::take(&mut self.more_denied),
            more_unknown: std::mem::take(&mut self.more_unknown),
        };
        self.known.clear();
        let pause = match self.sent {
            Some((_, pause)) if content.events.len() == MOST_EVENTS => {
                (pause * 2).min(LONGEST_PAUSE)
            }
            _ => SHORTEST_PAUSE,
        };
        self.sent = Some((now, pause));
        Some(content)
    }

    /// The last line about a step's refusals, where not all were explained. The next step begins
    /// anew.
    pub fn end_step(&mut self) -> Option<String> {
        self.explained.clear();
        match std::mem::take(&mut self.unexplained) {
            0 => None,
            more => Some(format!("nightcrew: refused {more} more executions")),
        }
    }
}

/// Where an environment's events come from; absent where nothing judges. It holds the environment
/// only while it asks.
#[must_use]
pub fn source(environment: &Arc<Environment>) -> Option<Source> {
    if !fencing::judges(environment.report()) {
        return None;
    }
    let environment = Arc::downgrade(environment);
    Some(Box::new(move || {
        let environment = environment.upgrade();
        environment
            .map(|environment| environment.exec_events(Duration::ZERO))
            .unwrap_or_default()
    }))
}

/// What an agent or a person reads.
fn explanation(kind: &Kind) -> String {
    let name = kind.path.rsplit('/').next().unwrap_or(&kind.path);
    let mut text = format!(
        "nightcrew: refused to execute {name} ({}): {}",
        kind.path, kind.rule
    );
    if let Some(digest) = kind.digest {
        let _ = write!(text, " [sha256:{}]", hex::encode(digest));
    }
    text
}

fn told(kind: Kind, event: &sandbox::ExecEvent) -> ExecEvent {
    let processes = event.processes.iter().take(MOST_PROCESSES);
    ExecEvent {
        denied: kind.denied,
        digest: kind.digest.map(hex::encode),
        path: kind.path,
        processes: processes
            .map(|(id, name)| ExecProcess {
                id: *id,
                name: shortened(name, LONGEST_NAME),
            })
            .collect(),
        rule: kind.rule,
        count: event.count,
        at_ms: u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX),
    }
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str, denied: bool, count: u64) -> sandbox::ExecEvent {
        sandbox::ExecEvent {
            environment: "e".into(),
            denied,
            digest: Some([7; 32]),
            path: path.into(),
            processes: vec![(3, "sh".into()), (2, "make".into())],
            rule: "npx: not here".into(),
            count,
            at: Duration::from_millis(12),
        }
    }

    #[test]
    fn like_events_are_one_and_a_refusal_is_explained_once_a_step() {
        let mut watch = Watch::default();
        let lines = watch.add(vec![
            event("/usr/bin/npx", true, 1),
            event("/usr/bin/npx", true, 4),
            event("/tmp/x", false, 1),
        ]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(
                "nightcrew: refused to execute npx (/usr/bin/npx): npx: not here [sha256:0707"
            ),
            "{}",
            lines[0]
        );
        assert!(watch.add(vec![event("/usr/bin/npx", true, 1)]).is_empty());
        let content = watch.take(Instant::now()).unwrap();
        assert_eq!(content.events.len(), 2);
        assert_eq!(content.events[0].count, 6);
        assert_eq!(content.events[0].processes[1].name, "make");
        assert_eq!(watch.end_step(), None);
        assert_eq!(watch.add(vec![event("/usr/bin/npx", true, 1)]).len(), 1);
    }

    #[test]
    fn a_flood_is_bounded_counted_and_slowed_down() {
        let mut watch = Watch::default();
        let begin = Instant::now();
        let flood = |from: usize| {
            (from..from + 1000)
                .map(|n| event(&format!("/tmp/{n}"), true, 2))
                .collect()
        };
        let lines = watch.add(flood(0));
        assert_eq!(lines.len(), MOST_EXPLAINED);
        let content = watch.due(begin).unwrap();
        assert_eq!(content.events.len(), MOST_EVENTS);
        assert_eq!(content.more_denied, 2 * (1000 - MOST_EVENTS as u64));
        watch.add(flood(1000));
        assert_eq!(watch.due(begin + SHORTEST_PAUSE / 2), None);
        assert!(watch.due(begin + SHORTEST_PAUSE).is_some());
        watch.add(flood(2000));
        assert_eq!(
            watch.due(begin + SHORTEST_PAUSE * 2),
            None,
            "the second pause is longer"
        );
        assert!(watch.take(begin + SHORTEST_PAUSE * 2).is_some());
        let last = watch.end_step().unwrap();
        assert!(last.contains("more executions"), "{last}");
    }

    #[test]
    fn what_comes_from_inside_is_bounded() {
        let mut watch = Watch::default();
        let mut long = event(&"é".repeat(5000), true, 1);
        long.processes = (0..500).map(|id| (id, "n".repeat(500))).collect();
        watch.add(vec![long]);
        let content = watch.take(Instant::now()).unwrap();
        let kept = &content.events[0];
        assert!(kept.path.chars().count() <= LONGEST_PATH + 1);
        assert_eq!(kept.processes.len(), MOST_PROCESSES);
        assert!(kept.processes[0].name.len() <= LONGEST_NAME + 3);
    }
}
