//! The file of a backup.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::Record;
use crate::error::StoreError;

const FORMAT: &str = "nightcrew-backup";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// Rows by table.
    counts: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    /// Lines before this one.
    end: u64,
    /// Their SHA-256, line ends included, in hexadecimal.
    sha256: String,
}

/// Writes a backup next to its place and moves it there when it is whole and durable.
pub(crate) struct BackupWriter {
    to: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    lines: u64,
    finished: bool,
}

impl BackupWriter {
    /// Begins a backup of a store with so many rows in its tables.
    pub(crate) fn create(to: &Path, counts: &[(&str, u64)]) -> Result<Self, StoreError> {
        let mut name = to.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = private_file(&partial).map_err(|cause| failed(&partial, cause))?;
        let mut writer = Self {
            to: to.to_path_buf(),
            partial,
            file: BufWriter::with_capacity(1 << 20, file),
            digest: Sha256::new(),
            lines: 0,
            finished: false,
        };
        let counts = counts
            .iter()
            .map(|(table, count)| ((*table).to_owned(), (*count).into()))
            .collect();
        writer.line(&Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            counts,
        })?;
        Ok(writer)
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), StoreError> {
        self.line(record)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), StoreError> {
        let mut line = crate::columns::to_json(value)?;
        line.push('\n');
        self.digest.update(line.as_bytes());
        self.lines += 1;
        self.file
            .write_all(line.as_bytes())
            .map_err(|cause| failed(&self.partial, cause))
    }

    /// Ends the backup and puts it into its place.
    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        let sha256 = hex::encode(self.digest.clone().finalize());
        let trailer = Trailer {
            end: self.lines,
            sha256,
        };
        self.line(&trailer)?;
        let finish = || -> std::io::Result<()> {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            std::fs::rename(&self.partial, &self.to)?;
            let folder = self
                .to
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        let mut finish = finish;
        let finished = finish();
        self.finished = finished.is_ok();
        finished.map_err(|cause| failed(&self.to, cause))
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What is left of a failed backup is of no use to anybody.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn failed(path: &Path, cause: std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    match cause.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full { path },
        _ => StoreError::Io { path, cause },
    }
}

/// Reads a backup line by line; the last record is followed by the check of the whole.
pub(crate) struct BackupReader {
    path: PathBuf,
    file: BufReader<File>,
    digest: Sha256,
    line: u64,
}

impl BackupReader {
    /// Opens a backup and reads its first line.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|cause| failed(path, cause))?;
        let file = BufReader::with_capacity(1 << 20, file);
        let mut reader = Self {
            path: path.to_path_buf(),
            file,
            digest: Sha256::new(),
            line: 0,
        };
        let text = reader.read_line()?;
        let header: Header =
            serde_json::from_str(&text).map_err(|_| reader.invalid("not a backup"))?;
        if header.format != FORMAT {
            return Err(reader.invalid("not a backup"));
        }
        if header.version > VERSION {
            return Err(reader.invalid(&format!(
                "version {} is newer than {VERSION}",
                header.version
            )));
        }
        reader.digest.update(text.as_bytes());
        Ok(reader)
    }

    /// The next record; nothing after the last, when the whole file proved to be intact.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, StoreError> {
        let text = self.read_line()?;
        if text.starts_with("{\"end\":") {
            return self.check_end(&text).map(|()| None);
        }
        let record =
            serde_json::from_str(&text).map_err(|error| self.invalid(&error.to_string()))?;
        self.digest.update(text.as_bytes());
        Ok(Some(record))
    }

    /// Something about the line just read.
    pub(crate) fn invalid(&self, cause: &str) -> StoreError {
        StoreError::InvalidBackup {
            line: self.line,
            cause: cause.to_owned(),
        }
    }

    fn read_line(&mut self) -> Result<String, StoreError> {
        let mut bytes = Vec::new();
        self.line += 1;
        self.file
            .read_until(b'\n', &mut bytes)
            .map_err(|cause| failed(&self.path, cause))?;
        if bytes.last() != Some(&b'\n') {
            return Err(self.invalid("the file is cut here"));
        }
        String::from_utf8(bytes).map_err(|_| self.invalid("not UTF-8"))
    }

    fn check_end(&mut self, text: &str) -> Result<(), StoreError> {
        let trailer: Trailer =
            serde_json::from_str(text).map_err(|error| self.invalid(&error.to_string()))?;
        if trailer.end != self.line - 1 {
            return Err(self.invalid(&format!(
                "{} lines were written, {} are here",
                trailer.end,
                self.line - 1
            )));
        }
        if trailer.sha256 != hex::encode(self.digest.clone().finalize()) {
            return Err(self.invalid("the checksum does not match: the file was changed"));
        }
        let rest = self
            .file
            .fill_buf()
            .map_err(|cause| failed(&self.path, cause))?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(self.invalid("something follows the end"))
        }
    }
}
