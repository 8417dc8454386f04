//! From what an automation says an environment is made of to a root that stands ready.
//!
//! Images are unpacked into a store of the runner, set-up commands run once and what they wrote is
//! kept under the digest of all that went into it. Nothing of the task's repository is read here but
//! a `devcontainer.json` and files that set-up names, never through a link.

mod definition;
mod host;
mod registries;
mod sweep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::isolation::{RootEvidence, RootKind};
use recipe::oci::{ImageStore, Owner, StoreOptions};
use recipe::{Recipe, ResolvedRoot, Root, Service, SetupFiles, SetupStep};
use sandbox::storage::{SetUp, SetUpCommand, SetUpError, SetUpFiles, prepare_root};
use sandbox::{FolderMount, Limits, RootRecipe, SANDBOX_UID, Supervisor};

pub use definition::{Context, image_source, recipe_of};
pub use registries::{Credentials, Registries};

/// Time for all set-up commands of a recipe together.
const SET_UP: Duration = Duration::from_mins(30);

/// Why a root does not stand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The recipe or what it names is wrong.
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    /// A digest is none.
    #[error(transparent)]
    Digest(#[from] recipe::InvalidDigest),
    /// Set-up failed.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// Something that a recipe may say and that is not carried out here.
    #[error("{what} is not carried out here: {instead}")]
    Unsupported {
        /// What.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
}

/// A root that stands ready, with what belongs to it.
#[derive(Debug, Clone)]
pub struct Ready {
    /// For the sandbox.
    pub root: RootRecipe,
    /// What set-up left in the home: below the home of environments.
    pub home: Option<PathBuf>,
    /// Variables of everything that runs.
    pub env: BTreeMap<String, String>,
    /// Where the workspace appears beside `/work`.
    pub workspace: Option<PathBuf>,
    /// Where commands begin, unless in `/work`.
    pub workdir: Option<String>,
    /// Commands in a new workspace, before its first step.
    pub prepare: Vec<Vec<String>>,
    /// Commands at every start of an environment.
    pub start: Vec<Vec<String>>,
    /// Caches, and the variables by which tools find them.
    pub caches: Vec<CacheMount>,
    /// Programs beside the steps.
    pub services: Vec<Service>,
    /// Versions of tools that must be there.
    pub toolchains: BTreeMap<String, String>,
    /// For the evidence.
    pub evidence: RootEvidence,
    /// What was left out or changed, a sentence each.
    pub notes: Vec<String>,
}

/// A cache as environments see it: what set-up put there, and what they add for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// A name for the folder of what is added.
    pub name: String,
    /// What set-up put there; never written.
    pub source: PathBuf,
    /// Where it appears inside.
    pub target: PathBuf,
}

/// Roots of one runner or person: a folder with unpacked images and finished set-ups.
#[derive(Debug, Clone)]
pub struct Roots {
    folder: PathBuf,
    registries: Registries,
}

