//! Versions as Travis names them, as the set-up steps of today want them.

/// A version for the target, and what somebody must know about it.
pub(crate) struct Version {
    pub(crate) text: String,
    /// Why it cannot run as it is.
    pub(crate) manual: Option<String>,
}

/// Translate `text`, a value of the expansion key `axis`.
pub(crate) fn translate(axis: &str, text: &str) -> Version {
    let text = text.trim();
    match axis {
        "node_js" => node(text),
        "python" => python(text),
        "rvm" => ruby(text),
        "go" => go(text),
        "jdk" => jdk(text),
        "php" => php(text),
        _ => fine(text),
    }
}

fn fine(text: &str) -> Version {
    Version {
        text: text.to_owned(),
        manual: None,
    }
}

fn manual(text: &str, why: &str) -> Version {
    Version {
        text: text.to_owned(),
        manual: Some(why.to_owned()),
    }
}

fn node(text: &str) -> Version {
    match text {
        "stable" | "node" | "latest" | "current" | "unstable" => fine("node"),
        "lts" | "--lts" | "lts/*" => fine("lts/*"),
        text if text.starts_with("iojs") => manual(
            text,
            "io.js ended in 2015 and has no set-up: drop this version",
        ),
        text => fine(text.trim_start_matches('v')),
    }
}

fn python(text: &str) -> Version {
    const GONE: &str =
        "no hosted build of this version exists any more: drop it, or run it in a container";
    match text {
        "nightly" => fine("3.16-dev"),
        "pypy" | "pypy2" | "pypy2.7" => fine("pypy2.7"),
        "pypy3" => fine("pypy3.10"),
        text if text.starts_with("pypy2.7") => fine("pypy2.7"),
        text if text.starts_with("pypy") => manual(text, GONE),
        text => {
            let mut parts = text.split(['.', '-']);
            let major = parts.next().unwrap_or_default();
            let minor = parts.next().and_then(|minor| minor.parse::<u32>().ok());
            match (major, minor) {
                ("2", _) => manual(text, GONE),
                ("3", Some(minor)) if minor < 7 => manual(text, GONE),
                _ => fine(text),
            }
        }
    }
}

fn ruby(text: &str) -> Version {
    let text = text.trim_start_matches("ruby-");
    match text {
        "head" => fine("head"),
        "default" => fine("ruby"),
        "ree" | "1.8.7" | "1.8" | "1.9.2" => {
            manual(text, "this Ruby has no set-up any more: drop it")
        }
        text if text.starts_with("rbx") || text.ends_with("mode") => {
            manual(text, "this Ruby has no set-up any more: drop it")
        }
        text => fine(text),
    }
}

fn go(text: &str) -> Version {
    match text {
        "tip" | "master" => manual(
            "stable",
            "there is no set-up of Go's development version; `stable` stands in for it",
        ),
        text => fine(text.trim_start_matches("go")),
    }
}

fn jdk(text: &str) -> Version {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match text {
        "default" => fine("17"),
        text if text.ends_with("-ea") && digits.is_empty() => {
            manual("25-ea", "name the early-access version you mean")
        }
        _ if digits.is_empty() => manual(text, "name the version of the JDK you mean"),
        _ => fine(&digits),
    }
}

fn php(text: &str) -> Version {
    match text {
        "nightly" | "master" => fine("nightly"),
        text if text.starts_with("hhvm") => {
            manual(text, "HHVM no longer runs PHP: drop this version")
        }
        "5.2" => manual(text, "PHP 5.2 has no set-up any more: drop it"),
        text => fine(text.trim_end_matches("snapshot")),
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn versions_stay_text_and_names_change() {
        for (axis, from, to) in [
            ("go", "1.10", "1.10"),
            ("jdk", "oraclejdk8", "8"),
            ("jdk", "openjdk11", "11"),
            ("node_js", "stable", "node"),
            ("rvm", "ruby-head", "head"),
            ("php", "7.4snapshot", "7.4"),
        ] {
            assert_eq!(translate(axis, from).text, to);
        }
    }

    #[test]
    fn a_version_nobody_offers_is_said_to_be_so() {
        for (axis, version) in [("python", "2.7"), ("php", "hhvm"), ("node_js", "iojs")] {
            assert!(translate(axis, version).manual.is_some(), "{version}");
        }
    }
}
