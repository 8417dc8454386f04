//! The inventory: which repositories there are, and what is known of them.

use std::collections::BTreeMap;
use std::path::Path;

use forge::RepoName;
use forge::local::{ImportSource, LocalForge, parse_manifest};
use model::repository::Repository;
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite};

use super::{Service, Update};
use crate::error::ServiceError;

/// Document kind of repositories.
pub(crate) const REPOSITORY: &str = "repository";

/// What became of one repository of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Folder or URL it came from.
    pub from: String,
    /// Line of the manifest, 0 elsewhere.
    pub line: usize,
    /// Its name here.
    pub name: Option<String>,
    /// Why it is not here.
    pub problem: Option<String>,
}

impl Service {
    /// Imports repositories: a folder of them, a git URL, or a manifest file with one per line.
    ///
    /// # Errors
    /// When the source itself cannot be read; single repositories report for themselves.
    pub async fn import(&self, source: &str) -> Result<Vec<Imported>, ServiceError> {
        let forge = self.forge.clone();
        let source = source.to_owned();
        let outcomes = blocking(move || {
            let sources = sources(&forge, &source)?;
            Ok::<_, ServiceError>(forge.import(sources))
        })
        .await??;
        let mut imported = Vec::new();
        for outcome in outcomes {
            let (name, problem) = match outcome.result {
                Ok(name) => (Some(name), None),
                Err(error) => (None, Some(explain(&error))),
            };
            if let Some(name) = &name {
                self.refresh(name).await?;
            }
            imported.push(Imported {
                from: outcome.source.from,
                line: outcome.source.line,
                name: name.map(|name| name.to_string()),
                problem,
            });
        }
        Ok(imported)
    }

    /// Takes the facts of a repository anew.
    ///
    /// # Errors
    /// When the repository is not there.
    pub async fn refresh(&self, name: &RepoName) -> Result<Repository, ServiceError> {
        self.begin_news(name).await?;
        let forge = self.forge.clone();
        let name = name.clone();
        let now = self.now();
        let repository = blocking(move || look(&forge, &name, now)).await??;
        let write = DocumentWrite {
            kind: REPOSITORY.to_owned(),
            key: repository.name.clone(),
            body: Some(serde_json::to_string(&repository)?),
        };
        self.store
            .commit(Commit {
                documents: vec![write],
                ..Commit::default()
            })
            .await?;
        self.publish(Update::Definitions);
        Ok(repository)
    }

    /// Takes the facts of every repository of the forge anew; for the start of a server.
    ///
    /// # Errors
    /// When the forge or the store fails.
    pub async fn refresh_all(&self) -> Result<usize, ServiceError> {
        let forge = self.forge.clone();
        let infos = blocking(move || forge.repositories()).await??;
        let mut count = 0;
        for info in infos {
            let known = self.repository(info.name.as_str()).await?;
            let head = info.head.map(|head| head.to_string());
            if known.is_none_or(|known| known.head != head || known.archived != info.archived) {
                self.refresh(&info.name).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// A repository of the inventory.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn repository(&self, name: &str) -> Result<Option<Repository>, ServiceError> {
        let document = self.store.document(REPOSITORY, name).await?;
        Ok(document
            .map(|document| serde_json::from_str(&document.body))
            .transpose()?)
    }

    /// All repositories, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn repositories(&self) -> Result<Vec<Repository>, ServiceError> {
        let mut all = Vec::new();
        for document in self.store.documents(REPOSITORY, "", u32::MAX).await? {
            all.push(serde_json::from_str(&document.body)?);
        }
        Ok(all)
    }
}

/// Runs blocking work where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ServiceError::Damaged(format!("a worker died: {error}")))
}

fn explain(error: &forge::ForgeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn sources(forge: &LocalForge, source: &str) -> Result<Vec<ImportSource>, ServiceError> {
    let path = Path::new(source);
    if path.is_dir() {
        let inside = LocalForge::find_sources(path)?;
        if inside.is_empty() {
            return Ok(vec![ImportSource {
                line: 0,
                from: source.to_owned(),
                name: None,
            }]);
        }
        return Ok(inside);
    }
    if path.is_file() {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ServiceError::Invalid(format!("{source} cannot be read: {error}")))?;
        return Ok(parse_manifest(
            &text,
            path.parent().unwrap_or_else(|| Path::new(".")),
        ));
    }
    if source.contains(':') {
        return Ok(vec![ImportSource {
            line: 0,
            from: source.to_owned(),
            name: None,
        }]);
    }
    let _ = forge;
    Err(ServiceError::Invalid(format!(
        "{source} is neither a folder, a manifest file nor a git URL"
    )))
}

fn look(
    forge: &LocalForge,
    name: &RepoName,
    now: jiff::Timestamp,
) -> Result<Repository, ServiceError> {
    let info = forge.repository(name)?;
    let mut files = Vec::new();
    if let Some(head) = info.head {
        let git_dir = forge.git_dir(name)?;
        let listing = forge
            .git()
            .at(&git_dir, "ls-tree")
            .args(["-r", "-z", "--name-only", &head.to_string()])
            .output()
            .map_err(forge::ForgeError::from)?;
        files = listing
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
    }
    let file_count = files.len() as u64;
    let languages = languages(&files);
    files.truncate(Repository::MAX_FILES);
    Ok(Repository {
        name: name.to_string(),
        forge: "local".to_owned(),
        clone_url: info.clone_url,
        default_branch: info.default_branch,
        head: info.head.map(|head| head.to_string()),
        archived: info.archived,
        files,
        file_count,
        languages,
        facts: BTreeMap::new(),
        seen_at: now,
    })
}

const ENDINGS: &[(&str, &str)] = &[
    ("rs", "rust"),
    ("py", "python"),
    ("js", "javascript"),
    ("mjs", "javascript"),
    ("ts", "typescript"),
    ("go", "go"),
    ("rb", "ruby"),
    ("java", "java"),
    ("kt", "kotlin"),
    ("c", "c"),
    ("h", "c"),
    ("cpp", "c++"),
    ("cc", "c++"),
    ("hpp", "c++"),
    ("php", "php"),
    ("pl", "perl"),
    ("sh", "shell"),
    ("hs", "haskell"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("erl", "erlang"),
    ("cs", "c#"),
    ("swift", "swift"),
    ("scala", "scala"),
    ("cbl", "cobol"),
    ("cob", "cobol"),
    ("r", "r"),
    ("lua", "lua"),
];

/// Languages by number of files, most first.
fn languages(files: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let ending = file
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
            .map(|(_, ending)| ending);
        let language = ENDINGS
            .iter()
            .find(|(known, _)| Some(*known) == ending)
            .map(|(_, language)| *language);
        if let Some(language) = language {
            *counts.entry(language).or_default() += 1;
        }
    }
    let mut counted: Vec<_> = counts.into_iter().collect();
    counted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counted
        .into_iter()
        .map(|(language, _)| language.to_owned())
        .collect()
}
