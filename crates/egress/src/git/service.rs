//! Which requests are git's, and what they are about.

use crate::policy::{RequestPath, unescape};

/// A request of git's smart HTTP protocol. Repositories are paths without a slash at the beginning
/// and without `.git` at the end, since servers take both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitRequest {
    /// Reading: the list of refs, or objects.
    Fetch {
        /// The repository.
        repository: String,
    },
    /// The list of refs before a push.
    PushRefs {
        /// The repository.
        repository: String,
    },
    /// A push.
    Push {
        /// The repository.
        repository: String,
    },
    /// What some server could take for a push, but git would not write so.
    Disguised,
}

const PUSH: &str = "git-receive-pack";
const FETCH: &str = "git-upload-pack";

/// A repository's path in the one form that rules compare.
#[must_use]
pub fn repository(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix(".git").unwrap_or(path)
}

/// What a request is for git, if it is git's.
#[must_use]
pub fn classify(method: &str, path: &RequestPath, query: &str) -> Option<GitRequest> {
    let request = path
        .plain()
        .and_then(|segments| exact(method, segments, query));
    let is_push = |segments: &[String]| looks_like_push(segments, query);
    match request {
        None if path.readings().any(is_push) => Some(GitRequest::Disguised),
        request => request,
    }
}

/// A request in the only spelling that git uses.
fn exact(method: &str, segments: &[String], query: &str) -> Option<GitRequest> {
    let (last, before) = segments.split_last()?;
    match (method, last.as_str(), query) {
        ("POST", FETCH, "") => named(before).map(|repository| GitRequest::Fetch { repository }),
        ("POST", PUSH, "") => named(before).map(|repository| GitRequest::Push { repository }),
        ("GET", "refs", "service=git-upload-pack" | "service=git-receive-pack") => {
            let (info, before) = before.split_last()?;
            let repository = named(before).filter(|_| info == "info")?;
            Some(if query.ends_with(FETCH) {
                GitRequest::Fetch { repository }
            } else {
                GitRequest::PushRefs { repository }
            })
        }
        _ => None,
    }
}

fn named(segments: &[String]) -> Option<String> {
    // A service inside the path of a repository is a trick with paths.
    if segments.iter().any(|segment| is_service(segment)) {
        return None;
    }
    let joined = segments.join("/");
    Some(repository(&joined).to_owned()).filter(|repository| !repository.is_empty())
}

fn is_service(segment: &str) -> bool {
    segment.trim().eq_ignore_ascii_case(PUSH)
}

fn looks_like_push(segments: &[String], query: &str) -> bool {
    let lists = segments
        .iter()
        .any(|segment| segment.trim().eq_ignore_ascii_case("refs"));
    segments.iter().any(|segment| is_service(segment)) || (lists && mentions_push(query))
}

/// Whether a query, decoded as often as anybody would, has the service in it.
fn mentions_push(query: &str) -> bool {
    let mut text = query.as_bytes().to_ascii_lowercase();
    for _ in 0..3 {
        if text.windows(12).any(|part| part == b"receive-pack") {
            return true;
        }
        text = decode(&text);
    }
    false
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = (*byte == b'%')
            .then(|| unescape(text.get(at + 1).copied(), text.get(at + 2).copied()))
            .flatten();
        decoded.push(escaped.unwrap_or(*byte).to_ascii_lowercase());
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> Option<GitRequest> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        classify(method, &RequestPath::parse(path).unwrap(), query)
    }

    #[test]
    fn git_itself_is_understood() {
        let repository = || "org/repo".to_owned();
        for (method, target, expected) in [
            (
                "GET",
                "/org/repo.git/info/refs?service=git-upload-pack",
                GitRequest::Fetch {
                    repository: repository(),
                },
            ),
            (
                "GET",
                "/org/repo/info/refs?service=git-upload-pack",
                GitRequest::Fetch {
                    repository: repository(),
                },
            ),
            (
                "POST",
                "/org/repo.git/git-upload-pack",
                GitRequest::Fetch {
                    repository: repository(),
                },
            ),
            (
                "GET",
                "/org/repo.git/info/refs?service=git-receive-pack",
                GitRequest::PushRefs {
                    repository: repository(),
                },
            ),
            (
                "POST",
                "/org/repo.git/git-receive-pack",
                GitRequest::Push {
                    repository: repository(),
                },
            ),
            (
                "POST",
                "/org/repo.git.git/git-receive-pack",
                GitRequest::Push {
                    repository: "org/repo.git".to_owned(),
                },
            ),
        ] {
            assert_eq!(request(method, target), Some(expected), "{method} {target}");
        }
    }

    #[test]
    fn a_push_in_disguise_is_no_path_like_others() {
        for (method, target) in [
            (
                "GET",
                "/org/repo.git/info/refs?service=git-upload-pack&service=git-receive-pack",
            ),
            (
                "GET",
                "/org/repo.git/info/refs?service=git-receive-pack&service=git-upload-pack",
            ),
            (
                "GET",
                "/org/repo.git/info/refs?service=git%2Dreceive%2Dpack",
            ),
            (
                "GET",
                "/org/repo.git/info/refs?service=git%252Dreceive%252Dpack",
            ),
            ("GET", "/org/repo.git/info/refs?SERVICE=git-receive-pack"),
            ("GET", "/org/repo.git/info/refs?service=git-receive-pack%00"),
            ("HEAD", "/org/repo.git/info/refs?service=git-receive-pack"),
            ("POST", "/org/repo.git/git-receive-pack/"),
            ("POST", "/org/repo.git/git-RECEIVE-pack"),
            ("POST", "/org/repo.git/git-receive-pack?x"),
            ("PUT", "/org/repo.git/git-receive-pack"),
            ("POST", "/git-receive-pack"),
            ("POST", "/org%2frepo.git/git-receive-pack"),
            ("POST", "/org/repo.git%2fgit-receive-pack"),
            ("POST", "/org/git-receive-pack/git-receive-pack"),
        ] {
            assert_eq!(
                request(method, target),
                Some(GitRequest::Disguised),
                "{method} {target}"
            );
        }
        // An escaped hyphen is a hyphen for everybody.
        assert!(matches!(
            request("POST", "/org/repo.git/git%2dreceive-pack"),
            Some(GitRequest::Push { .. })
        ));
    }

    #[test]
    fn other_requests_are_not_gits() {
        for (method, target) in [
            ("GET", "/org/repo.git/info/refs"),
            ("GET", "/org/repo.git/info/refs?service=git-upload-archive"),
            ("POST", "/org/repo.git/info/lfs/objects/batch"),
            ("GET", "/org/repo.git/objects/info/packs"),
            ("GET", "/org/repo.git/git-upload-pack"),
            ("POST", "/git-upload-pack"),
            ("GET", "/search?q=git-receive-pack"),
        ] {
            assert_eq!(request(method, target), None, "{method} {target}");
        }
    }
}
