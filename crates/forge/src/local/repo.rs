//! One repository of the local forge: its records, read through a cache that the refs validate, and its writer lock.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::record::{Record, VERSION};
use crate::git::{
    Expect, Git, GitError, ObjectKind, Oid, RefUpdate, Staged, head_of, list_refs, read_object,
    stage_object, update_refs_with,
};
use crate::{Change, ChangeFilter, ChangeState, Cursor, ForgeError, Page, RepoName};

const CHANGES: &str = "refs/nightcrew/changes/";
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Changes on one page.
const PAGE: usize = 100;
/// Largest record, in bytes: a change is a description, not a store.
const MAX_RECORD: usize = 16 << 20;

pub(crate) type Records = BTreeMap<u64, (Oid, Arc<Record>)>;

pub(crate) struct Repo {
    pub(crate) name: RepoName,
    pub(crate) git_dir: PathBuf,
    pub(crate) git: Git,
    cache: Mutex<Arc<Records>>,
    writer: Mutex<()>,
}

/// The right to write, while it is held; with the records as they are now.
pub(crate) struct Writing<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) records: Arc<Records>,
    /// Objects that the next save brings with it.
    pub(crate) staged: Staged,
    _file: File,
    _guard: std::sync::MutexGuard<'a, ()>,
}

impl Repo {
    pub(crate) fn new(name: RepoName, git_dir: PathBuf, git: Git) -> Self {
        Self {
            name,
            git_dir,
            git,
            cache: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// The records as the refs say now; only those that changed are read again.
    pub(crate) fn records(&self) -> Result<Arc<Records>, ForgeError> {
        let known = Arc::clone(&self.cache.lock().unwrap_or_else(PoisonError::into_inner));
        let mut now = Records::new();
        let mut same = true;
        for (name, oid) in list_refs(&self.git_dir, CHANGES)? {
            let Some(number) = name[CHANGES.len()..]
                .strip_suffix("/meta")
                .and_then(|n| n.parse().ok())
            else {
                continue;
            };
            let record = match known.get(&number) {
                Some((seen, record)) if *seen == oid => Arc::clone(record),
                _ => {
                    same = false;
                    Arc::new(self.load(&name, oid)?)
                }
            };
            now.insert(number, (oid, record));
        }
        if same && now.len() == known.len() {
            return Ok(known);
        }
        let now = Arc::new(now);
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
        Ok(now)
    }

    fn load(&self, name: &str, oid: Oid) -> Result<Record, ForgeError> {
        let (_, content) = read_object(&self.git, &self.git_dir, oid)?;
        let record: Record = serde_json::from_slice(&content).map_err(|error| {
            ForgeError::Invalid(format!("{name} in {} cannot be read: {error}", self.name))
        })?;
        if record.version > VERSION {
            let version = record.version;
            return Err(ForgeError::Invalid(format!(
                "{name} in {} has the later form {version}",
                self.name
            )));
        }
        Ok(record)
    }

    pub(crate) fn head(&self, branch: &str) -> Result<Option<Oid>, ForgeError> {
        Ok(head_of(&self.git_dir, branch)?)
    }

    /// Takes the writer lock.
    pub(crate) fn write(&self) -> Result<Writing<'_>, ForgeError> {
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.git_dir.join("nightcrew.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ForgeError::io("open", &path))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(ForgeError::Conflict(format!("repository {}", self.name)));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(ForgeError::io("lock", &path)(error));
                }
            }
        }
        let mut writing = Writing {
            repo: self,
            records: self.records()?,
            staged: Staged::default(),
            _file: file,
            _guard: guard,
        };
        writing.complete_merges()?;
        Ok(writing)
    }

    pub(crate) fn view(&self, record: &Record) -> Result<Change, ForgeError> {
        let head = if record.state == ChangeState::Open {
            self.head(&record.branch)?
        } else {
            None
        };
        Ok(record.view(&self.name, head))
    }

    pub(crate) fn record(&self, number: u64) -> Result<Arc<Record>, ForgeError> {
        let records = self.records()?;
        find(&records, &self.name, number).map(|(_, record)| record)
    }

    pub(crate) fn change(&self, number: u64) -> Result<Change, ForgeError> {
        self.view(&*self.record(number)?)
    }

    pub(crate) fn find_change(&self, branch: &str) -> Result<Option<Change>, ForgeError> {
        let records = self.records()?;
        by_branch(&records, branch)
            .map(|(_, record)| self.view(record))
            .transpose()
    }

    pub(crate) fn list_changes(
        &self,
        filter: &ChangeFilter,
        after: Option<&Cursor>,
    ) -> Result<Page<Change>, ForgeError> {
        let after: u64 = match after {
            None => 0,
            Some(Cursor(text)) => text
                .parse()
                .map_err(|_| ForgeError::Invalid(format!("`{text}` is not a place in a list")))?,
        };
        let records = self.records()?;
        let mut items = Vec::new();
        for (_, record) in records
            .range(after.saturating_add(1)..)
            .map(|(_, found)| found)
        {
            if !fits(record, filter) {
                continue;
            }
            if items.len() == PAGE {
                let next = items
                    .last()
                    .map(|change: &Change| Cursor(change.number.to_string()));
                return Ok(Page {
                    items,
                    next,
                    rate: None,
                });
            }
            items.push(self.view(record)?);
        }
        Ok(Page {
            items,
            next: None,
            rate: None,
        })
    }
}

