//! Names of images in registries: `HOST[:PORT]/NAME[:TAG][@DIGEST]`.
//!
//! Forms are those of the OCI distribution specification 1.1, "Pulling manifests". The host must be
//! written out: a short name means another image on every machine that completes it differently.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{Digest, Error};

/// A full name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, with its port where one is written.
    pub registry: String,
    /// The repository's name.
    pub name: String,
    /// A tag, which may point to another image tomorrow.
    pub tag: Option<String>,
    /// What the manifest's bytes must be.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What the registry is asked for: the digest if there is one, else the tag, else `latest`.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Reads a reference whose host may be missing, as `devcontainer.json` has them; `host` completes it.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn complete(text: &str, host: &str) -> Result<Self, Error> {
        let first = text.split('/').next().unwrap_or_default();
        let has_host = text.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        if has_host {
            text.parse()
        } else if text.contains('/') {
            format!("{host}/{text}").parse()
        } else {
            // As such names are meant everywhere.
            format!("{host}/library/{text}").parse()
        }
    }
}

/// Loopback addresses, and the one name that means them.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |problem: &str| Error::Reference {
            reference: crate::error::clean(text.as_bytes()),
            problem: problem.to_owned(),
        };
        if text.len() > 512 {
            return Err(error("it is longer than 512 bytes"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| error("its digest is not sha256: and 64 digits"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let Some((registry, rest)) = rest.split_once('/') else {
            return Err(error("it names no registry (write HOST/NAME:TAG)"));
        };
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(error("it names no registry (write HOST/NAME:TAG)"));
        }
        if !is_host(registry) {
            return Err(error("its host is no host name with an optional port"));
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        if name.is_empty() || !name.split('/').all(is_component) {
            return Err(error(
                "its name has something else than lower-case letters, digits and `.`, `_`, `-` between them",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(
                "its tag has something else than letters, digits, `_`, `.`, `-`, or is longer than 128",
            ));
        }
        Ok(Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, Some(port)),
        _ => (text, None),
    };
    let host_fine = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    host_fine && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_component(part: &str) -> bool {
    let bytes = part.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || b"._-".contains(b))
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written_back() {
        let digest = Digest::of(b"x");
        for text in [
            "registry.example/a/b-c:1.2".to_owned(),
            "127.0.0.1:5000/a".to_owned(),
            "localhost/a_b".to_owned(),
            "[::1]:5000/a:x".to_owned(),
            format!("registry.example/a:tag@{digest}"),
            format!("registry.example/a@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "debian",
            "debian:12",
            "library/debian",
            "registry.example/",
            "registry.example/A",
            "registry.example/../x",
            "registry.example/a:",
            "registry.example/a:-x",
            "registry.example/a@sha256:12",
            "registry.example/a@md5:12",
            "registry.example:0/a",
            "registry.example:99999/a",
            "user@registry.example/a",
            "registry.example/a?b",
            "http://registry.example/a",
            "registry.example/a b",
            "registry.example/a\n",
            "[::x]:1/a",
            "-x.example/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_host_is_completed() {
        let full = |text| {
            Reference::complete(text, "registry.example")
                .unwrap()
                .to_string()
        };
        assert_eq!(
            full("library/debian:12"),
            "registry.example/library/debian:12"
        );
        assert_eq!(full("debian:12"), "registry.example/library/debian:12");
        assert_eq!(full("localhost:5000/debian"), "localhost:5000/debian");
    }
}
