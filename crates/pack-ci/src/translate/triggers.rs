//! `branches` as filters of the push and pull-request events.

use crate::{account::Claims, pipeline::Triggers, yaml::At};

/// Read `branches`.
pub(crate) fn triggers(at: Option<&At<'_>>, claims: &Claims) -> Triggers {
    let mut made = Triggers::default();
    let Some(at) = at else {
        return made;
    };
    if !at.is_map() {
        // A list directly under `branches` means `only`.
        patterns(at, claims, &mut made.branches, &mut made.tags);
        return made;
    }
    if let Some(only) = at.get("only") {
        patterns(&only, claims, &mut made.branches, &mut made.tags);
    }
    if let Some(except) = at.get("except") {
        if made.branches.is_empty() && made.tags.is_empty() {
            patterns(
                &except,
                claims,
                &mut made.branches_ignore,
                &mut made.tags_ignore,
            );
        } else {
            claims.manual(
                &except.path,
                "`only` and `except` cannot be combined: exclude these in `only`",
            );
        }
    }
    made
}

fn patterns(at: &At<'_>, claims: &Claims, branches: &mut Vec<String>, tags: &mut Vec<String>) {
    for item in at.items() {
        let text = item.text().unwrap_or_default().trim();
        if item.node.is_null() || text.is_empty() {
            claims.not_needed(&item.path, "names no branch");
            continue;
        }
        let regex = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        let glob = match regex {
            Some(regex) => glob(regex),
            None => plain(text),
        };
        match glob {
            Some(glob) => {
                claims.mapped(&item.path, format!("filter `{glob}` of the events"));
                // Travis matches a tag's name against the same list.
                if regex.is_some() && !tags.contains(&glob) {
                    tags.push(glob.clone());
                }
                if !branches.contains(&glob) {
                    branches.push(glob);
                }
            }
            None => claims.manual(
                &item.path,
                "this regular expression has no filter pattern: write the branches or tags it means",
            ),
        }
    }
}

fn plain(text: &str) -> Option<String> {
    (!text.contains(|c: char| c.is_whitespace() || "?+[]!\\^:~".contains(c)))
        .then(|| text.to_owned())
}

/// The filter pattern that matches what the regular expression matches, if there is one.
fn glob(regex: &str) -> Option<String> {
    let anchored_start = regex.starts_with('^');
    let anchored_end = regex.ends_with('$') && !regex.ends_with("\\$");
    let body = regex.strip_prefix('^').unwrap_or(regex);
    let body = if anchored_end {
        &body[..body.len() - 1]
    } else {
        body
    };
    let mut glob = String::new();
    if !anchored_start && !body.starts_with(".*") {
        glob.push_str("**");
    }
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '.' if chars.peek() == Some(&'*') => {
                chars.next();
                if !glob.ends_with("**") {
                    glob.push_str("**");
                }
            }
            '.' if chars.peek() == Some(&'+') => {
                chars.next();
                glob.push_str("?**");
                return None;
            }
            '\\' => match chars.next()? {
                'd' => glob.push_str("[0-9]"),
                'w' => glob.push_str("[A-Za-z0-9_]"),
                'S' if chars.peek() == Some(&'*') => {
                    chars.next();
                    glob.push_str("**");
                }
                c if ".-/_".contains(c) => glob.push(c),
                _ => return None,
            },
            '[' => {
                glob.push('[');
                loop {
                    match chars.next()? {
                        ']' => break,
                        c if c.is_ascii_alphanumeric() || c == '-' => glob.push(c),
                        _ => return None,
                    }
                }
                glob.push(']');
            }
            '+' if glob.ends_with(']') => glob.push('+'),
            c if c.is_ascii_alphanumeric() || "-_/".contains(c) => glob.push(c),
            _ => return None,
        }
    }
    if !anchored_end && !glob.ends_with("**") {
        glob.push_str("**");
    }
    Some(glob)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_regular_expression_becomes_the_pattern_of_the_same_names() {
        for (regex, wanted) in [
            (r"^release\/.*$", "release/**"),
            (r"^v\d+\.\d+\.\d+$", "v[0-9]+.[0-9]+.[0-9]+"),
            ("^greenkeeper", "greenkeeper**"),
            (".*", "**"),
            ("feature", "**feature**"),
        ] {
            assert_eq!(glob(regex).as_deref(), Some(wanted), "{regex}");
        }
        assert_eq!(glob(r"^v\d+(\.\d+)?$"), None);
        assert_eq!(glob("^(?!master)"), None);
    }
}