fn fits(record: &Record, filter: &ChangeFilter) -> bool {
    filter.state.is_none_or(|state| record.state == state)
        && filter
            .branch_prefix
            .as_ref()
            .is_none_or(|prefix| record.branch.starts_with(prefix))
        && filter
            .label
            .as_ref()
            .is_none_or(|label| record.labels.contains(label))
}

fn find(records: &Records, name: &RepoName, number: u64) -> Result<(Oid, Arc<Record>), ForgeError> {
    records
        .get(&number)
        .cloned()
        .ok_or_else(|| ForgeError::NotFound(format!("change {number} in {name}")))
}

/// The open change of a branch, otherwise the newest.
pub(crate) fn by_branch<'a>(records: &'a Records, branch: &str) -> Option<&'a (Oid, Arc<Record>)> {
    let mut of_branch = records
        .values()
        .filter(|(_, record)| record.branch == branch);
    let newest = of_branch.clone().next_back();
    of_branch
        .find(|(_, record)| record.state == ChangeState::Open)
        .or(newest)
}

impl Writing<'_> {
    pub(crate) fn next_number(&self) -> u64 {
        self.records.keys().next_back().map_or(1, |last| last + 1)
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.records
            .values()
            .map(|(_, record)| record.last_seq())
            .max()
            .map_or(1, |last| last + 1)
    }

    pub(crate) fn find(&self, number: u64) -> Result<(Oid, Record), ForgeError> {
        let (oid, record) = find(&self.records, &self.repo.name, number)?;
        Ok((oid, Record::clone(&record)))
    }

    /// The record of a change that is open.
    pub(crate) fn open(&self, number: u64) -> Result<(Oid, Record), ForgeError> {
        let (oid, record) = self.find(number)?;
        match record.state {
            ChangeState::Open => Ok((oid, record)),
            state => Err(ForgeError::Closed { number, state }),
        }
    }

    /// Writes a record, replacing `old`, in one step with `before` and `after`, in this order.
    pub(crate) fn save(
        &mut self,
        old: Option<Oid>,
        record: Record,
        before: Vec<RefUpdate>,
        after: Vec<RefUpdate>,
    ) -> Result<(), ForgeError> {
        let repo = self.repo;
        let content = serde_json::to_vec(&record).map_err(|error| {
            ForgeError::Invalid(format!("the change cannot be written: {error}"))
        })?;
        if content.len() > MAX_RECORD {
            let number = record.number;
            return Err(ForgeError::Invalid(format!(
                "change {number} would have more than {MAX_RECORD} bytes"
            )));
        }
        let mut staged = std::mem::take(&mut self.staged);
        let blob = stage_object(&repo.git_dir, ObjectKind::Blob, &content, &mut staged)?;
        let mut updates = before;
        updates.push(RefUpdate::set(
            meta_ref(record.number),
            Expect::unchanged(old),
            blob,
        ));
        updates.extend(after);
        update_refs_with(&repo.git, &repo.git_dir, staged, &updates).map_err(
            |error| match error {
                GitError::RefMoved { name, .. } if name == meta_ref(record.number) => {
                    ForgeError::Conflict(format!("change {} in {}", record.number, repo.name))
                }
                other => ForgeError::Git(other),
            },
        )?;
        let mut records = Records::clone(&self.records);
        records.insert(record.number, (blob, Arc::new(record)));
        self.records = Arc::new(records);
        *repo.cache.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&self.records);
        Ok(())
    }
}

pub(crate) fn meta_ref(number: u64) -> String {
    format!("{CHANGES}{number}/meta")
}

/// Keeps the last head of a change reachable when its branch is deleted.
pub(crate) fn head_ref(number: u64) -> String {
    format!("{CHANGES}{number}/head")
}
