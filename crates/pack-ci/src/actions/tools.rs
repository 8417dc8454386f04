//! Which action sets up which tool, and which runner is which system.

use super::pins::{self, Action};

/// How the version of one expansion key is set up.
pub(crate) struct Tool {
    pub(crate) axis: &'static str,
    pub(crate) action: Action,
    /// The input that takes the version.
    pub(crate) input: &'static str,
    /// Further fixed inputs.
    pub(crate) fixed: &'static [(&'static str, &'static str)],
}

const fn tool(axis: &'static str, action: Action, input: &'static str) -> Tool {
    Tool {
        axis,
        action,
        input,
        fixed: &[],
    }
}

/// Tools with an action of their own.
pub(crate) const TOOLS: [Tool; 16] = [
    tool("node_js", pins::NODE, "node-version"),
    tool("python", pins::PYTHON, "python-version"),
    tool("rvm", pins::RUBY, "ruby-version"),
    tool("go", pins::GO, "go-version"),
    Tool {
        axis: "jdk",
        action: pins::JAVA,
        input: "java-version",
        fixed: &[("distribution", "zulu")],
    },
    tool("php", pins::PHP, "php-version"),
    tool("perl", pins::PERL, "perl-version"),
    tool("r", pins::R, "r-version"),
    tool("julia", pins::JULIA, "version"),
    tool("elixir", pins::BEAM, "elixir-version"),
    tool("otp_release", pins::BEAM, "otp-version"),
    tool("dart", pins::DART, "sdk"),
    tool("ghc", pins::HASKELL, "ghc-version"),
    tool("d", pins::D, "compiler"),
    tool("crystal", pins::CRYSTAL, "crystal"),
    tool("dotnet", pins::DOTNET, "dotnet-version"),
];

/// The tool of an expansion key.
pub(crate) fn find(axis: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.axis == axis)
}

/// Whether an action sets the key's tool up.
pub(crate) fn has_action(axis: &str) -> bool {
    find(axis).is_some()
}

/// Whether nothing sets the key's tool up.
pub(crate) fn is_foreign(axis: &str) -> bool {
    !has_action(axis) && !matches!(axis, "rust" | "compiler" | "gemfile" | "scala")
}

/// The name of a key's column in a matrix.
pub(crate) fn column(axis: &str) -> &str {
    match axis {
        "node_js" => "node",
        "rvm" => "ruby",
        "jdk" => "java",
        "otp_release" => "otp",
        "d" => "dlang",
        "r" => "r_version",
        other => other,
    }
}

/// Travis' name of the system of each hosted runner that is written.
pub(crate) const OS_NAMES: [(&str, &str); 6] = [
    ("ubuntu-22.04", "linux"),
    ("ubuntu-24.04", "linux"),
    ("ubuntu-22.04-arm", "linux"),
    ("ubuntu-24.04-arm", "linux"),
    ("macos-15", "osx"),
    ("windows-2022", "windows"),
];

/// System and processor of a runner's label, in Travis' words.
pub(crate) fn of_runner(label: &str) -> (String, String) {
    let (os, arch) = match label {
        label if label.starts_with("macos") => ("osx", "amd64"),
        label if label.starts_with("windows") => ("windows", "amd64"),
        label if label.starts_with("ubuntu") && label.ends_with("-arm") => ("linux", "arm64"),
        label if label.starts_with("ubuntu") => ("linux", "amd64"),
        label => label.split_once('-').unwrap_or((label, "amd64")),
    };
    (os.to_owned(), arch.to_owned())
}

/// Whether the set-up of `compiler` gives this value to `CC` or `CXX`.
pub(crate) fn is_of_compiler(compiler: &str, value: &str) -> bool {
    compiler == value
        || matches!(
            (compiler, value),
            ("gcc", "g++") | ("clang", "clang++") | ("g++", "gcc") | ("clang++", "clang")
        )
}
