//! Names of secrets, and who may use them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::SecretError;

/// Longest name of a secret, in bytes: it becomes part of a file's name.
pub const LONGEST_NAME: usize = 64;
/// Longest name of an automation or a repository in a scope, in bytes.
const LONGEST_OWNER: usize = 80;

/// The name of a secret: ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(String);

impl SecretName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= LONGEST_NAME && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        // Somebody may have given the value in place of the name: it is not repeated.
        Err(SecretError::Invalid {
            what: "this is not a name of a secret".to_owned(),
            cure: format!(
                "a name has letters, digits, `.`, `_` and `-`, begins with a letter or digit, and has at most {LONGEST_NAME} of them"
            ),
        })
    }
}

/// Who may use a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every task.
    Organisation,
    /// Tasks of one automation.
    Automation(String),
    /// Tasks on one repository.
    Repository(String),
}

/// What a secret is wanted for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// The automation; absent for an environment of a person.
    pub automation: Option<String>,
    /// The repository.
    pub repository: Option<String>,
    /// The task's id.
    pub task: Option<String>,
}

impl Context {
    /// Scopes whose secrets may be used, the narrowest first.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let repository = self.repository.clone().map(Scope::Repository);
        let automation = self.automation.clone().map(Scope::Automation);
        repository
            .into_iter()
            .chain(automation)
            .chain([Scope::Organisation])
            .collect()
    }
}

impl Scope {
    /// The part of a file's name that stands for it; different for different scopes.
    pub(super) fn file_part(&self) -> String {
        match self {
            Self::Organisation => "organisation".to_owned(),
            Self::Automation(name) => format!("automation={}", escaped(name)),
            Self::Repository(name) => format!("repository={}", escaped(name)),
        }
    }
}

/// Everything that is not plain as `%` and two hexadecimal digits.
fn escaped(name: &str) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation => f.write_str("organisation"),
            Self::Automation(name) => write!(f, "automation:{name}"),
            Self::Repository(name) => write!(f, "repository:{name}"),
        }
    }
}

impl FromStr for Scope {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let named = |name: &str| {
            let good = !name.is_empty()
                && name.len() <= LONGEST_OWNER
                && name.chars().all(|c| !c.is_control() && !c.is_whitespace());
            good.then(|| name.to_owned())
        };
        let scope = match text.split_once(':') {
            None if text == "organisation" => Some(Self::Organisation),
            Some(("automation", name)) => named(name).map(Self::Automation),
            Some(("repository", name)) => named(name).map(Self::Repository),
            _ => None,
        };
        scope.ok_or_else(|| SecretError::Invalid {
            what: "this is not a scope".to_owned(),
            cure: "write `organisation`, `automation:NAME` or `repository:NAME`".to_owned(),
        })
    }
}

macro_rules! as_text {
    ($($kind:ty),+) => { $(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

as_text!(SecretName, Scope);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_scopes_that_are_none_are_refused_and_not_repeated() {
        for text in [
            "",
            ".x",
            "-x",
            "a b",
            "a/b",
            "a@b",
            "ü",
            "a\n",
            &"a".repeat(65),
        ] {
            let error = text.parse::<SecretName>().unwrap_err().to_string();
            assert!(text.len() < 3 || !error.contains(text), "{error}");
        }
        for text in [
            "",
            "team",
            "automation:",
            "automation",
            "repository:a b",
            "organisation:x",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_narrowest_scope_comes_first() {
        let context = Context {
            automation: Some("a".to_owned()),
            repository: Some("o/r".to_owned()),
            task: None,
        };
        let scopes: Vec<_> = context.scopes().iter().map(ToString::to_string).collect();
        assert_eq!(scopes, ["repository:o/r", "automation:a", "organisation"]);
    }

    proptest! {
        #[test]
        fn different_scopes_have_different_files(a in "\\PC{1,20}", b in "\\PC{1,20}") {
            let (one, other) = (Scope::Repository(a.clone()), Scope::Repository(b.clone()));
            prop_assert_eq!(one.file_part() == other.file_part(), a == b);
            prop_assert!(!one.file_part().contains('/') && !one.file_part().contains('@'));
            prop_assert_ne!(one.file_part(), Scope::Automation(a).file_part());
        }

        #[test]
        fn what_is_written_is_read_again(text in "(organisation|(automation|repository):[!-~]{1,40})") {
            let scope: Scope = text.parse().unwrap();
            prop_assert_eq!(scope.to_string(), text);
        }
    }
}
