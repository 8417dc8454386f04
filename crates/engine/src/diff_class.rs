//! Diff classes: changes of the same shape get the same class, so that one review can serve many.
//!
//! The shape of a patch is the list of its touched paths with the set of added and removed lines
//! in which versions, numbers, quoted texts and the values of variables (`NAME=…`, `NAME: …`) are
//! replaced by a mark. Context lines, positions and repetition do not count.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

/// The class of a unified diff: 16 hexadecimal digits.
#[must_use]
pub fn classify(patch: &str) -> String {
    let mut shape: BTreeSet<String> = BTreeSet::new();
    let mut path = String::new();
    let mut in_hunk = false;
    for line in patch.lines() {
        if let Some(header) = line.strip_prefix("diff --git ") {
            path = header.to_owned();
            in_hunk = false;
            shape.insert(format!("path {path}"));
        } else if line.starts_with("@@") {
            in_hunk = true;
        } else if in_hunk && (line.starts_with('+') || line.starts_with('-')) {
            let (sign, text) = line.split_at(1);
            let text = normalise(text.trim());
            if !text.is_empty() {
                shape.insert(format!("{sign} {path} {text}"));
            }
        } else if !in_hunk && (line.starts_with("new file") || line.starts_with("deleted file")) {
            shape.insert(format!("mode {path} {line}"));
        }
    }
    let mut hasher = Sha256::new();
    for line in &shape {
        hasher.update(line.as_bytes());
        hasher.update([0]);
    }
    hex::encode(&hasher.finalize()[..8])
}

/// Replaces what usually differs between siblings: quoted texts, and words that hold a digit.
fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let flush = |word: &mut String, out: &mut String| {
        if word.chars().any(|c| c.is_ascii_digit()) {
            out.push('#');
        } else {
            out.push_str(word);
        }
        word.clear();
    };
    let mut skipping: Option<char> = None;
    for c in text.chars() {
        match skipping {
            // `NAME=value command`: the value is one word. `NAME: value`: it is the rest of the line.
            Some('=') if c.is_whitespace() => {
                skipping = None;
                out.push(' ');
                continue;
            }
            Some(_) => continue,
            None => {}
        }
        match quote {
            Some(open) if c == open => {
                quote = None;
                out.push_str("\"#\"");
            }
            Some(_) => {}
            None if matches!(c, '=' | ':') && is_variable(&word) => {
                out.push_str(&word);
                out.push_str("=#");
                word.clear();
                skipping = Some(c);
            }
            None if c == '"' || c == '\'' => {
                flush(&mut word, &mut out);
                quote = Some(c);
            }
            None if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') => word.push(c),
            None => {
                flush(&mut word, &mut out);
                out.push(c);
            }
        }
    }
    flush(&mut word, &mut out);
    out
}

/// Written as the name of an environment variable.
fn is_variable(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_do_not_make_a_class() {
        assert_eq!(
            normalise("SERVICE: svc-notify"),
            normalise("SERVICE: svc-quotes and more")
        );
        assert_eq!(
            normalise("run: SERVICE=a make test"),
            normalise("run: SERVICE=b make test")
        );
        assert_ne!(
            normalise("run: SERVICE=a make test"),
            normalise("run: SERVICE=a make lint")
        );
    }

    fn patch(version: &str, command: &str) -> String {
        format!(
            "diff --git a/ci.yml b/ci.yml\nnew file mode 100644\n@@ -0,0 +1,2 @@\n+python: \"{version}\"\n+run: {command}\n"
        )
    }

    #[test]
    fn versions_do_not_make_a_class_and_commands_do() {
        assert_eq!(
            classify(&patch("3.9", "pytest")),
            classify(&patch("3.12", "pytest"))
        );
        assert_ne!(
            classify(&patch("3.9", "pytest")),
            classify(&patch("3.9", "nosetests"))
        );
        assert_eq!(classify("").len(), 16);
    }

    #[test]
    fn a_removed_line_is_not_an_added_one() {
        let added = "diff --git a/x b/x\n@@ -1 +1 @@\n+line\n";
        let removed = "diff --git a/x b/x\n@@ -1 +1 @@\n-line\n";
        assert_ne!(classify(added), classify(removed));
    }
}
