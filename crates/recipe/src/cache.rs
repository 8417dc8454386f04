//! What of a package cache may be shared with whom. Policy only: nothing here touches a file.
//!
//! # The poisoning argument
//!
//! A cache is a way for one environment to put bytes into another. It is safe if no environment can
//! write what a more trusted one reads. So:
//!
//! 1. Every environment writes into an **upper** folder of its own, which no other reads while it lives.
//! 2. When it ends, the upper is thrown away, or **sealed**: it becomes a read-only layer under the key
//!    of the environment's own trust level. [`Trust::Outside`] is never sealed, so that two strangers
//!    cannot reach each other either.
//! 3. An environment sees, under its upper, only layers whose level is its own or higher.
//!
//! By 2 and 3 what a level writes is read by that level and those below it, never above. The key also
//! contains the recipe's digest, so that a cache filled with one root is not read with another.
//!
//! Within one level, tasks read what earlier tasks of that level sealed. There a second line holds: only
//! folders whose content the tool itself checks against a lock file before it uses them are shared below
//! [`Trust::Reviewed`] ([`Ecosystem::shared`]). Built things (Go's build cache, pip's wheels, cargo's
//! unpacked sources) are checked by nobody and never shared. Maven checks nothing against the
//! repository's files, so its cache is sealed at [`Trust::Reviewed`] only.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Where caches appear inside an environment.
const PLACE: &str = "/nightcrew/cache";

/// Whose word led to what an environment executes; later ones are trusted more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// A stranger's: a change from outside that nobody has looked at.
    Outside,
    /// Ours, not reviewed yet: what a task makes.
    Proposed,
    /// The default branch and the recipe's own set-up.
    Reviewed,
}

/// A tool whose downloads are worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ecosystem {
    /// Rust.
    Cargo,
    /// JavaScript.
    Npm,
    /// Python.
    Pip,
    /// Go.
    Go,
    /// Java.
    Maven,
}

/// One cache of a recipe: an ecosystem's by its name, or a folder that belongs to nobody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cache {
    /// `cargo`, `npm`, `pip`, `go`, `maven`.
    Ecosystem(Ecosystem),
    /// A folder inside that may outlive an environment, such as a volume of a `devcontainer.json`.
    Folder {
        /// Its name, unique by recipe.
        name: String,
        /// Where it appears inside.
        path: String,
    },
}

/// A sealed layer's name: what it is, who wrote it, with which recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CacheKey {
    /// The cache's identity, as in `cargo` or `folder/target`.
    pub cache: String,
    /// The trust level of all that wrote it.
    pub trust: Trust,
    /// The recipe they ran with.
    pub recipe: Digest,
}

/// How a cache is mounted, for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// Where it appears inside.
    pub target: String,
    /// Folders below `target` that come from the layers; the rest of it is empty and private. An empty
    /// list means the whole.
    pub shared: &'static [&'static str],
    /// Layers to show read-only, the first on top. One that does not exist yet is left out.
    pub read_only_lower: Vec<CacheKey>,
    /// The name of the private writable folder on top, within the environment's own storage.
    pub upper: String,
    /// Under which key the upper becomes a layer when the environment ends well; none: thrown away.
    /// Only the folders in `shared` are kept.
    pub seal: Option<CacheKey>,
    /// Variables that make the tool use it.
    pub env: Vec<(&'static str, String)>,
}

impl CacheKey {
    /// A file name for it: the same for the same key, never that of another.
    #[must_use]
    pub fn folder_name(&self) -> String {
        let trust = match self.trust {
            Trust::Outside => "outside",
            Trust::Proposed => "proposed",
            Trust::Reviewed => "reviewed",
        };
        let cache = self.cache.replace('/', "+");
        format!("{cache}@{trust}@{}", self.recipe.hex())
    }
}

impl Trust {
    const ALL: [Self; 3] = [Self::Outside, Self::Proposed, Self::Reviewed];
}

impl Ecosystem {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cargo, Self::Npm, Self::Pip, Self::Go, Self::Maven];

    /// Its name in recipes and keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Pip => "pip",
            Self::Go => "go",
            Self::Maven => "maven",
        }
    }

    /// Folders that may be shared.
    ///
    /// cargo: `.crate` files are checked against `Cargo.lock` when they are unpacked; `registry/src` and
    /// `git/checkouts` are not looked at again, and `config.toml` and `bin` execute. npm: `_cacache` is
    /// read by the SHA-512 of `package-lock.json`; `_npx` executes. pip: the HTTP cache is checked where
    /// requirements have hashes; wheels it built itself are not. go: archives under `cache/download` are
    /// checked against `go.sum`; unpacked modules are not.
    #[must_use]
    pub const fn shared(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &["registry/cache", "registry/index", "git/db"],
            Self::Npm => &["_cacache"],
            Self::Pip => &["http-v2"],
            Self::Go => &["cache/download"],
            Self::Maven => &["repository"],
        }
    }

    /// Whether the tool checks what it takes from the cache against a file of the repository.
    #[must_use]
    pub const fn checks_content(self) -> bool {
        match self {
            Self::Cargo | Self::Npm | Self::Go => true,
            // pip only with --require-hashes, Maven never.
            Self::Pip | Self::Maven => false,
        }
    }

    fn env(self, place: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Cargo => vec![("CARGO_HOME", place.to_owned())],
            Self::Npm => vec![("npm_config_cache", place.to_owned())],
            Self::Pip => vec![("PIP_CACHE_DIR", place.to_owned())],
            // Modules are unpacked read-only otherwise, and could not be removed without chmod.
            Self::Go => vec![
                ("GOMODCACHE", place.to_owned()),
                ("GOFLAGS", "-modcacherw".to_owned()),
            ],
            Self::Maven => vec![(
                "MAVEN_ARGS",
                format!("-Dmaven.repo.local={place}/repository"),
            )],
        }
    }
}

