//! The work at one moment, collected and verified once: what validators judged is what is
//! proposed, whatever they leave behind in the workspace.

use std::io;
use std::sync::Arc;

use forge::git::Oid;
use sandbox::Environment;
use serde::{Deserialize, Serialize};

use crate::collect::{CollectError, Collected, InnerGit, collect};
use crate::diff::Diff;
use crate::halt::Halt;
use crate::held::StopWatch;
use crate::hidden;
use crate::place::Place;
use crate::reach::{Made, Reach};
use crate::sweep::{self, Finding};
use crate::task::Work;
use crate::verify::{Verified, VerifyError, verify};

/// Names of the runner's own files in a task's folder.
const NOTE: &str = "snapshot.json";
const PACK: &str = "snapshot.pack";

/// Collected and verified work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) note: Note,
    /// Objects that the base lacks.
    pub(crate) pack: Vec<u8>,
}

/// All of it but the objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) tree: Oid,
    /// Trees and messages of the commits made in the environment.
    pub(crate) commits: Vec<(Oid, Vec<u8>)>,
    pub(crate) diff: Diff,
    pub(crate) patch: String,
    /// What must not leave with it.
    #[serde(default)]
    pub(crate) secrets: Vec<Finding>,
}

impl Snapshot {
    /// Work that is as the base is.
    pub(crate) fn of_nothing(tree: Oid) -> Self {
        let note = Note {
            tree,
            commits: Vec::new(),
            diff: Diff::default(),
            patch: String::new(),
            secrets: Vec::new(),
        };
        Self {
            note,
            pack: Vec::new(),
        }
    }

    pub(crate) fn new(collected: Collected, verified: Verified, secrets: Vec<Finding>) -> Self {
        let commits = collected
            .commits
            .into_iter()
            .map(|made| (made.tree, made.message))
            .collect();
        let note = Note {
            tree: collected.tree,
            commits,
            diff: verified.diff,
            patch: verified.patch,
            secrets,
        };
        Self {
            note,
            pack: collected.pack,
        }
    }

    /// Writes it beside the layer, for the time after a wait.
    pub(crate) fn save(&self, place: &Place) -> io::Result<()> {
        std::fs::write(place.own(PACK), &self.pack)?;
        std::fs::write(place.own(NOTE), serde_json::to_vec(&self.note)?)
    }

