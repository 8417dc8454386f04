//! Refs that a push wants to change.

/// Longest name of a ref, in bytes.
const LONGEST_REF: usize = 512;

/// One ref that a push wants to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Full name of the ref.
    pub name: String,
    /// Object id it has; all zeros where it does not exist.
    pub old: String,
    /// Object id it shall have; all zeros where it is deleted.
    pub new: String,
}

impl RefUpdate {
    /// Whether the ref would be gone.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.new.bytes().all(|digit| digit == b'0')
    }

    /// Whether the ref would be new.
    #[must_use]
    pub fn creates(&self) -> bool {
        self.old.bytes().all(|digit| digit == b'0')
    }

    /// Whether it deletes nothing, has ids, and its name is one that git itself would give. Whether
    /// the new commit follows from the old one cannot be seen from here.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        is_object_id(&self.old) && is_object_id(&self.new) && !self.deletes() && is_ref(&self.name)
    }
}

/// Whether this is an object id, of SHA-1 or SHA-256, in the spelling git writes.
pub(crate) fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this is the full name of a ref (git-check-ref-format), below `refs/`.
pub(crate) fn is_ref(name: &str) -> bool {
    let strange = |letter: char| letter.is_control() || " ~^:?*[\\\u{7f}".contains(letter);
    let component =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.len() <= LONGEST_REF
        && name.starts_with("refs/")
        && name.split('/').all(component)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !name.contains(strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_with_names_are_no_refs() {
        for name in [
            "",
            "HEAD",
            "refs",
            "refs/",
            "refs//heads/x",
            "refs/heads/x/",
            "/refs/heads/x",
            "refs/heads/x^{}",
            "refs/heads/nc/task-1/../../main",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x.lock/y",
            "refs/heads/x.",
            "refs/heads/a@{1}",
            "refs/heads/a b",
            " refs/heads/a",
            "refs/heads/a\n",
            "refs/heads/a\0b",
            "refs/heads/a\x7f",
            "refs/heads/*",
            "refs/heads/a:b",
            "refs/heads/a~1",
            "refs/heads/a\\b",
            "refs/heads/\u{85}",
        ] {
            assert!(!is_ref(name), "{name:?}");
        }
        for name in [
            "refs/heads/main",
            "refs/heads/nc/task-1",
            "refs/tags/v1.0",
            "refs/heads/größe",
            "refs/heads/@",
        ] {
            assert!(is_ref(name), "{name:?}");
        }
    }

    #[test]
    fn deleting_is_never_harmless() {
        let zero = "0".repeat(40);
        let one = "1".repeat(40);
        let update = |old: &str, new: &str| RefUpdate {
            name: "refs/heads/x".to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        };
        assert!(update(&zero, &one).is_harmless() && update(&zero, &one).creates());
        assert!(!update(&one, &zero).is_harmless());
        assert!(!update(&zero, &zero).is_harmless());
        assert!(!update(&one, &"A".repeat(40)).is_harmless());
        assert!(!update(&one, "").is_harmless());
    }
}
