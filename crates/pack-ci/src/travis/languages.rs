//! The languages of Travis: aliases, the key that lists versions, and how a version is set up.

/// What a workflow needs for one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Language {
    /// The name in the file.
    pub(crate) name: &'static str,
    /// The key that lists its versions, if it has one.
    pub(crate) axis: Option<&'static str>,
    /// The version Travis takes when the file names none; empty: no set-up needed.
    pub(crate) default_version: &'static str,
}

const fn language(
    name: &'static str,
    axis: Option<&'static str>,
    default_version: &'static str,
) -> Language {
    Language {
        name,
        axis,
        default_version,
    }
}

/// Every language with its own expansion key. Those without are in [`PLAIN`].
const LANGUAGES: [Language; 28] = [
    language("node_js", Some("node_js"), "lts/*"),
    language("python", Some("python"), "3.x"),
    language("ruby", Some("rvm"), "ruby"),
    language("go", Some("go"), "stable"),
    language("rust", Some("rust"), "stable"),
    language("java", Some("jdk"), "17"),
    language("groovy", Some("jdk"), "17"),
    language("kotlin", Some("jdk"), "17"),
    language("android", Some("jdk"), "17"),
    language("clojure", Some("jdk"), "17"),
    language("scala", Some("scala"), ""),
    language("php", Some("php"), "8.3"),
    language("c", Some("compiler"), ""),
    language("cpp", Some("compiler"), ""),
    language("csharp", Some("dotnet"), ""),
    language("perl", Some("perl"), "5"),
    language("r", Some("r"), "release"),
    language("julia", Some("julia"), "1"),
    language("elixir", Some("elixir"), ""),
    language("erlang", Some("otp_release"), ""),
    language("haskell", Some("ghc"), "latest"),
    language("dart", Some("dart"), "stable"),
    language("d", Some("d"), "dmd-latest"),
    language("crystal", Some("crystal"), "latest"),
    language("smalltalk", Some("smalltalk"), ""),
    language("haxe", Some("haxe"), ""),
    language("objective-c", Some("xcode_sdk"), ""),
    language("perl6", Some("perl6"), ""),
];

/// Languages that name an environment without versions or default commands.
const PLAIN: [&str; 4] = ["generic", "minimal", "bash", "shell"];

/// Known to Travis, without default commands or set-up here.
const FOREIGN: [&str; 8] = [
    "swift",
    "nix",
    "hack",
    "elm",
    "emacs-lisp",
    "matlab",
    "__connie__",
    "__sardonyx__",
];

/// The expansion keys of the file format, in the order in which Travis multiplies them.
pub(crate) const AXES: [&str; 29] = [
    "os",
    "arch",
    "osx_image",
    "python",
    "node_js",
    "rvm",
    "go",
    "rust",
    "jdk",
    "php",
    "scala",
    "compiler",
    "dotnet",
    "mono",
    "perl",
    "r",
    "julia",
    "elixir",
    "otp_release",
    "ghc",
    "dart",
    "d",
    "crystal",
    "smalltalk",
    "haxe",
    "gemfile",
    "xcode_sdk",
    "xcode_scheme",
    "perl6",
];

/// The key as the format's current version spells it.
pub(crate) fn canonical_key(key: &str) -> &str {
    match key {
        "node" => "node_js",
        "ruby" => "rvm",
        "gemfiles" => "gemfile",
        "jobs" => "matrix",
        "dists" => "dist",
        "environment" => "env",
        other => other,
    }
}

/// The language called `name` or an alias of it; `None` when nobody knows it.
pub(crate) fn find(name: &str) -> Option<Language> {
    let lower = name.trim().to_ascii_lowercase();
    let canonical = match lower.as_str() {
        "javascript" | "node" | "node.js" | "nodejs" | "js" => "node_js",
        "c++" | "cxx" => "cpp",
        "golang" => "go",
        "jvm" => "java",
        "sh" => "bash",
        "objective-c++" | "objective_c" | "objectivec" => "objective-c",
        "c#" | "fsharp" | "vb" => "csharp",
        "none" => "generic",
        other => other,
    };
    if let Some(found) = LANGUAGES.iter().find(|known| known.name == canonical) {
        return Some(*found);
    }
    PLAIN
        .iter()
        .chain(&FOREIGN)
        .find(|known| **known == canonical)
        .map(|known| language(known, None, ""))
}

/// Whether the language has no commands of its own by design.
pub(crate) fn is_plain(name: &str) -> bool {
    PLAIN.contains(&name)
}

/// Whether jobs of `language` are multiplied by `axis`; other lists are ignored by Travis.
pub(crate) fn supports(language: &str, axis: &str) -> bool {
    match axis {
        "os" | "arch" | "osx_image" => true,
        "jdk" => matches!(
            language,
            "java" | "groovy" | "kotlin" | "android" | "clojure" | "scala" | "ruby"
        ),
        "rvm" | "gemfile" => matches!(language, "ruby" | "objective-c"),
        "compiler" => matches!(language, "c" | "cpp"),
        "xcode_sdk" | "xcode_scheme" => matches!(language, "objective-c" | "swift"),
        "otp_release" => matches!(language, "erlang" | "elixir"),
        "mono" | "dotnet" => language == "csharp",
        _ => find(language).is_some_and(|known| known.axis == Some(axis)),
    }
}
