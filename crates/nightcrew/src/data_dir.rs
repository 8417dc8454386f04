//! What lies where in the data directory.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};

/// Bytes that must find room before anything else is begun: a database without room for its
/// shared memory only speaks of input and output.
const PROBE: usize = 64 * 1024;

/// The data directory of one control plane.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// How a running server is found and spoken to by the same user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Base address, such as `http://127.0.0.1:4711`.
    pub(crate) url: String,
    /// Token of the API.
    pub(crate) token: String,
    /// Process of the server.
    pub(crate) pid: u32,
}

impl DataDir {
    /// Makes the directory if it is missing. Others may pass through it, because environments
    /// execute as another user, but may not read what matters.
    pub(crate) fn open(root: PathBuf) -> Result<Self, Failure> {
        let cure = "choose another with --data-dir, or make it writable for this user";
        std::fs::create_dir_all(&root)
            .doing(format_args!("make the data directory {}", root.display()))
            .map_err(|failure| failure.hint(cure))?;
        let probe = root.join(format!(".writable-{}", std::process::id()));
        let probed = std::fs::write(&probe, [0; PROBE]);
        let _ = std::fs::remove_file(&probe);
        let cure = match &probed {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                "free some space there; nothing was lost, and work goes on from where it was"
            }
            _ => cure,
        };
        probed
            .doing(format_args!(
                "write in the data directory {}",
                root.display()
            ))
            .map_err(|failure| failure.hint(cure))?;
        let dir = Self { root };
        for private in [dir.blobs(), dir.forge(), dir.keys(), dir.backups()] {
            std::fs::create_dir_all(&private).doing(format_args!("make {}", private.display()))?;
            std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700))
                .doing(format_args!("protect {}", private.display()))?;
        }
        Ok(dir)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("nightcrew.sqlite")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn forge(&self) -> PathBuf {
        self.root.join("forge")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    pub(crate) fn runner(&self) -> PathBuf {
        self.root.join("runner")
    }

    pub(crate) fn ledger_key(&self) -> PathBuf {
        self.keys().join("ledger.key")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    fn endpoint_file(&self) -> PathBuf {
        self.root.join("server.json")
    }

    /// Says where the server is; only this user can read it.
    pub(crate) fn write_endpoint(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        use std::io::Write;
        let path = self.endpoint_file();
        let _ = std::fs::remove_file(&path);
        let text = serde_json::to_string_pretty(endpoint).doing("write the server's address")?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .doing(format_args!("write {}", path.display()))?;
        file.write_all(text.as_bytes())
            .doing(format_args!("write {}", path.display()))
    }

    /// The server that runs here, if one said so; it may have died since.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let text = std::fs::read_to_string(self.endpoint_file()).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The server is gone.
    pub(crate) fn remove_endpoint(&self) {
        let _ = std::fs::remove_file(self.endpoint_file());
    }
}
