//! Mounts: volumes become caches; anything of the host is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::substitute::Variables;
use crate::Cache;

/// A mount, in either form.
#[derive(Debug, Default)]
pub(super) struct Mount {
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) target: String,
}

impl Mount {
    /// Reads `type=…,source=…,target=…` or a map of the same.
    pub(super) fn read(value: &Value, variables: &Variables) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        match value {
            Value::String(text) => {
                for part in text.split(',') {
                    let (key, value) = part.split_once('=').unwrap_or((part, ""));
                    fields.insert(key.trim().to_owned(), value.trim().to_owned());
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    let text = value
                        .as_str()
                        .ok_or_else(|| format!("has a `{key}` that is no text"))?;
                    fields.insert(key.clone(), text.to_owned());
                }
            }
            _ => return Err("has a mount that is neither a text nor a map".to_owned()),
        }
        let mut mount = Self {
            kind: "volume".to_owned(),
            ..Self::default()
        };
        for (key, value) in fields {
            match key.as_str() {
                "type" => mount.kind = value,
                // What it is on the host must be known before it is filled in.
                "source" | "src" => mount.source = value,
                "target" | "dst" | "destination" => mount.target = variables.in_text(&value)?,
                "consistency" | "external" | "nocopy" | "volume-nocopy" => {}
                "readonly" | "ro" if value.is_empty() || value == "true" || value == "1" => {
                    return Err("has a read-only mount, which would always be empty".to_owned());
                }
                "readonly" | "ro" => {}
                _ => {
                    return Err(format!(
                        "has a mount with `{}`, which is not supported",
                        crate::error::clean(key.as_bytes())
                    ));
                }
            }
        }
        if mount.target.is_empty() {
            return Err("has a mount without a target".to_owned());
        }
        Ok(mount)
    }

    /// The cache that stands for it.
    pub(super) fn into_cache(self, variables: &Variables) -> Result<Cache, String> {
        match self.kind.as_str() {
            "volume" => {
                let name = if self.source.is_empty() {
                    // Nameless volumes are told apart by where they are.
                    self.target.trim_matches('/').replace('/', "-")
                } else {
                    variables.in_text(&self.source)?
                };
                Ok(Cache::Folder {
                    name,
                    path: self.target,
                })
            }
            "bind" => Err(format!(
                "mounts `{}` of the host, which no environment sees; copy what is needed into the repository",
                crate::error::clean(self.source.as_bytes())
            )),
            other => Err(format!(
                "has a mount of type `{}`; only `volume` is supported",
                crate::error::clean(other.as_bytes())
            )),
        }
    }
}
