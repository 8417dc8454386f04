//! The repositories of the forge: list, make, describe.

use std::fs;
use std::path::Path;

use super::LocalForge;
use crate::git::fsync_dir;
use crate::git::{default_branch, head_of, valid_branch_name};
use crate::{Cursor, ForgeError, Page, RepoName, RepositoryInfo};

/// Its presence in a bare repository says "takes no changes".
pub(crate) const ARCHIVED: &str = "nightcrew-archived";
const PAGE: usize = 100;

impl LocalForge {
    /// All repositories, sorted by name. Two small files are read for each, no process is started: cheap enough to
    /// look for pushes every few seconds.
    ///
    /// # Errors
    /// [`ForgeError::Io`] when the root cannot be listed; a broken repository is left out.
    pub fn repositories(&self) -> Result<Vec<RepositoryInfo>, ForgeError> {
        Ok(self
            .names()?
            .iter()
            .filter_map(|name| self.repository(name).ok())
            .collect())
    }

    /// A page of [`LocalForge::repositories`].
    ///
    /// # Errors
    /// The same.
    pub fn list_repositories(
        &self,
        after: Option<&Cursor>,
    ) -> Result<Page<RepositoryInfo>, ForgeError> {
        let mut names = self.names()?;
        if let Some(Cursor(after)) = after {
            names.retain(|name| name.as_str() > after.as_str());
        }
        let more = names.len() > PAGE;
        names.truncate(PAGE);
        let next = names
            .last()
            .filter(|_| more)
            .map(|name| Cursor(name.to_string()));
        let items = names
            .iter()
            .filter_map(|name| self.repository(name).ok())
            .collect();
        Ok(Page {
            items,
            next,
            rate: None,
        })
    }

    /// One repository.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`].
    pub fn repository(&self, name: &RepoName) -> Result<RepositoryInfo, ForgeError> {
        let git_dir = self.path_of(name);
        let missing = |_| ForgeError::NotFound(format!("repository {name}"));
        let branch = default_branch(&git_dir)
            .map_err(missing)?
            .unwrap_or_else(|| "main".to_owned());
        Ok(RepositoryInfo {
            name: name.clone(),
            head: head_of(&git_dir, &branch)?,
            default_branch: branch,
            archived: git_dir.join(ARCHIVED).exists(),
            clone_url: git_dir.to_string_lossy().into_owned(),
        })
    }

    fn names(&self) -> Result<Vec<RepoName>, ForgeError> {
        let mut names = Vec::new();
        for folder in folders(self.root())? {
            if folder.ends_with(".git") {
                names.extend(folder.parse::<RepoName>());
            } else if !folder.starts_with('.') {
                let inner = folders(&self.root().join(&folder))?;
                let inner = inner.iter().filter(|name| name.ends_with(".git"));
                names.extend(
                    inner.filter_map(|name| format!("{folder}/{name}").parse::<RepoName>().ok()),
                );
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes an empty repository.
    ///
    /// # Errors
    /// [`ForgeError::Exists`].
    pub fn create_repository(
        &self,
        name: &RepoName,
        default_branch: &str,
    ) -> Result<RepositoryInfo, ForgeError> {
        let path = self.path_of(name);
        self.refuse_taken(name, &path)?;
        let work = self.root().join(crate::git::unique_name(".new"));
        let made = write_bare(&work, default_branch).and_then(|()| publish(&work, &path, name));
        if made.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        made?;
        self.repository(name)
    }

    /// Marks a repository as taking no changes, or takes the mark away.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`], [`ForgeError::Io`].
    pub fn set_archived(&self, name: &RepoName, archived: bool) -> Result<(), ForgeError> {
        let path = self.git_dir(name)?.join(ARCHIVED);
        let done = if archived {
            fs::write(&path, "")
        } else {
            fs::remove_file(&path)
        };
        match done {
            Err(error) if archived || error.kind() != std::io::ErrorKind::NotFound => {
                Err(ForgeError::io("write", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Puts all objects of a repository into one pack and all refs into one file: each change leaves a small pack.
    /// Nothing is dropped, also not what no ref reaches: it may be about to be used. For quiet hours.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`], [`ForgeError::Git`].
    pub fn compact(&self, name: &RepoName) -> Result<(), ForgeError> {
        let repo = self.repo(name)?;
        let _writing = repo.write()?;
        self.git()
            .at(&repo.git_dir, "repack")
            .args(["-a", "-d", "-k", "-q", "-l"])
            .output()?;
        self.git()
            .at(&repo.git_dir, "pack-refs")
            .args(["--all", "--prune"])
            .output()?;
        Ok(())
    }

    pub(crate) fn refuse_taken(&self, name: &RepoName, path: &Path) -> Result<(), ForgeError> {
        if path.exists() {
            Err(ForgeError::Exists(format!("repository {name}")))
        } else {
            Ok(())
        }
    }
}

/// The names of the folders in a folder; those that are not UTF-8 cannot be repositories here.
fn folders(path: &Path) -> Result<Vec<String>, ForgeError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(ForgeError::io("list", path))? {
        let entry = entry.map_err(ForgeError::io("list", path))?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// The files of an empty bare repository (gitrepository-layout(5)), without a process and without templates.
pub(crate) fn write_bare(path: &Path, branch: &str) -> Result<(), ForgeError> {
    if !valid_branch_name(branch) {
        return Err(ForgeError::Invalid(format!(
            "`{}` is not a branch name",
            branch.escape_default()
        )));
    }
    for folder in [
        "objects/pack",
        "objects/info",
        "refs/heads",
        "refs/tags",
        "info",
    ] {
        let folder = path.join(folder);
        fs::create_dir_all(&folder).map_err(ForgeError::io("create", &folder))?;
    }
    // Also for pushes straight into the folder: the records of changes are not theirs to see or write.
    let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[transfer]\n\
                  \thideRefs = refs/nightcrew\n[gc]\n\tauto = 0\n[receive]\n\tautogc = false\n";
    for (name, text) in [
        ("config", config.to_owned()),
        ("HEAD", format!("ref: refs/heads/{branch}\n")),
    ] {
        let file = path.join(name);
        fs::write(&file, text).map_err(ForgeError::io("write", &file))?;
        fs::File::open(&file)
            .and_then(|f| f.sync_all())
            .map_err(ForgeError::io("flush", &file))?;
    }
    Ok(())
}

/// Renames a finished repository to its name.
pub(crate) fn publish(work: &Path, path: &Path, name: &RepoName) -> Result<(), ForgeError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(ForgeError::io("create", parent))?;
    fs::rename(work, path).map_err(|error| match error.kind() {
        std::io::ErrorKind::DirectoryNotEmpty => ForgeError::Exists(format!("repository {name}")),
        _ => ForgeError::io("rename to", path)(error),
    })?;
    Ok(fsync_dir(parent)?)
}
