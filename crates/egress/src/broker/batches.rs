//! What happened, kept in bounded memory until somebody takes it: equal events are one with a
//! count, and a flood of different ones cannot push out what matters most.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::egress::{EgressEvent, EgressKind, EgressRefusal, MOST_EGRESS_EVENTS};

use crate::record::Recorder;

/// Places of a batch that only pushes, credentials and models may take.
const KEPT_FREE: usize = 64;

/// Most environments for which events wait. More than one process carries.
const MOST_ENVIRONMENTS: usize = 4096;

/// Events of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Batch {
    /// What happened, in the order of each first.
    pub events: Vec<EgressEvent>,
    /// Refusals beyond those.
    pub more_refused: u64,
    /// Permitted ones beyond those.
    pub more_permitted: u64,
}

impl Batch {
    /// Whether nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.more_refused == 0 && self.more_permitted == 0
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: EgressKind,
    refused: Option<EgressRefusal>,
    host: String,
    port: u16,
    detail: String,
    rule: String,
    address: String,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    places: HashMap<Key, usize>,
    ordinary: usize,
}

/// Collects events by environment.
#[derive(Debug, Default)]
pub struct Batches(Mutex<HashMap<String, Waiting>>);

impl Batches {
    /// Takes what waits for one environment.
    #[must_use]
    pub fn take(&self, environment: &str) -> Batch {
        self.lock()
            .remove(environment)
            .map_or_else(Batch::default, |waiting| waiting.batch)
    }

    /// Takes everything that waits, with the environments' ids.
    #[must_use]
    pub fn take_all(&self) -> Vec<(String, Batch)> {
        let all = std::mem::take(&mut *self.lock());
        all.into_iter()
            .map(|(environment, waiting)| (environment, waiting.batch))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for Batches {
    fn record(&self, environment: &str, event: EgressEvent) {
        let mut all = self.lock();
        if !all.contains_key(environment) {
            if all.len() >= MOST_ENVIRONMENTS {
                return;
            }
            all.insert(environment.to_owned(), Waiting::default());
        }
        if let Some(waiting) = all.get_mut(environment) {
            waiting.add(event);
        }
    }
}

impl Waiting {
    fn add(&mut self, event: EgressEvent) {
        let key = Key {
            kind: event.kind,
            refused: event.refused,
            host: event.host.clone(),
            port: event.port,
            detail: event.detail.clone(),
            rule: event.rule.clone(),
            address: event.address.clone(),
        };
        if let Some(known) = self
            .places
            .get(&key)
            .and_then(|place| self.batch.events.get_mut(*place))
        {
            known.count = known.count.saturating_add(event.count);
            known.sent = known.sent.saturating_add(event.sent);
            known.received = known.received.saturating_add(event.received);
            return;
        }
        let weighty = matches!(
            event.kind,
            EgressKind::Push | EgressKind::Credential | EgressKind::Model
        );
        let room = self.batch.events.len() < MOST_EGRESS_EVENTS
            && (weighty || self.ordinary < MOST_EGRESS_EVENTS - KEPT_FREE);
        if !room {
            let more = if event.refused.is_some() {
                &mut self.batch.more_refused
            } else {
                &mut self.batch.more_permitted
            };
            *more = more.saturating_add(event.count);
            return;
        }
        self.ordinary += usize::from(!weighty);
        self.places.insert(key, self.batch.events.len());
        self.batch.events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EgressKind, host: &str) -> EgressEvent {
        EgressEvent {
            kind,
            refused: Some(EgressRefusal::HostNotNamed),
            host: host.to_owned(),
            port: 443,
            detail: String::new(),
            rule: String::new(),
            address: String::new(),
            sent: 1,
            received: 2,
            count: 1,
            at_ms: 5,
        }
    }

    #[test]
    fn equal_events_are_one_with_a_count() {
        let batches = Batches::default();
        for _ in 0..1000 {
            batches.record("e", event(EgressKind::Connection, "a.test"));
        }
        batches.record("f", event(EgressKind::Connection, "a.test"));
        let batch = batches.take("e");
        assert_eq!(batch.events.len(), 1);
        assert_eq!((batch.events[0].count, batch.events[0].sent), (1000, 1000));
        assert!(batches.take("e").is_empty() && !batches.take("f").is_empty());
    }

    #[test]
    fn a_flood_is_counted_exactly_and_hides_no_push() {
        let batches = Batches::default();
        for number in 0..10_000 {
            batches.record("e", event(EgressKind::Request, &format!("h{number}.test")));
        }
        batches.record("e", event(EgressKind::Push, "git.test"));
        let batch = batches.take("e");
        assert!(batch.events.len() <= MOST_EGRESS_EVENTS);
        assert!(
            batch
                .events
                .iter()
                .any(|event| event.kind == EgressKind::Push)
        );
        let counted: u64 = batch.events.iter().map(|event| event.count).sum();
        assert_eq!(counted + batch.more_refused, 10_001);
    }
}