    /// Removes the one that was saved, if there is one.
    pub(crate) fn forget(place: &Place) -> io::Result<()> {
        match std::fs::remove_file(place.own(NOTE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The one that was saved; `None` when there is none or it cannot be read.
    pub(crate) fn load(place: &Place) -> Option<Self> {
        let note = serde_json::from_slice(&std::fs::read(place.own(NOTE)).ok()?).ok()?;
        Some(Self {
            note,
            pack: std::fs::read(place.own(PACK)).ok()?,
        })
    }
}

/// Environments over the base in which nothing of the task ran, made when they are first needed.
#[derive(Default)]
pub(crate) struct Pristine {
    /// Reaches nothing: where we look at the work.
    closed: Option<Made>,
    /// Reaches what the task does, without credentials: where commands say what the base is like.
    /// The same as the other where the task reaches nothing.
    reaching: Option<Made>,
}

impl Pristine {
    /// One that reaches nothing.
    pub(crate) async fn get(&mut self, work: &mut Work) -> Result<&Arc<Environment>, Halt> {
        let made = match self.closed.take() {
            Some(made) => made,
            None => make(work, Reach::Nothing).await?,
        };
        Ok(&self.closed.insert(made).environment)
    }

    /// One that reaches what the task does.
    pub(crate) async fn reaching(&mut self, work: &mut Work) -> Result<&Arc<Environment>, Halt> {
        if work.recipe.definition.network.is_default() {
            return self.get(work).await;
        }
        let made = match self.reaching.take() {
            Some(made) => made,
            None => make(work, Reach::RulesWithoutCredentials).await?,
        };
        Ok(&self.reaching.insert(made).environment)
    }

    /// Variables that the network of that one needs.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let made = self.reaching.as_ref();
        made.map(Made::variables).unwrap_or_default()
    }

    /// Destroys what was made.
    pub(crate) async fn end(self) {
        for made in [self.closed, self.reaching].into_iter().flatten() {
            made.end().await;
        }
    }
}

async fn make(work: &mut Work, reach: Reach) -> Result<Made, Halt> {
    work.pristine += 1;
    let (layer, outputs) = work.place.pristine(work.pristine);
    std::fs::create_dir(&outputs).map_err(|error| Halt::broken("cannot make a folder", &error))?;
    let name = format!("{}-pristine-{}", work.assignment.task.id, work.pristine);
    work.recipe.make(name, layer, outputs, reach).await
}

/// The work as it stands, from the last time it was looked at if no command ran since. `Err(Ok)`
/// says in words why the work cannot be used.
pub(crate) async fn take(
    work: &mut Work,
    pristine: &mut Pristine,
) -> Result<Snapshot, Result<String, Halt>> {
    if let Some(snapshot) = &work.snapshot {
        return Ok(snapshot.clone());
    }
    let (base, base_tree) = (work.base.tree.commit, work.base.tree.tree);
    let limit = work.shared.options.change_bytes;
    let mut stop = work.talk.stop.clone();
    let mut git = InnerGit::over_workspace(work.environment().map_err(Err)?, &mut stop);
    let collected = match collect(&mut git, &work.place, base, base_tree, limit).await {
        Ok(collected) => collected,
        Err(CollectError::Unusable(why)) => return Err(Ok(why)),
        Err(CollectError::Halt(halt)) => return Err(Err(halt)),
    };
    let snapshot = if collected.tree == base_tree {
        Snapshot::of_nothing(base_tree)
    } else {
        let rules = work.sweep_rules();
        let environment = pristine.get(work).await.map_err(Err)?;
        match checked(environment, &mut stop, base_tree, collected, &rules).await {
            Ok(snapshot) => snapshot,
            Err(VerifyError::Refused(why)) => return Err(Ok(why)),
            Err(VerifyError::Halt(halt)) => return Err(Err(halt)),
        }
    };
    refuse_hidden(work, &snapshot).await?;
    work.snapshot = Some(snapshot.clone());
    Ok(snapshot)
}

/// Verified, and searched for what must not leave.
async fn checked(
    environment: &Arc<Environment>,
    stop: &mut StopWatch,
    base_tree: Oid,
    collected: Collected,
    rules: &sweep::Rules,
) -> Result<Snapshot, VerifyError> {
    let verified = verify(environment, stop, base_tree, &collected).await?;
    let subject = sweep::Subject {
        base_tree,
        collected: &collected,
        verified: &verified,
    };
    let secrets = sweep::look(environment, stop, &subject, rules).await?;
    Ok(Snapshot::new(collected, verified, secrets))
}

/// What validators see must be what is proposed.
async fn refuse_hidden(work: &Work, snapshot: &Snapshot) -> Result<(), Result<String, Halt>> {
    let (layer, index) = (work.place.layer(), work.base.checkout().join(".git/index"));
    let diff = snapshot.note.diff.clone();
    let looked = tokio::task::spawn_blocking(move || hidden::find(&layer, &index, &diff)).await;
    match looked.map_err(|error| Err(Halt::broken("a thread is lost", &error)))? {
        Ok(None) => Ok(()),
        Ok(Some(path)) => {
            let path = crate::log::plain(path.as_bytes());
            Err(Ok(format!(
                "{path} is changed in the workspace, and git was made to overlook it"
            )))
        }
        Err(error) => Err(Ok(format!(
            "the workspace cannot be looked through: {error}"
        ))),
    }
}