impl Roots {
    /// The roots kept below a folder.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>, registries: Registries) -> Self {
        Self {
            folder: folder.into(),
            registries,
        }
    }

    /// Makes a recipe's root ready: unpacks its image and runs its set-up, as far as that is not done.
    /// May take minutes the first time. `repository` holds files that set-up names.
    ///
    /// # Errors
    /// [`RootError`]. Set-up that failed is remembered with its output, and fails the same way until
    /// `retry`.
    pub fn ready(
        &self,
        supervisor: &Supervisor,
        recipe: &Recipe,
        repository: Option<&Path>,
        retry: bool,
    ) -> Result<Ready, RootError> {
        let mut notes = Vec::new();
        let (mut root, kind, digest, resolved, own) = match &recipe.root {
            Root::Host(host) => {
                let root = RootRecipe {
                    extra: host.folders.iter().map(PathBuf::from).collect(),
                    ..RootRecipe::default()
                };
                let none = BTreeMap::new();
                let own = ResolvedRoot::Host(Some(host::identity()));
                (root, RootKind::Host, None, own, none)
            }
            Root::Folder { path } => {
                let tree = Path::new(path);
                // No environment writes to it, so what was read once need not be read again.
                let stamps = self.stamps(path)?;
                let digest = recipe::folder::digest(tree, Some(&stamps))?.digest;
                let root = RootRecipe {
                    tree: Some(tree.to_owned()),
                    ..RootRecipe::default()
                };
                (
                    root,
                    RootKind::Folder,
                    Some(digest.to_string()),
                    ResolvedRoot::Folder(digest),
                    BTreeMap::new(),
                )
            }
            Root::Image(image) => {
                let options = self.registries.options(image)?;
                // Paths that are not absolute begin where this process works.
                let unpacked = self.images()?.obtain(image, Path::new(""), options)?;
                notes.extend(
                    unpacked
                        .notes
                        .iter()
                        .map(|note| format!("{}: {}", note.entry, note.text)),
                );
                let root = RootRecipe {
                    tree: Some(unpacked.tree.path.clone()),
                    ..RootRecipe::default()
                };
                (
                    root,
                    RootKind::Image,
                    Some(unpacked.info.id.to_string()),
                    ResolvedRoot::Image(unpacked.info.id),
                    unpacked.info.config.env.clone(),
                )
            }
        };
        let files = match repository {
            Some(folder) => recipe::setup_files(folder, recipe)?,
            None => SetupFiles::new(),
        };
        let mut env = recipe.variables(&own)?;
        // What is on the host's PATH inside is always there.
        if let Some(path) = env.get_mut("PATH") {
            *path = format!("/nightcrew/bin:{path}");
        }
        let digest_of_all = recipe.digest(resolved, &files)?;
        let mut caches = Vec::new();
        for cache in &recipe.caches {
            let source = self
                .folder
                .join("caches")
                .join(cache.folder_name(digest_of_all));
            fill_here(&source)?;
            sweep::touch(&source).map_err(|error| unusable(&source, error))?;
            for (name, value) in cache.env() {
                env.entry(name.to_owned()).or_insert(value);
            }
            caches.push(CacheMount {
                name: cache.name(),
                source,
                target: PathBuf::from(cache.place()),
            });
        }
        let mut home = None;
        if !recipe.setup.is_empty() {
            let setup = SetUp {
                key: digest_of_all.hex(),
                root,
                commands: commands(recipe, repository, &files),
                env: env.clone().into_iter().collect(),
                mounts: caches.iter().map(filling).collect(),
                limits: Limits::default(),
                deadline: SET_UP,
                retry,
            };
            let warm = prepare_root(supervisor, &self.folder.join("set-up"), &setup)?;
            root = warm.root;
            home = Some(warm.home);
        }
        Ok(Ready {
            root,
            home,
            env,
            workspace: also(recipe),
            workdir: recipe.workdir.clone().or_else(|| recipe.workspace.clone()),
            prepare: recipe.prepare.iter().map(recipe::Command::argv).collect(),
            start: recipe.start.iter().map(recipe::Command::argv).collect(),
            caches,
            services: recipe.services.clone(),
            toolchains: recipe.toolchains.clone(),
            evidence: RootEvidence {
                kind,
                digest,
                recipe: Some(digest_of_all.to_string()),
                reproducible: recipe.reproducible(),
                toolchains: Vec::new(),
            },
            notes,
        })
    }

    /// Where it is remembered which files of a folder have which content.
    fn stamps(&self, path: &str) -> Result<PathBuf, RootError> {
        let folder = self.folder.join("stamps");
        std::fs::create_dir_all(&folder).map_err(|source| unusable(&folder, source))?;
        Ok(folder.join(recipe::Digest::of(path.as_bytes()).hex()))
    }

    fn images(&self) -> Result<ImageStore, RootError> {
        let root = rustix::process::geteuid().is_root();
        let options = StoreOptions {
            // As root, what runs in environments is another user.
            owner: root.then_some(Owner {
                uid: SANDBOX_UID,
                gid: SANDBOX_UID,
            }),
            ..StoreOptions::default()
        };
        Ok(ImageStore::open(&self.folder.join("images"), options)?)
    }
}

impl Ready {
    /// Folders below that of the [`Roots`] that an environment of it stands on.
    #[must_use]
    pub fn stands_on(&self) -> Vec<PathBuf> {
        let root = self.root.tree.iter().chain(&self.root.layers);
        let caches = self.caches.iter().map(|cache| &cache.source);
        root.chain(&self.home).chain(caches).cloned().collect()
    }
}

/// Where the workspace appears beside the place where it always is.
fn also(recipe: &Recipe) -> Option<PathBuf> {
    let place = recipe.workspace.as_ref().map(PathBuf::from)?;
    (place != Path::new("/work")).then_some(place)
}

/// The commands of a recipe's set-up, each with what it may read of the repository.
fn commands(recipe: &Recipe, repository: Option<&Path>, known: &SetupFiles) -> Vec<SetUpCommand> {
    let command = |step: &SetupStep| {
        let files = repository.filter(|_| !step.files.is_empty()).map(|base| {
            let (base, step, known) = (base.to_owned(), step.clone(), known.clone());
            SetUpFiles::new(move |target| {
                recipe::lay_out(&base, &step, &known, target)
                    .map_err(|error| std::io::Error::other(crate::halt::chain(&error)))
            })
        });
        SetUpCommand {
            argv: step.run.argv(),
            env: step.env.clone().into_iter().collect(),
            cwd: step.cwd(),
            files,
        }
    };
    recipe.setup.iter().map(command).collect()
}

/// A cache while set-up fills it.
fn filling(cache: &CacheMount) -> FolderMount {
    FolderMount {
        source: cache.source.clone(),
        target: cache.target.clone(),
        writable: true,
        upper: None,
    }
}

impl CacheMount {
    /// A cache for an environment that keeps what it adds below `folder`.
    #[must_use]
    pub fn mount(&self, folder: &Path) -> FolderMount {
        FolderMount {
            source: self.source.clone(),
            target: self.target.clone(),
            writable: true,
            upper: Some(folder.join(format!("cache-{}", self.name))),
        }
    }
}

/// A folder that set-up can write to.
fn fill_here(folder: &Path) -> Result<(), RootError> {
    let failed = |error| unusable(folder, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    if std::fs::read_dir(folder).map_err(failed)?.next().is_none() {
        sandbox::prepare_base(folder).map_err(SetUpError::Environment)?;
    }
    Ok(())
}

fn unusable(path: &Path, source: std::io::Error) -> RootError {
    RootError::SetUp(SetUpError::Cache(sandbox::storage::StorageError::Path {
        action: "make",
        path: path.to_owned(),
        source,
    }))
}
