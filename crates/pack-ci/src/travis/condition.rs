//! Travis' condition language (`if: branch = main AND tag IS blank`) as GitHub expressions.
//!
//! GitHub compares texts without regard to case; that is the only difference of the forms
//! translated here. Other forms give `None` and stay manual.

/// The GitHub expression (without `${{ }}`) that is true when `source` is.
pub(crate) fn translate(source: &str) -> Option<String> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0 };
    let expression = parser.or(0)?;
    (parser.at == parser.tokens.len()).then_some(expression)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Regex(String),
    Sign(&'static str),
}

fn tokens(source: &str) -> Option<Vec<Token>> {
    const SIGNS: [&str; 11] = ["&&", "||", "==", "!=", "=~", "!~", "=", "(", ")", ",", "!"];
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(c) = rest.chars().next() {
        let used = if matches!(c, '\'' | '"') {
            let end = rest[1..].find(c)?;
            tokens.push(Token::Quoted(rest[1..=end].to_owned()));
            end + 2
        } else if c == '/' {
            let end = closing_slash(rest)?;
            tokens.push(Token::Regex(rest[1..end].to_owned()));
            end + 1
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let after_match = matches!(tokens.last(), Some(Token::Sign("=~" | "!~")));
            let end = rest
                .find(|c: char| {
                    c.is_whitespace() || (!after_match && matches!(c, '(' | ')' | ',' | '=' | '!'))
                })
                .unwrap_or(rest.len());
            tokens.push(if after_match {
                Token::Regex(rest[..end].to_owned())
            } else {
                Token::Word(rest[..end].to_owned())
            });
            end
        };
        rest = rest[used..].trim_start();
    }
    Some(tokens)
}

fn closing_slash(rest: &str) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices()
        .skip(1)
        .find(|(_, c)| {
            let found = *c == '/' && !escaped;
            escaped = *c == '\\' && !escaped;
            found
        })
        .map(|(index, _)| index)
}

