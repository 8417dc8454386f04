//! Locks that a killed process left on refs: git and our own writers would wait for them for ever.

use std::fs;
use std::path::Path;

use super::GitError;

/// Removes every lock on a ref of a repository that nobody is using.
///
/// # Errors
/// When a folder cannot be read or a lock not removed.
pub(crate) fn remove_stale_locks(git_dir: &Path) -> Result<(), GitError> {
    for name in ["HEAD.lock", "packed-refs.lock", "config.lock"] {
        remove(&git_dir.join(name))?;
    }
    below(&git_dir.join("refs"))
}

fn below(folder: &Path) -> Result<(), GitError> {
    for entry in fs::read_dir(folder).map_err(GitError::io("read", folder))? {
        let entry = entry.map_err(GitError::io("read", folder))?;
        let path = entry.path();
        if entry
            .file_type()
            .map_err(GitError::io("read", &path))?
            .is_dir()
        {
            below(&path)?;
        } else if path.extension().is_some_and(|ending| ending == "lock") {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), GitError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(GitError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_go_and_refs_stay() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("refs/nightcrew/changes/1");
        fs::create_dir_all(&deep).unwrap();
        for name in ["meta", "meta.lock"] {
            fs::write(deep.join(name), "x").unwrap();
        }
        fs::write(place.path().join("packed-refs.lock"), "").unwrap();
        remove_stale_locks(place.path()).unwrap();
        assert!(deep.join("meta").exists() && !deep.join("meta.lock").exists());
        assert!(!place.path().join("packed-refs.lock").exists());
    }
}