impl Cache {
    /// What names it in keys and in a recipe's digest.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Ecosystem(ecosystem) => ecosystem.name().to_owned(),
            // The path is part of it: a folder at another place is another environment.
            Self::Folder { name, path } => format!("folder/{name}{path}"),
        }
    }

    /// Where it appears inside.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Ecosystem(ecosystem) => format!("{PLACE}/{}", ecosystem.name()),
            Self::Folder { path, .. } => path.clone(),
        }
    }

    /// How this cache is mounted for an environment of this trust level, made with this recipe.
    #[must_use]
    pub fn plan(&self, trust: Trust, recipe: Digest) -> MountPlan {
        let key = |trust| CacheKey {
            cache: match self {
                Self::Ecosystem(ecosystem) => ecosystem.name().to_owned(),
                Self::Folder { name, .. } => format!("folder/{name}"),
            },
            trust,
            recipe,
        };
        let kept = |trust| self.kept(trust);
        // Own level on top: what this level added is newer than the seed under it.
        let lower = Trust::ALL
            .into_iter()
            .filter(|level| *level >= trust && kept(*level));
        let (shared, env) = match self {
            Self::Ecosystem(ecosystem) => (ecosystem.shared(), ecosystem.env(&self.place())),
            Self::Folder { .. } => (&[][..], Vec::new()),
        };
        MountPlan {
            target: self.place(),
            shared,
            read_only_lower: lower.map(key).collect(),
            upper: format!("cache-{}", key(trust).cache.replace('/', "+")),
            seal: kept(trust).then(|| key(trust)),
            env,
        }
    }

    /// Whether what environments of this level wrote is kept for later ones.
    fn kept(&self, trust: Trust) -> bool {
        match (self, trust) {
            (_, Trust::Outside) => false,
            (_, Trust::Reviewed) => true,
            (Self::Ecosystem(ecosystem), Trust::Proposed) => ecosystem.checks_content(),
            // Nobody knows what is in it.
            (Self::Folder { .. }, Trust::Proposed) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caches() -> Vec<Cache> {
        let folder = Cache::Folder {
            name: "target".into(),
            path: "/work/target".into(),
        };
        Ecosystem::ALL
            .map(Cache::Ecosystem)
            .into_iter()
            .chain([folder])
            .collect()
    }

    #[test]
    fn a_lower_trust_level_never_writes_what_a_higher_one_reads() {
        let recipes = [Digest::of(b"one"), Digest::of(b"two")];
        for cache in caches() {
            for (writer, reader) in Trust::ALL
                .into_iter()
                .flat_map(|w| Trust::ALL.map(|r| (w, r)))
            {
                for (with, without) in [(0, 0), (0, 1)] {
                    let written = cache.plan(writer, recipes[with]).seal;
                    let read = cache.plan(reader, recipes[without]).read_only_lower;
                    let reaches = written.is_some_and(|key| read.contains(&key));
                    assert!(
                        !reaches || (writer >= reader && with == without),
                        "{cache:?} {writer:?} {reader:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_reviewed_seed_is_read_by_every_level() {
        for cache in caches() {
            let seed = cache.plan(Trust::Reviewed, Digest::of(b"r")).seal.unwrap();
            for level in Trust::ALL {
                assert!(
                    cache
                        .plan(level, Digest::of(b"r"))
                        .read_only_lower
                        .contains(&seed)
                );
            }
        }
    }

    #[test]
    fn strangers_and_unchecked_caches_leave_nothing() {
        let recipe = Digest::of(b"r");
        for cache in caches() {
            assert_eq!(cache.plan(Trust::Outside, recipe).seal, None);
        }
        for unchecked in [Ecosystem::Pip, Ecosystem::Maven] {
            assert_eq!(
                Cache::Ecosystem(unchecked)
                    .plan(Trust::Proposed, recipe)
                    .seal,
                None
            );
        }
    }

    #[test]
    fn different_keys_have_different_folders() {
        let mut names = std::collections::BTreeSet::new();
        for cache in caches() {
            for trust in [Trust::Proposed, Trust::Reviewed] {
                if let Some(key) = cache.plan(trust, Digest::of(b"r")).seal {
                    assert!(names.insert(key.folder_name()));
                    assert!(!key.folder_name().contains('/'));
                }
            }
        }
    }

    #[test]
    fn nothing_that_executes_or_is_unchecked_is_shared() {
        for ecosystem in Ecosystem::ALL {
            for part in ecosystem.shared() {
                for never in [
                    "bin",
                    "config.toml",
                    "_npx",
                    "registry/src",
                    "git/checkouts",
                    "wheels",
                ] {
                    assert_ne!(*part, never);
                }
            }
        }
    }
}
