//! Variables, with those of the root filled in.

use std::collections::BTreeMap;

use super::Recipe;
use crate::Error;

/// A variable's longest value, in bytes, after filling in.
const LONGEST: usize = 128 * 1024;

impl Recipe {
    /// The variables of every command: those of the root, with the recipe's over them.
    ///
    /// # Errors
    /// [`Error::Field`] naming the variable whose value refers to one that the root does not have,
    /// or becomes longer than 128 KiB.
    pub fn variables(
        &self,
        root: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut all = root.clone();
        for (name, value) in &self.env {
            let value = fill_in(value, root)
                .map_err(|problem| Error::field(format!("env.{name}"), problem))?;
            all.insert(name.clone(), value);
        }
        Ok(all)
    }
}

fn fill_in(value: &str, root: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${env:") {
        filled.push_str(&rest[..start]);
        let inner = &rest[start + "${env:".len()..];
        let end = inner
            .find('}')
            .ok_or_else(|| "has a `${env:` without `}`".to_owned())?;
        let (name, default) = match inner[..end].split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        match root.get(name).map(String::as_str).or(default) {
            Some(known) => filled.push_str(known),
            None => {
                return Err(format!(
                    "refers to `{name}`, which the root does not set (give a default: ${{env:{name}:…}})"
                ));
            }
        }
        if filled.len() > LONGEST {
            return Err("becomes longer than 128 KiB".to_owned());
        }
        rest = &inner[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is wrong with the references in a value, without knowing the root.
pub(super) fn references(value: &str) -> Result<(), String> {
    let mut rest = value;
    while let Some(start) = rest.find("${env:") {
        let inner = &rest[start + "${env:".len()..];
        let end = inner
            .find('}')
            .ok_or_else(|| "has a `${env:` without `}`".to_owned())?;
        let name = inner[..end].split(':').next().unwrap_or_default();
        if !super::validate::is_variable(name) {
            return Err(format!(
                "refers to `{name}`, which is not a variable's name"
            ));
        }
        rest = &inner[end + 1..];
    }
    Ok(())
}
