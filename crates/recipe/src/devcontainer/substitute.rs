//! Variables in values: `${localWorkspaceFolder}` and relatives.
//!
//! Where the repository lies on the host is nobody's business inside: `local…` and `container…` are both
//! the place inside. What is no variable of the format is left as it is, since commands are full of
//! `${HOME}`.

use std::collections::BTreeMap;

/// What variables stand for.
#[derive(Debug)]
pub(super) struct Variables {
    /// Where the workspace appears inside.
    pub(super) workspace: String,
    /// A stable name for this repository's container.
    pub(super) id: String,
    /// Variables of the container that are known by now.
    pub(super) container: BTreeMap<String, String>,
}

impl Variables {
    /// Fills in a variable's value. A reference to a variable that only the root has stays one, in the
    /// form that recipes have for it.
    pub(super) fn in_env(&self, text: &str) -> Result<String, String> {
        self.fill_in(text, |name, default| match default {
            Some(default) => Ok(format!("${{env:{name}:{default}}}")),
            None => Ok(format!("${{env:{name}}}")),
        })
    }

    /// Fills in any other text.
    pub(super) fn in_text(&self, text: &str) -> Result<String, String> {
        self.fill_in(text, |name, default| {
            let unknown = || format!("refers to the variable `{name}` of the image, which only values of containerEnv and remoteEnv may");
            default.map(str::to_owned).ok_or_else(unknown)
        })
    }

    fn fill_in(
        &self,
        text: &str,
        unknown: impl Fn(&str, Option<&str>) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            filled.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let Some(end) = inner.find('}') else {
                rest = &rest[start..];
                break;
            };
            let mut parts = inner[..end].splitn(3, ':');
            let (kind, name, default) =
                (parts.next().unwrap_or_default(), parts.next(), parts.next());
            match (kind, name) {
                ("localWorkspaceFolder" | "containerWorkspaceFolder", None) => {
                    filled.push_str(&self.workspace);
                }
                ("localWorkspaceFolderBasename" | "containerWorkspaceFolderBasename", None) => {
                    filled.push_str(self.workspace.rsplit('/').next().unwrap_or_default());
                }
                ("devcontainerId", None) => filled.push_str(&self.id),
                ("containerEnv", Some(name)) => match self.container.get(name) {
                    Some(value) => filled.push_str(value),
                    None => filled.push_str(&unknown(name, default)?),
                },
                // `env` is an older name of it.
                ("localEnv" | "env", Some(name)) => {
                    return Err(format!(
                        "refers to `{name}` of the host's environment, which is never read"
                    ));
                }
                _ => filled.push_str(&rest[start..start + 2 + end + 1]),
            }
            rest = &inner[end + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }
}
