//! Folders for what package managers download.
//!
//! A cache is a way for one environment to put bytes into another, so nothing that a task writes is ever
//! read by another. Set-up, which is as trusted as the recipe, fills a cache; every environment sees that
//! under a layer of its own, which is thrown away with it. The recipe's digest is part of a cache's name,
//! so that what was filled with one root is not read with another.

use crate::Digest;

/// Where caches appear inside an environment.
const PLACE: &str = "/nightcrew/cache";

/// A tool whose downloads are worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cache {
    /// `cargo`, `npm`, `pip`, `go`, `maven`.
    Ecosystem(Ecosystem),
    /// A folder inside, such as a volume of a `devcontainer.json`.
    Folder {
        /// Its name, unique by recipe.
        name: String,
        /// Where it appears inside.
        path: String,
    },
}

impl Ecosystem {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cargo, Self::Npm, Self::Pip, Self::Go, Self::Maven];

    /// Its name in recipes.
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
    /// What names it in a recipe's digest.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Ecosystem(ecosystem) => ecosystem.name().to_owned(),
            // The path is part of it: a folder at another place is another environment.
            Self::Folder { name, path } => format!("folder/{name}{path}"),
        }
    }

    /// Its name among those of one recipe, good for a file.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Ecosystem(ecosystem) => ecosystem.name().to_owned(),
            Self::Folder { name, .. } => format!("folder+{name}"),
        }
    }

    /// The name of the folder that the set-up of this recipe fills.
    #[must_use]
    pub fn folder_name(&self, recipe: Digest) -> String {
        format!("{}@{}", self.name(), recipe.hex())
    }

    /// Where it appears inside.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Ecosystem(ecosystem) => format!("{PLACE}/{}", ecosystem.name()),
            Self::Folder { path, .. } => path.clone(),
        }
    }

    /// Variables that make the tool use it.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Ecosystem(ecosystem) => ecosystem.env(&self.place()),
            Self::Folder { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_caches_and_recipes_have_different_folders() {
        let folder = Cache::Folder {
            name: "npm".into(),
            path: "/work/target".into(),
        };
        let caches = Ecosystem::ALL.map(Cache::Ecosystem).into_iter();
        let mut names = std::collections::BTreeSet::new();
        for cache in caches.chain([folder]) {
            for recipe in [Digest::of(b"one"), Digest::of(b"two")] {
                let name = cache.folder_name(recipe);
                assert!(!name.contains('/') && names.insert(name), "{cache:?}");
            }
        }
    }
}
