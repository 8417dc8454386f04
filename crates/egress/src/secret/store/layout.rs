//! What lies where in the folder of the secrets.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::error::SecretError;
use super::super::files;
use super::super::name::{Scope, SecretName};
use super::super::record::Record;
use super::{LONGEST_FILE, Store, VERSION, damaged, io_error};

/// The file that says which key is needed.
const HEADER: &str = "store.json";

/// What all files share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) v: u32,
    /// Public half of the key that seals; empty before the first value.
    pub(super) recipient: String,
    /// Rises with every change.
    pub(super) revision: u64,
}

impl Store {
    pub(super) fn make_folder(&self) -> Result<(), SecretError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| io_error(&self.folder, source))
    }

    pub(super) fn lock(&self) -> Result<files::Lock, SecretError> {
        let path = self.folder.join("lock");
        files::lock(&path).map_err(|source| io_error(&path, source))
    }

    pub(super) fn path(&self, name: &SecretName, scope: &Scope) -> PathBuf {
        self.folder
            .join(format!("{name}@{}.json", scope.file_part()))
    }

    /// Files of secrets.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, SecretError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error(&self.folder, source)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| io_error(&self.folder, source))?
                .path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.ends_with(".json") && name.contains('@') && !name.starts_with('.') {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    pub(super) fn read(&self, path: &Path) -> Result<Option<Record>, SecretError> {
        let Some(bytes) =
            files::read(path, LONGEST_FILE).map_err(|source| io_error(path, source))?
        else {
            return Ok(None);
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
            damaged(
                path,
                &format!("line {}, column {}", error.line(), error.column()),
            )
        })?;
        if record.v != VERSION {
            return Err(damaged(
                path,
                &format!("its form is {}, and this program knows {VERSION}", record.v),
            ));
        }
        if self.path(&record.name, &record.scope) != path {
            return Err(damaged(
                path,
                "it is of another name or scope than its file says",
            ));
        }
        Ok(Some(record))
    }

    pub(super) fn write(&self, path: &Path, record: &Record) -> Result<(), SecretError> {
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|error| damaged(path, &error.to_string()))?;
        files::replace(path, &bytes).map_err(|source| io_error(path, source))
    }

    pub(super) fn header(&self) -> Result<Header, SecretError> {
        let path = self.folder.join(HEADER);
        let bytes = files::read(&path, LONGEST_FILE).map_err(|source| io_error(&path, source))?;
        match bytes {
            None => Ok(Header {
                v: VERSION,
                ..Header::default()
            }),
            // It says nothing that the files and the key do not say as well.
            Some(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or(Header {
                v: VERSION,
                ..Header::default()
            })),
        }
    }

    /// Counts a change. Called with the lock held.
    pub(super) fn touch(&self, recipient: Option<String>) -> Result<(), SecretError> {
        let path = self.folder.join(HEADER);
        let mut header = self.header()?;
        header.v = VERSION;
        header.revision = header.revision.saturating_add(1);
        if let Some(recipient) = recipient {
            header.recipient = recipient;
        }
        let bytes =
            serde_json::to_vec(&header).map_err(|error| damaged(&path, &error.to_string()))?;
        files::replace(&path, &bytes).map_err(|source| io_error(&path, source))
    }
}
