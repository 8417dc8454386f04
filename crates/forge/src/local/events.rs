//! What happened in a repository, derived from what stands in it: nothing can be lost by a crash, because nothing is
//! sent. The reader keeps the cursor; it says what the reader has seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::repo::{Records, Repo};
use crate::git::{Oid, default_branch};
use crate::{ChangeState, Cursor, ForgeError, ForgeEvent, ForgeEventKind, Page};

/// Events of changes on one page.
const PAGE: usize = 500;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Last event of a change.
    seq: u64,
    /// Head of the default branch; absent before the first look.
    #[serde(default)]
    head: Option<Option<Oid>>,
    /// Pushes seen so far: tells apart a branch that goes back and forth.
    #[serde(default)]
    pushes: u64,
    /// Branches of open changes that are not where we left them.
    #[serde(default)]
    moved: BTreeMap<u64, Option<Oid>>,
}

impl Repo {
    pub(crate) fn events_since(
        &self,
        since: Option<&Cursor>,
    ) -> Result<Page<ForgeEvent>, ForgeError> {
        let mut seen = match since {
            None => Seen::default(),
            Some(Cursor(text)) => serde_json::from_str(text).map_err(|_| {
                ForgeError::Invalid(format!(
                    "`{}` is not a place in the events",
                    text.escape_default()
                ))
            })?,
        };
        // The heads before the records: what happens in between is reported next time, never skipped.
        let branch = default_branch(&self.git_dir)?.unwrap_or_default();
        let head = self.head(&branch)?;
        let records = self.records()?;
        let mut items = self.recorded(&records, &mut seen);
        items.extend(self.pushed(branch, head, &mut seen));
        items.extend(self.moved_branches(&mut seen)?);
        let next =
            serde_json::to_string(&seen).map_err(|error| ForgeError::Invalid(error.to_string()))?;
        Ok(Page {
            items,
            next: Some(Cursor(next)),
            rate: None,
        })
    }

    fn recorded(&self, records: &Records, seen: &mut Seen) -> Vec<ForgeEvent> {
        let mut all: Vec<_> = records
            .values()
            .flat_map(|(_, record)| {
                record
                    .events
                    .iter()
                    .map(move |event| (record.number, event))
            })
            .filter(|(_, event)| event.seq > seen.seq)
            .collect();
        all.sort_by_key(|(number, event)| (event.seq, *number));
        all.truncate(PAGE);
        if let Some((_, last)) = all.last() {
            seen.seq = last.seq;
        }
        all.into_iter()
            .map(|(number, event)| ForgeEvent {
                id: format!("{}#{number}/{}", self.name, event.seq),
                repository: self.name.clone(),
                at: Some(event.at),
                actor: Some(event.actor.clone()),
                what: event.what.clone(),
            })
            .collect()
    }

    fn pushed(&self, branch: String, head: Option<Oid>, seen: &mut Seen) -> Option<ForgeEvent> {
        let before = seen.head.replace(head)?;
        let after = head.filter(|_| head != before)?;
        seen.pushes += 1;
        let from = before.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string());
        Some(self.noticed(
            format!("{}@{branch}/{}:{from}..{after}", self.name, seen.pushes),
            ForgeEventKind::Push {
                branch,
                before,
                after,
            },
        ))
    }

    fn moved_branches(&self, seen: &mut Seen) -> Result<Vec<ForgeEvent>, ForgeError> {
        let mut now = self.not_ours(&*self.records()?)?;
        if now
            .iter()
            .any(|(number, (_, found))| seen.moved.get(number) != Some(found))
        {
            // It may be an act of ours between its two refs: look again when no writer is at work.
            let writing = self.write()?;
            now = self.not_ours(&writing.records)?;
        }
        let fresh = now
            .iter()
            .filter(|(number, (_, found))| seen.moved.get(number) != Some(found));
        let events = fresh
            .map(|(&number, &(expected, found))| {
                let place = found.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string());
                let id = format!("{}#{number}/moved:{expected}..{place}", self.name);
                self.noticed(
                    id,
                    ForgeEventKind::ChangeMoved {
                        number,
                        expected,
                        found,
                    },
                )
            })
            .collect();
        seen.moved = now
            .into_iter()
            .map(|(number, (_, found))| (number, found))
            .collect();
        Ok(events)
    }

    /// The open changes whose branch is elsewhere: where we left it, and where it is.
    fn not_ours(&self, records: &Records) -> Result<BTreeMap<u64, (Oid, Option<Oid>)>, ForgeError> {
        let mut moved = BTreeMap::new();
        for (_, record) in records
            .values()
            .filter(|(_, record)| record.state == ChangeState::Open)
        {
            let found = self.head(&record.branch)?;
            if found.is_none() || !record.is_ours(found) {
                moved.insert(record.number, (record.our_head, found));
            }
        }
        Ok(moved)
    }

    fn noticed(&self, id: String, what: ForgeEventKind) -> ForgeEvent {
        ForgeEvent {
            id,
            repository: self.name.clone(),
            at: None,
            actor: None,
            what,
        }
    }
}
