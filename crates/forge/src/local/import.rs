//! Bringing repositories in: from a folder of repositories, a list of URLs, a manifest.

use std::fs;
use std::path::{Path, PathBuf};

use super::LocalForge;
use super::catalog::{publish, write_bare};
use crate::git::{GitError, git_dir_of, is_elsewhere, remote_default};
use crate::{ForgeError, RepoName};

/// One repository to bring in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSource {
    /// Where it was named: a line of a manifest from 1 on, 0 otherwise.
    pub line: usize,
    /// A folder or a URL.
    pub from: String,
    /// Its name here; taken from the source when absent.
    pub name: Option<String>,
}

/// What became of one source.
#[derive(Debug)]
pub struct ImportOutcome {
    /// The source.
    pub source: ImportSource,
    /// Its name here, or why it is not here.
    pub result: Result<RepoName, ForgeError>,
}

/// Reads a manifest: a source per line, or `name source`; empty lines and `#` are skipped. Relative folders are meant
/// from `folder`, where the manifest lies.
#[must_use]
pub fn parse_manifest(text: &str, folder: &Path) -> Vec<ImportSource> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| {
            let (name, from) = match text.split_once(char::is_whitespace) {
                Some((name, from)) if !folder.join(text).exists() => {
                    (Some(name.to_owned()), from.trim())
                }
                _ => (None, text),
            };
            let from = if from.contains(':') {
                from.into()
            } else {
                folder.join(from).to_string_lossy().into_owned()
            };
            ImportSource { line, from, name }
        })
        .collect()
}

impl LocalForge {
    /// Brings repositories in, each whole or not at all; one that fails does not stop the others.
    #[must_use]
    pub fn import(&self, sources: Vec<ImportSource>) -> Vec<ImportOutcome> {
        sources
            .into_iter()
            .map(|source| ImportOutcome {
                result: self.import_one(&source),
                source,
            })
            .collect()
    }

    /// The repositories in a folder, bare or not, up to two levels deep; the folder itself when it is one.
    ///
    /// # Errors
    /// [`ForgeError::Io`] when the folder cannot be listed, [`ForgeError::NotFound`] when it holds none.
    pub fn find_sources(folder: &Path) -> Result<Vec<ImportSource>, ForgeError> {
        let mut found = Vec::new();
        search(folder, folder, 2, &mut found)?;
        if found.is_empty() {
            return Err(ForgeError::NotFound(format!(
                "git repository in {}",
                folder.display()
            )));
        }
        found.sort_by(|a, b| a.from.cmp(&b.from));
        Ok(found)
    }

    fn import_one(&self, source: &ImportSource) -> Result<RepoName, ForgeError> {
        let name: RepoName = match &source.name {
            Some(name) => name.parse()?,
            None => name_from(&source.from).parse()?,
        };
        let path = self.path_of(&name);
        self.refuse_taken(&name, &path)?;
        let url = if is_elsewhere(&source.from) {
            source.from.clone()
        } else {
            let git_dir = git_dir_of(Path::new(
                source.from.strip_prefix("file://").unwrap_or(&source.from),
            ))
            .map_err(|error| self.named(source, error))?;
            format!("file://{}", git_dir.display())
        };
        let work = self.root().join(crate::git::unique_name(".import"));
        let made = self
            .fetch_all(&url, &work)
            .map_err(|error| self.named(source, error));
        let made = made.and_then(|()| publish(&work, &path, &name));
        if made.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        made.map(|()| name)
    }

    /// All branches and tags, through the protocol, so that nothing but what they reach comes along.
    fn fetch_all(&self, url: &str, work: &Path) -> Result<(), GitError> {
        let git = self.git();
        let branch = match remote_default(git, url) {
            Err(GitError::EmptyRepository(_)) => "main".to_owned(),
            other => other?,
        };
        write_bare(work, &branch).map_err(|error| match error {
            ForgeError::Io {
                doing,
                path,
                source,
            } => GitError::Io {
                doing,
                path,
                source,
            },
            other => GitError::Remote(other.to_string()),
        })?;
        git.at(work, "fetch")
            .network()
            .args([
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--end-of-options",
                url,
            ])
            .args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
            .output()
            .map(drop)
            .map_err(remote)
    }

    fn named(&self, source: &ImportSource, error: GitError) -> ForgeError {
        match error {
            GitError::RepositoryMissing(_) | GitError::NotARepository(_) => {
                let place = if source.line > 0 {
                    format!(" (line {})", source.line)
                } else {
                    String::new()
                };
                ForgeError::NotFound(format!("git repository at {}{place}", source.from))
            }
            other => ForgeError::Git(other),
        }
    }
}

fn remote(error: GitError) -> GitError {
    match error {
        GitError::Failed { stderr, .. } => GitError::Remote(stderr),
        other => other,
    }
}

fn search(
    top: &Path,
    folder: &Path,
    depth: u32,
    found: &mut Vec<ImportSource>,
) -> Result<(), ForgeError> {
    if git_dir_of(folder).is_ok() {
        let from = folder.to_string_lossy().into_owned();
        let parts: Vec<String> = folder
            .strip_prefix(top)
            .unwrap_or(folder)
            .iter()
            .map(|part| RepoName::sanitise_part(&part.to_string_lossy()))
            .collect();
        let name = (!parts.is_empty()).then(|| parts.join("/"));
        found.push(ImportSource {
            line: 0,
            from,
            name,
        });
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(ForgeError::io("list", folder))? {
        let path: PathBuf = entry.map_err(ForgeError::io("list", folder))?.path();
        if path.is_dir() {
            search(top, &path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// `owner/name` of a URL, the last component of a folder.
fn name_from(source: &str) -> String {
    let trimmed = source.trim_end_matches('/').trim_end_matches("/.git");
    let is_url = trimmed.contains("://") && !trimmed.starts_with("file://");
    let path = match trimmed.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or(rest, |(_, path)| path),
        None => trimmed,
    };
    let parts: Vec<&str> = path
        .split(['/', ':'])
        .filter(|part| !part.is_empty())
        .collect();
    let keep = if is_url { 2 } else { 1 };
    let kept = &parts[parts.len().saturating_sub(keep)..];
    kept.iter()
        .map(|part| RepoName::sanitise_part(part))
        .collect::<Vec<_>>()
        .join("/")
}
