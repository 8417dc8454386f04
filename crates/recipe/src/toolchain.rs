//! Which versions of tools a repository asks for, and whether the environment has them.
//!
//! [`hints`] reads the usual files. Whoever can run `rustc --version` inside asks [`found`] what its
//! output says, and [`compare`] whether that will do.

mod compare;
mod found;
mod hints;

use std::fmt;

pub use compare::{Comparison, compare};
pub use found::found;
pub use hints::{hints, required};

/// A tool whose version matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// `rustc`.
    Rust,
    /// `node`.
    Node,
    /// `python3`.
    Python,
    /// `go`.
    Go,
    /// `java`.
    Java,
    /// Any other that `.tool-versions` names.
    Other(String),
}

/// A version that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The tool.
    pub tool: Tool,
    /// As it is written.
    pub wanted: String,
    /// Relative to the repository.
    pub file: String,
    /// From 1; 0 where it is the recipe itself that asks, and `file` is its key.
    pub line: u32,
    /// Whether anything newer will do, too (`go.mod`).
    pub at_least: bool,
}

impl Hint {
    /// Where it stands.
    fn place(&self) -> String {
        match self.line {
            0 => format!("`{}`", self.file),
            line => format!("{}:{line}", self.file),
        }
    }
}

impl Tool {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rust => "Rust",
            Self::Node => "Node.js",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Java => "Java",
            Self::Other(name) => name,
        }
    }

    /// The command whose output [`found`] understands; its standard output and error together.
    #[must_use]
    pub fn version_command(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Rust => Some(&["rustc", "--version"]),
            Self::Node => Some(&["node", "--version"]),
            Self::Python => Some(&["python3", "--version"]),
            Self::Go => Some(&["go", "version"]),
            // The one form that all versions know; it writes to standard error.
            Self::Java => Some(&["java", "-version"]),
            Self::Other(_) => None,
        }
    }

    /// By its name in `.tool-versions`.
    fn of_plugin(name: &str) -> Self {
        match name {
            "rust" => Self::Rust,
            "node" | "nodejs" => Self::Node,
            "python" => Self::Python,
            "go" | "golang" => Self::Go,
            "java" => Self::Java,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
