//! YAML as a person would write it: quotes only where the text would read as something else.

/// Indented lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) text: String,
}

impl Lines {
    /// One line at `indent` levels of two spaces.
    pub(crate) fn line(&mut self, indent: usize, text: &str) {
        for _ in 0..indent {
            self.text.push_str("  ");
        }
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// `key: text`, as a literal block when the text has several lines or would need quotes.
    pub(crate) fn script(&mut self, indent: usize, key: &str, text: &str) {
        let text = text.trim_end();
        let plain = scalar(text);
        if is_literal(text) && (text.contains('\n') || plain != text) {
            let explicit = if text.starts_with([' ', '\n', '\t']) {
                "2"
            } else {
                ""
            };
            self.line(indent, &format!("{key}: |{explicit}"));
            for line in text.split('\n') {
                if line.is_empty() {
                    self.gap();
                } else {
                    self.line(indent + 1, line);
                }
            }
        } else {
            self.line(indent, &format!("{key}: {plain}"));
        }
    }
}

/// Whether a literal block can hold the text: nothing that YAML takes for a line break or refuses.
fn is_literal(text: &str) -> bool {
    !text.is_empty()
        && !text
            .chars()
            .any(|c| c != '\n' && c != '\t' && is_awkward(c))
}

fn is_awkward(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// A scalar in a block context.
pub(crate) fn scalar(text: &str) -> String {
    if text.chars().any(is_awkward) {
        return double_quoted(text);
    }
    if needs_quotes(text) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    text.to_owned()
}

/// A scalar between brackets or braces.
pub(crate) fn flow_scalar(text: &str) -> String {
    if text.contains([',', '[', ']', '{', '}', ':', '?', '#']) && !text.chars().any(is_awkward) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    scalar(text)
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if is_awkward(c) => quoted.extend(format!("\\u{:04x}", c as u32).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn needs_quotes(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return true;
    };
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "~" | "y" | "n" | ".nan" | ".inf"
    );
    let number = (first.is_ascii_digit() || matches!(first, '.' | '+' | '-'))
        && text
            .chars()
            .all(|c| c.is_ascii_hexdigit() || "._:+-xoXO".contains(c));
    word || number
        || text.starts_with("---")
        || text.starts_with("...")
        || "-?:,[]{}#&*!|>'\"%@`=<".contains(first)
        || text.trim() != text
        || text.contains(": ")
        || text.contains(":\t")
        || text.contains(" #")
        || text.contains("\t#")
        || text.ends_with(':')
}

/// Text of the source that must not be taken for an expression of GitHub.
pub(crate) fn no_expression(text: &str) -> String {
    text.replace("${{", "${{ '${{' }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stand_only_where_the_text_would_read_as_something_else() {
        for text in [
            "npm test",
            "ubuntu-22.04",
            "${{ matrix.x }}",
            "a:b",
            "lts/*",
        ] {
            assert_eq!(scalar(text), text);
        }
        for (text, wanted) in [
            ("1.10", "'1.10'"),
            ("on", "'on'"),
            ("", "''"),
            ("a: b", "'a: b'"),
            ("*x", "'*x'"),
            ("it's: x", "'it''s: x'"),
        ] {
            assert_eq!(scalar(text), wanted);
        }
    }

    #[test]
    fn a_text_of_the_source_is_never_an_expression() {
        assert_eq!(no_expression("echo ${{ x"), "echo ${{ '${{' }} x");
    }
}
