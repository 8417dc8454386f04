//! Reading shell lines just far enough to keep Travis' meaning of them.
//!
//! All lines of a Travis job run in one shell without `errexit`: a directory changed or a variable
//! set in one line is there in the next, also in the next phase. A workflow step has a shell of its
//! own that stops at the first failing command.

/// Words at which a new simple command begins.
const OPENERS: [&str; 8] = ["then", "do", "else", "{", "!", "time", "if", "while"];

/// Commands that change the shell they run in.
const STATEFUL: [&str; 27] = [
    "cd",
    "pushd",
    "popd",
    "export",
    "source",
    ".",
    "eval",
    "alias",
    "shopt",
    "set",
    "unset",
    "nvm",
    "rvm",
    "umask",
    "ulimit",
    "declare",
    "typeset",
    "local",
    "trap",
    "function",
    "jdk_switcher",
    "phpenv",
    "pyenv",
    "rbenv",
    "conda",
    "gvm",
    "activate",
];

/// Whether later lines could see what this one did to the shell.
pub(crate) fn changes_shell(line: &str) -> bool {
    commands(line).iter().any(|words| {
        let mut words = words.iter().map(String::as_str).peekable();
        let mut assigned = false;
        while let Some(word) = words.peek() {
            if OPENERS.contains(word) {
                words.next();
            } else if is_assignment(word) {
                assigned = true;
                words.next();
            } else {
                break;
            }
        }
        match words.next() {
            None => assigned,
            Some(word) => {
                STATEFUL.contains(&word) || word.ends_with("()") || words.peek() == Some(&"()")
            }
        }
    })
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| crate::travis::env::is_name(name.trim_end_matches('+')))
}

/// Whether the shell stops at failures from this line on.
pub(crate) fn sets_errexit(line: &str) -> bool {
    commands(line).iter().any(|words| {
        words.first().is_some_and(|word| word == "set")
            && words.iter().skip(1).any(|word| {
                word == "errexit"
                    || word
                        .strip_prefix('-')
                        .is_some_and(|flags| flags.contains('e') && !flags.contains('-'))
            })
    })
}

/// Whether `errexit` makes no difference: one command, or a chain of them by `&&`, `||` and pipes.
pub(crate) fn is_one_command(line: &str) -> bool {
    let line = line.trim();
    if line.contains('\n') && !line.replace("\\\n", "").contains('\n') {
        return is_one_command(&line.replace("\\\n", ""));
    }
    if line.contains('\n') {
        return false;
    }
    let mut quote = None;
    let mut previous = ' ';
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                chars.next();
            }
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            (';' | '(' | '`', None) => return false,
            ('&', None) if chars.peek() == Some(&'&') => {
                chars.next();
            }
            ('&', None) if previous != '>' && previous != '<' && chars.peek() != Some(&'>') => {
                return false;
            }
            ('#', None) if previous.is_whitespace() => return false,
            _ => {}
        }
        previous = c;
    }
    quote.is_none()
}

/// The simple commands of a text outside of subshells, each as words.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('#', None) if word.is_empty() => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            ('(', None) if chars.peek() == Some(&')') && depth == 0 => {
                chars.next();
                word.push_str("()");
                continue;
            }
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (';' | '\n' | '&' | '|', None) if depth == 0 => {
                flush(&mut word, &mut commands);
                commands.push(Vec::new());
                continue;
            }
            (c, None) if c.is_whitespace() && depth == 0 => {
                flush(&mut word, &mut commands);
                if commands.last().is_some_and(|words| {
                    words
                        .last()
                        .is_some_and(|last| OPENERS.contains(&last.as_str()))
                }) {
                    commands.push(Vec::new());
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    flush(&mut word, &mut commands);
    commands.retain(|words| !words.is_empty());
    commands
}

fn flush(word: &mut String, commands: &mut [Vec<String>]) {
    if let Some(words) = commands.last_mut().filter(|_| !word.is_empty()) {
        words.push(std::mem::take(word));
    }
}

/// Definitions of the helper functions of Travis that `text` uses.
pub(crate) fn helpers(text: &str) -> Vec<&'static str> {
    const HELPERS: [(&str, &str); 6] = [
        (
            "travis_retry",
            "travis_retry() { \"$@\" || { sleep 1; \"$@\"; } || { sleep 1; \"$@\"; }; }",
        ),
        (
            "travis_wait",
            "travis_wait() { if [[ \"$1\" =~ ^[0-9]+$ ]]; then shift; fi; \"$@\"; }",
        ),
        ("travis_fold", "travis_fold() { :; }"),
        ("travis_time_start", "travis_time_start() { :; }"),
        ("travis_time_finish", "travis_time_finish() { :; }"),
        ("travis_terminate", "travis_terminate() { exit \"$1\"; }"),
    ];
    HELPERS
        .iter()
        .filter(|(name, _)| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == *name)
        })
        .map(|(_, definition)| *definition)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_directory_or_variable_outlives_its_line() {
        for line in [
            "cd build",
            "make && cd build",
            "export A=1",
            "A=1",
            "source venv/bin/activate",
            "if [ x ]; then export B=2; fi",
            ". ./env.sh",
            "f() { :; }",
        ] {
            assert!(changes_shell(line), "{line}");
        }
    }

    #[test]
    fn a_subshell_a_quoted_text_or_a_prefix_changes_nothing() {
        for line in [
            "(cd build && make)",
            "bash -c 'cd build && make'",
            "A=1 make",
            "npm test",
            "echo cd",
            "make -C set",
        ] {
            assert!(!changes_shell(line), "{line}");
        }
    }

    #[test]
    fn only_a_chain_of_commands_is_one_command() {
        assert!(is_one_command("make && make test || exit 1"));
        assert!(is_one_command("echo 'a; b' 2>&1 | cat"));
        assert!(!is_one_command("make; make test"));
        assert!(!is_one_command("make\nmake test"));
        assert!(!is_one_command("server &"));
    }

    #[test]
    fn errexit_is_seen() {
        assert!(sets_errexit("set -ev"));
        assert!(sets_errexit("set -o errexit"));
        assert!(!sets_errexit("set +e"));
        assert!(!sets_errexit("offset -e"));
    }
}