/// What a name of the condition language means.
enum Subject {
    /// An expression that gives a text.
    Text(&'static str),
    Tag,
    Type,
    Fork,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Option<String> {
        let mut parts = vec![self.and(depth)?];
        while self.word("or") || self.sign("||") {
            parts.push(self.and(depth)?);
        }
        Some(if parts.len() == 1 {
            parts.remove(0)
        } else {
            format!("({})", parts.join(" || "))
        })
    }

    fn and(&mut self, depth: usize) -> Option<String> {
        let mut parts = vec![self.not(depth)?];
        while self.word("and") || self.sign("&&") {
            parts.push(self.not(depth)?);
        }
        Some(parts.join(" && "))
    }

    fn not(&mut self, depth: usize) -> Option<String> {
        if depth > 32 {
            return None;
        }
        if self.word("not") || self.sign("!") {
            return Some(format!("!({})", self.not(depth + 1)?));
        }
        if self.sign("(") {
            let inner = self.or(depth + 1)?;
            return self.sign(")").then(|| format!("({inner})"));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Option<String> {
        if self.word("true") {
            return Some("true".to_owned());
        }
        if self.word("false") {
            return Some("false".to_owned());
        }
        let subject = self.subject()?;
        if self.sign("==") || self.sign("=") {
            let value = self.value()?;
            return equal(&subject, &value);
        }
        if self.sign("!=") {
            let value = self.value()?;
            return Some(format!("!({})", equal(&subject, &value)?));
        }
        if self.sign("=~") {
            return self.regex(&subject);
        }
        if self.sign("!~") {
            return Some(format!("!({})", self.regex(&subject)?));
        }
        if self.word("is") {
            let not = self.word("not");
            let present = self.word("present");
            if !present && !self.word("blank") {
                return None;
            }
            return Some(presence(&subject, present != not));
        }
        let not = self.word("not");
        if self.word("in") {
            let list = self.list(&subject)?;
            return Some(if not { format!("!{list}") } else { list });
        }
        if not {
            return None;
        }
        match subject {
            Subject::Fork => Some("github.event.repository.fork".to_owned()),
            other => Some(presence(&other, true)),
        }
    }

    fn subject(&mut self) -> Option<Subject> {
        let Some(Token::Word(word)) = self.peek() else {
            return None;
        };
        let subject = match word.to_ascii_lowercase().as_str() {
            "branch" => Subject::Text("(github.base_ref || github.ref_name)"),
            "repo" => Subject::Text("github.repository"),
            "sender" => Subject::Text("github.actor"),
            "head_branch" => Subject::Text("github.head_ref"),
            "head_repo" => Subject::Text("github.event.pull_request.head.repo.full_name"),
            "commit_message" => Subject::Text("github.event.head_commit.message"),
            "tag" => Subject::Tag,
            "type" => Subject::Type,
            "fork" => Subject::Fork,
            _ => return None,
        };
        self.at += 1;
        Some(subject)
    }

    fn value(&mut self) -> Option<String> {
        let value = match self.peek()? {
            Token::Word(text) | Token::Quoted(text) => text.clone(),
            _ => return None,
        };
        self.at += 1;
        // `env(NAME)` and `concat(…)` are calls, not texts.
        (!matches!(self.peek(), Some(Token::Sign("(")))).then_some(value)
    }

    fn list(&mut self, subject: &Subject) -> Option<String> {
        if !self.sign("(") {
            return None;
        }
        let mut parts = Vec::new();
        loop {
            let value = self.value()?;
            parts.push(equal(subject, &value)?);
            if self.sign(")") {
                return Some(format!("({})", parts.join(" || ")));
            }
            if !self.sign(",") {
                return None;
            }
        }
    }

    fn regex(&mut self, subject: &Subject) -> Option<String> {
        let pattern = match self.peek()? {
            Token::Regex(text) | Token::Quoted(text) => text.clone(),
            _ => return None,
        };
        self.at += 1;
        let body = pattern.trim_start_matches('^').trim_end_matches('$');
        let body = body
            .replace("\\.", "\u{1}")
            .replace("\\/", "/")
            .replace("\\-", "-");
        if body.contains(|c: char| "\\^$.|?*+()[]{}".contains(c)) {
            return None;
        }
        let body = quoted(&body.replace('\u{1}', "."));
        let text = match subject {
            Subject::Text(text) => *text,
            Subject::Tag => "github.ref_name",
            _ => return None,
        };
        let found = match (pattern.starts_with('^'), pattern.ends_with('$')) {
            (true, true) => format!("{text} == {body}"),
            (true, false) => format!("startsWith({text}, {body})"),
            (false, true) => format!("endsWith({text}, {body})"),
            (false, false) => format!("contains({text}, {body})"),
        };
        Some(match subject {
            Subject::Tag => format!("(github.ref_type == 'tag' && {found})"),
            _ => found,
        })
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn equal(subject: &Subject, value: &str) -> Option<String> {
    Some(match subject {
        Subject::Text(text) => format!("{text} == {}", quoted(value)),
        Subject::Tag => format!(
            "(github.ref_type == 'tag' && github.ref_name == {})",
            quoted(value)
        ),
        Subject::Type => match value.to_ascii_lowercase().as_str() {
            "push" => "github.event_name == 'push'".to_owned(),
            "pull_request" => "github.event_name == 'pull_request'".to_owned(),
            "cron" => "github.event_name == 'schedule'".to_owned(),
            "api" => "github.event_name == 'workflow_dispatch'".to_owned(),
            _ => return None,
        },
        Subject::Fork => match value {
            "true" => "github.event.repository.fork".to_owned(),
            "false" => "!github.event.repository.fork".to_owned(),
            _ => return None,
        },
    })
}

fn presence(subject: &Subject, present: bool) -> String {
    match (subject, present) {
        (Subject::Tag, true) => "github.ref_type == 'tag'".to_owned(),
        (Subject::Tag, false) => "github.ref_type != 'tag'".to_owned(),
        (Subject::Text(text), true) => format!("{text} != ''"),
        (Subject::Text(text), false) => format!("{text} == ''"),
        (Subject::Type | Subject::Fork, present) => present.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn branch_and_tag_mean_what_travis_means() {
        assert_eq!(
            translate("branch = master AND tag IS blank").unwrap(),
            "(github.base_ref || github.ref_name) == 'master' && github.ref_type != 'tag'"
        );
    }

    #[test]
    fn lists_and_types_are_translated_by_value() {
        assert_eq!(
            translate("type IN (push, cron)").unwrap(),
            "(github.event_name == 'push' || github.event_name == 'schedule')"
        );
    }

    #[test]
    fn a_plain_regular_expression_becomes_a_function() {
        assert_eq!(
            translate("branch =~ ^release-").unwrap(),
            "startsWith((github.base_ref || github.ref_name), 'release-')"
        );
        assert_eq!(translate("tag =~ /^v\\d+/"), None);
    }

    #[test]
    fn what_is_not_understood_is_none_and_never_a_guess() {
        for source in [
            "env(X) = 1",
            "branch = ",
            "(tag IS present",
            "",
            "foo = bar",
            "!!",
        ] {
            assert_eq!(translate(source), None, "{source}");
        }
    }
}
