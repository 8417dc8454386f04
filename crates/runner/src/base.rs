//! Cached base trees: one checkout per commit, shared read-only by every task that works on it.
//!
//! `bases/<repository>/<commit>/tree` is the checkout, `results/` beside it what validators said
//! about it. A tree is made once, under a lock per repository, and never removed while a task uses
//! it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge::git::{
    BaseRequest, BaseTree, Git, GitError, Start, clone_base, default_branch, head_of, load_base,
};
use model::reason::ReasonCode;
use model::repository::Repository;
use model::task::Base;
use sha1::{Digest, Sha1};

use crate::halt::{Halt, chain};

/// Tries of a remote that does not answer.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The cache.
pub(crate) struct Bases {
    folder: PathBuf,
    git: Git,
    history: Option<u32>,
    keep: usize,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Folders with the number of their users, and when they were last let go.
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    users: HashMap<PathBuf, usize>,
    /// Folders that nobody uses, oldest first.
    idle: Vec<PathBuf>,
}

/// A base tree in use.
pub(crate) struct BaseLease {
    folder: PathBuf,
    pub(crate) tree: BaseTree,
    bases: Arc<Bases>,
}

impl BaseLease {
    /// The checkout.
    pub(crate) fn checkout(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Where results about this tree are remembered.
    pub(crate) fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// As facts have it.
    pub(crate) fn base(&self) -> Base {
        Base {
            commit: self.tree.commit.to_string(),
            branch: self.tree.branch.clone(),
        }
    }
}

impl Drop for BaseLease {
    fn drop(&mut self) {
        self.bases.let_go(&self.folder);
    }
}

impl Bases {
    /// The cache in this folder, with what earlier runners left in it.
    pub(crate) fn open(
        state: &Path,
        git: Git,
        history: Option<u32>,
        keep: usize,
    ) -> std::io::Result<Arc<Self>> {
        let folder = state.join("bases");
        let mut found = Vec::new();
        for repository in fs::read_dir(&folder)? {
            for entry in fs::read_dir(repository?.path())? {
                let entry = entry?;
                if load_base(&entry.path().join("tree")).is_none() {
                    // Half made when a runner died.
                    fs::remove_dir_all(entry.path())?;
                    continue;
                }
                found.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        found.sort();
        let used = Used {
            users: HashMap::new(),
            idle: found.into_iter().map(|(_, path)| path).collect(),
        };
        let locks = Mutex::default();
        Ok(Arc::new(Self {
            folder,
            git,
            history,
            keep,
            locks,
            used: Mutex::new(used),
        }))
    }

    /// The tree that a task works on: of this commit, or of the head of the default branch.
    pub(crate) async fn take(
        self: &Arc<Self>,
        repository: &Repository,
        base: Option<&Base>,
    ) -> Result<BaseLease, Halt> {
        let key = key(repository);
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        let _guard = lock.lock().await;
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let (this, folder) = (Arc::clone(self), self.folder.join(&key));
            let (repository, base) = (repository.clone(), base.cloned());
            let made =
                tokio::task::spawn_blocking(move || this.make(&folder, &repository, base.as_ref()))
                    .await;
            match made.map_err(|error| Halt::broken("the thread of a clone is lost", &error))? {
                Ok(lease) => return Ok(lease),
                Err(Problem::Git(GitError::Remote(cause))) if tried < TRIES => {
                    tracing::warn!(repository = %key, cause, "the remote cannot be read: trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(problem) => return Err(problem.halt(tried)),
            }
        }
        Err(Halt::Interrupted("the base was not made".to_owned()))
    }

    fn make(
        self: &Arc<Self>,
        folder: &Path,
        repository: &Repository,
        base: Option<&Base>,
    ) -> Result<BaseLease, Problem> {
        fs::create_dir_all(folder).map_err(|error| Problem::host("create", folder, error))?;
        let start = self.start(repository, base)?;
        if let Start::Commit { commit, .. } = &start {
            let place = folder.join(commit.to_string());
            if let Some(tree) = load_base(&place.join("tree")) {
                return Ok(self.lease(place, tree));
            }
        }
        // Made under a name of its own: which commit it is may only be known afterwards.
        let making = folder.join("making");
        if making.exists() {
            fs::remove_dir_all(&making).map_err(|error| Problem::host("remove", &making, error))?;
        }
        fs::create_dir(&making).map_err(|error| Problem::host("create", &making, error))?;
        let request = BaseRequest {
            remote: repository.clone_url.clone(),
            start,
            depth: self.history,
        };
        let tree = clone_base(&self.git, &request, &making.join("tree")).map_err(Problem::Git)?;
        let place = folder.join(tree.commit.to_string());
        if load_base(&place.join("tree")).is_some() {
            fs::remove_dir_all(&making).map_err(|error| Problem::host("remove", &making, error))?;
            return Ok(self.lease(place, tree));
        }
        sandbox::prepare_base(&making.join("tree")).map_err(Problem::Sandbox)?;
        fs::rename(&making, &place).map_err(|error| Problem::host("rename to", &place, error))?;
        Ok(self.lease(place, tree))
    }

    /// The commit, where it can be known without talking to another machine.
    fn start(&self, repository: &Repository, base: Option<&Base>) -> Result<Start, Problem> {
        if let Some(base) = base {
            let commit = base
                .commit
                .parse()
                .map_err(|_| GitError::UnknownRevision(base.commit.clone()));
            return Ok(Start::Commit {
                commit: commit.map_err(Problem::Git)?,
                branch: base.branch.clone(),
            });
        }
        let path = Path::new(
            repository
                .clone_url
                .strip_prefix("file://")
                .unwrap_or(&repository.clone_url),
        );
        let git_dir = [path.to_owned(), path.join(".git")]
            .into_iter()
            .find(|dir| dir.join("HEAD").is_file());
        let Some(git_dir) = git_dir.filter(|_| path.is_absolute()) else {
            return Ok(Start::Default);
        };
        let Some(branch) = default_branch(&git_dir).map_err(Problem::Git)? else {
            return Ok(Start::Default);
        };
        match head_of(&git_dir, &branch).map_err(Problem::Git)? {
            Some(commit) => Ok(Start::Commit { commit, branch }),
            None => Ok(Start::Default),
        }
    }

    fn lease(self: &Arc<Self>, folder: PathBuf, tree: BaseTree) -> BaseLease {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.idle.retain(|idle| *idle != folder);
        *used.users.entry(folder.clone()).or_insert(0) += 1;
        BaseLease {
            folder,
            tree,
            bases: Arc::clone(self),
        }
    }

    /// One user less; the oldest trees that nobody uses go when there are too many. They are
    /// removed while the lock is held, so that nobody can take up a tree that is half gone.
    fn let_go(&self, folder: &Path) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let left = used.users.get_mut(folder).map_or(0, |users| {
            *users -= 1;
            *users
        });
        if left > 0 {
            return;
        }
        used.users.remove(folder);
        used.idle.push(folder.to_owned());
        while used.idle.len() > self.keep {
            let oldest = used.idle.remove(0);
            if let Err(error) = fs::remove_dir_all(&oldest) {
                tracing::warn!(folder = %oldest.display(), %error, "a base tree could not be removed");
            }
        }
    }
}

/// Names the folder of a repository: readable, and different for different sources.
fn key(repository: &Repository) -> String {
    let mut hash = Sha1::new();
    for part in [&repository.forge, &repository.name, &repository.clone_url] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let readable: String = repository
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    format!("{readable}-{}", hex::encode(&hash.finalize()[..6]))
}

enum Problem {
    Git(GitError),
    Sandbox(sandbox::SandboxError),
    Host {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Problem {
    fn host(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Host {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    fn halt(self, tried: u32) -> Halt {
        match self {
            Self::Sandbox(error) => error.into(),
            Self::Host {
                doing,
                path,
                source,
            } => Halt::Interrupted(format!("cannot {doing} {}: {source}", path.display())),
            Self::Git(GitError::EmptyRepository(branch)) => Halt::failed(
                ReasonCode::RepositoryEmpty,
                format!("the repository has no commit on {branch}; push one and retry the task"),
            ),
            Self::Git(GitError::Io {
                doing,
                path,
                source,
            }) => Halt::Interrupted(format!("cannot {doing} {}: {source}", path.display())),
            Self::Git(error) => {
                let tries = if tried > 1 {
                    format!(" ({tried} tries)")
                } else {
                    String::new()
                };
                let sentence = format!(
                    "{}{tries}; check the clone URL and retry the task",
                    chain(&error)
                );
                Halt::failed(ReasonCode::RepositoryUnavailable, sentence)
            }
        }
    }
}
