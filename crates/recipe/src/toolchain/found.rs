//! What `--version` says.

use super::Tool;

/// Longest output that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;

/// The version in the output of [`Tool::version_command`]: `1.95.0`, `18.17.1`, `1.96.0-nightly (2026-05-01)`.
/// None if the output is of another program.
#[must_use]
pub fn found(tool: &Tool, output: &str) -> Option<String> {
    let output = output.get(..LONGEST).unwrap_or(output);
    let mut lines = output.lines().map(str::trim);
    match tool {
        // rustc 1.95.0 (59807616e 2026-04-14)
        Tool::Rust => lines.find_map(|line| {
            let rest = line.strip_prefix("rustc ")?;
            let version = rest
                .split_whitespace()
                .next()
                .filter(|word| begins_with_digit(word))?;
            let date = rest
                .rsplit_once(' ')
                .and_then(|(_, date)| date.strip_suffix(')'));
            match date.filter(|_| version.contains('-')) {
                Some(date) => Some(format!("{version} ({date})")),
                None => Some(version.to_owned()),
            }
        }),
        // v18.17.1
        Tool::Node => lines.find_map(|line| {
            line.strip_prefix('v')
                .filter(|rest| begins_with_digit(rest) && !rest.contains(' '))
                .map(str::to_owned)
        }),
        // Python 3.11.4
        Tool::Python => lines.find_map(|line| {
            let word = line.strip_prefix("Python ")?.split_whitespace().next()?;
            begins_with_digit(word).then(|| word.to_owned())
        }),
        // go version go1.22.3 linux/amd64
        Tool::Go => lines.find_map(|line| {
            let word = line
                .strip_prefix("go version go")?
                .split_whitespace()
                .next()?;
            begins_with_digit(word).then(|| word.to_owned())
        }),
        // openjdk version "17.0.9" 2023-10-17, or java version "1.8.0_392"
        Tool::Java => lines.find_map(|line| {
            let (before, rest) = line.split_once(" version \"")?;
            let version = rest.split('"').next()?;
            (!before.contains(' ') && begins_with_digit(version)).then(|| version.to_owned())
        }),
        Tool::Other(_) => None,
    }
}

fn begins_with_digit(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_digit())
}
