//! How registries of images are reached.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runner::root::{Credentials, Registries};
use serde::Deserialize;

use crate::failure::{Doing, Failure};

/// Most bytes of a file with credentials or certificates.
const LARGEST: u64 = 1 << 20;

/// The part `[registry]`. Nothing is taken from variables or from files of other programs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RegistryConfig {
    /// The host of images of a `devcontainer.json` whose names have none.
    default: Option<String>,
    /// A file with `USER:PASSWORD`, by host.
    credentials: BTreeMap<String, PathBuf>,
    /// Hosts that are spoken to without TLS.
    plain_http: Vec<String>,
    /// A file with certificates that are trusted in place of the usual ones.
    certificates: Option<PathBuf>,
    /// An HTTP proxy.
    proxy: Option<String>,
}

impl RegistryConfig {
    /// What the files hold that it names.
    pub(crate) fn read(&self) -> Result<Registries, Failure> {
        let mut credentials = BTreeMap::new();
        for (host, path) in &self.credentials {
            credentials.insert(host.clone(), secret(host, path)?);
        }
        let certificates = self.certificates.as_deref();
        Ok(Registries {
            default_host: self.default.clone(),
            credentials,
            plain_http: self.plain_http.clone(),
            certificates: certificates.map(|path| bytes(path, None)).transpose()?,
            proxy: self.proxy.clone(),
        })
    }
}

fn secret(host: &str, path: &Path) -> Result<Credentials, Failure> {
    let bytes = bytes(path, Some(host))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    match text.trim_end_matches(['\r', '\n']).split_once(':') {
        Some((user, password)) if !user.is_empty() && !text.trim_end().contains('\n') => {
            Ok(Credentials {
                user: user.to_owned(),
                password: password.to_owned(),
            })
        }
        _ => Err(Failure::usage(format!(
            "the credentials for {host} in {} are not understood",
            path.display()
        ))
        .hint("the file has one line: USER:PASSWORD")),
    }
}

/// A whole file. Where it is `private`, nobody else may read it.
fn bytes(path: &Path, private: Option<&str>) -> Result<Vec<u8>, Failure> {
    let doing = || format!("read {}", path.display());
    let file = File::open(path).doing(doing())?;
    let meta = file.metadata().doing(doing())?;
    if let Some(host) = private.filter(|_| meta.permissions().mode() & 0o077 != 0) {
        let path = path.display();
        return Err(Failure::usage(format!(
            "others can read {path}, which has the credentials for {host}"
        ))
        .hint(format!("chmod 600 {path}")));
    }
    if meta.len() > LARGEST || !meta.is_file() {
        let text = format!("{} is no file of at most 1 MiB", path.display());
        return Err(Failure::usage(text));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).doing(doing())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> RegistryConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn credentials_come_from_files_that_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let config = config(&format!("credentials = {{ \"a.example\" = {path:?} }}"));
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let message = || config.read().unwrap_err().message().to_owned();
        assert!(message().contains("secret"));
        std::fs::write(&path, "ada:to:ken\n").unwrap();
        mode(0o640);
        assert!(message().contains("others can read"));
        mode(0o600);
        let read = config.read().unwrap().credentials;
        assert_eq!(read["a.example"].user, "ada");
        assert!(read["a.example"].password == "to:ken");
        for wrong in ["token", ":token", "ada:x\nbea:y\n", ""] {
            std::fs::write(&path, wrong).unwrap();
            assert!(message().contains("not understood"), "{wrong:?}");
            assert!(!message().contains("token"));
        }
    }
}
