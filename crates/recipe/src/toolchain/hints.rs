//! Reading the files.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Hint, Tool};
use crate::Error;
use crate::files::{open_root, read_small};

/// Largest file, in bytes.
const LARGEST: u64 = 256 * 1024;
/// Longest version that is taken for one, in bytes.
const LONGEST: usize = 100;

type Reader = fn(&str, &str) -> Result<Vec<Hint>, Error>;

/// Files at the top of a repository, and who reads them.
const FILES: &[(&str, Reader)] = &[
    // As rustup: the older name wins if both are there.
    ("rust-toolchain", rust_toolchain),
    ("rust-toolchain.toml", rust_toolchain_toml),
    (".nvmrc", |file, text| single(Tool::Node, file, text)),
    (".node-version", |file, text| single(Tool::Node, file, text)),
    (".python-version", |file, text| {
        single(Tool::Python, file, text)
    }),
    (".java-version", |file, text| single(Tool::Java, file, text)),
    ("go.mod", go_mod),
    (".tool-versions", tool_versions),
];

/// All versions that files at the top of the repository in `folder` ask for.
///
/// # Errors
/// [`Error::Hint`] with file and line that are not understood; [`Error::Io`] for a file that cannot be
/// read, is a symbolic link, or larger than 256 KiB.
pub fn hints(folder: &Path) -> Result<Vec<Hint>, Error> {
    let root = open_root(folder).map_err(Error::io("open", folder))?;
    let mut found: Vec<Hint> = Vec::new();
    for (file, read) in FILES {
        if *file == "rust-toolchain.toml" && found.iter().any(|hint| hint.file == "rust-toolchain")
        {
            continue;
        }
        if let Some(text) = read_small(&root, file, LARGEST)? {
            found.extend(read(file, &text)?);
        }
    }
    Ok(found)
}

/// What a recipe's own `toolchains` ask for.
#[must_use]
pub fn required(toolchains: &BTreeMap<String, String>) -> Vec<Hint> {
    let hint = |(tool, wanted): (&String, &String)| Hint {
        tool: Tool::of_plugin(tool),
        wanted: wanted.clone(),
        file: format!("toolchains.{tool}"),
        line: 0,
        at_least: false,
    };
    toolchains.iter().map(hint).collect()
}

fn hint(tool: Tool, file: &str, line: usize, wanted: &str) -> Result<Hint, Error> {
    let odd = wanted.is_empty()
        || wanted.len() > LONGEST
        || !wanted.bytes().all(|b| b.is_ascii_graphic());
    if odd {
        let wanted = crate::error::clean(wanted.as_bytes());
        return Err(problem(file, line, format!("`{wanted}` is not a version")));
    }
    Ok(Hint {
        tool,
        wanted: wanted.to_owned(),
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        at_least: false,
    })
}

fn problem(file: &str, line: usize, problem: impl Into<String>) -> Error {
    Error::Hint {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        problem: problem.into(),
    }
}

/// Lines with something on them, counted from 1, without comments.
fn lines<'a>(text: &'a str, comment: &str) -> Vec<(usize, &'a str)> {
    let stripped = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.split(comment).next().unwrap_or_default().trim());
    stripped
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// One version; of several lines the first is the one in use.
fn single(tool: Tool, file: &str, text: &str) -> Result<Vec<Hint>, Error> {
    match lines(text, "#").first() {
        Some((number, line)) => Ok(vec![hint(tool, file, *number, line)?]),
        None => Err(problem(file, 1, "it names no version")),
    }
}

/// Either a channel alone or, in newer files, TOML.
fn rust_toolchain(file: &str, text: &str) -> Result<Vec<Hint>, Error> {
    if text.contains('[') {
        return rust_toolchain_toml(file, text);
    }
    single(Tool::Rust, file, text)
}

fn rust_toolchain_toml(file: &str, text: &str) -> Result<Vec<Hint>, Error> {
    #[derive(serde::Deserialize)]
    struct File {
        toolchain: Option<Toolchain>,
    }
    #[derive(serde::Deserialize)]
    struct Toolchain {
        channel: Option<toml::Spanned<String>>,
    }
    let parsed: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        problem(file, line, crate::error::clean(error.message().as_bytes()))
    })?;
    let channel = parsed.toolchain.and_then(|toolchain| toolchain.channel);
    match channel {
        Some(channel) => Ok(vec![hint(
            Tool::Rust,
            file,
            line_at(text, channel.span().start),
            channel.get_ref(),
        )?]),
        // A path, or components alone: nothing to compare.
        None => Ok(Vec::new()),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

fn go_mod(file: &str, text: &str) -> Result<Vec<Hint>, Error> {
    let mut found = Vec::new();
    for (number, line) in lines(text, "//") {
        let mut words = line.split_whitespace();
        let version = match (words.next(), words.next(), words.next()) {
            (Some("go"), Some(version), None) => version,
            (Some("toolchain"), Some("default"), None) => continue,
            (Some("toolchain"), Some(version), None) => version
                .strip_prefix("go")
                .ok_or_else(|| problem(file, number, "the toolchain is not named `goVERSION`"))?,
            _ => continue,
        };
        found.push(Hint {
            at_least: true,
            ..hint(Tool::Go, file, number, version)?
        });
    }
    Ok(found)
}

fn tool_versions(file: &str, text: &str) -> Result<Vec<Hint>, Error> {
    let mut found = Vec::new();
    for (number, line) in lines(text, "#") {
        let mut words = line.split_whitespace();
        let tool = words.next().unwrap_or_default();
        // Further ones are what to fall back to; the first that fits will do.
        let versions: Vec<&str> = words.collect();
        if versions.is_empty() {
            return Err(problem(
                file,
                number,
                format!("`{}` has no version", crate::error::clean(tool.as_bytes())),
            ));
        }
        found.push(hint(
            Tool::of_plugin(tool),
            file,
            number,
            &versions.join("|"),
        )?);
    }
    Ok(found)
}
