//! Which request asks for what.

use super::HttpRequest;
use crate::RepoName;

/// The two services of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Reading.
    UploadPack,
    /// Pushing.
    ReceivePack,
}

impl Service {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    /// The first packet of an advertisement in protocol versions 0 and 1: length in hexadecimal, text, flush.
    pub(super) fn announcement(self) -> String {
        let line = format!("# service={}\n", self.name());
        format!("{:04x}{line}0000", line.len() + 4)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `GET …/info/refs?service=…`.
    Advertise { name: RepoName, service: Service },
    /// `POST …/git-upload-pack` or `…/git-receive-pack`.
    Exchange { name: RepoName, service: Service },
}

pub(super) fn route(request: &HttpRequest) -> Result<Act, (u16, String)> {
    let nothing = || (404, "there is no such thing here".to_owned());
    let path = request.path.trim_start_matches('/');
    match request.method.as_str() {
        "GET" => {
            let name = path.strip_suffix("/info/refs").ok_or_else(nothing)?;
            let query = request.query.as_deref().unwrap_or_default();
            let service = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("service="));
            // Without a service it is the old protocol that reads files one by one.
            let service = service
                .ok_or_else(|| (403, "only the smart protocol is spoken here".to_owned()))?;
            let service = Service::parse(service).ok_or_else(nothing)?;
            Ok(Act::Advertise {
                name: repository(name)?,
                service,
            })
        }
        "POST" => {
            let (name, service) = path.rsplit_once('/').ok_or_else(nothing)?;
            let service = Service::parse(service).ok_or_else(nothing)?;
            let expected = format!("application/x-{}-request", service.name());
            if request.content_type.as_deref() != Some(&expected) {
                return Err((415, format!("the content type must be {expected}")));
            }
            Ok(Act::Exchange {
                name: repository(name)?,
                service,
            })
        }
        _ => Err((405, "only GET and POST are spoken here".to_owned())),
    }
}

/// A valid name needs no percent-encoding and cannot climb: everything else is not found.
fn repository(text: &str) -> Result<RepoName, (u16, String)> {
    text.parse()
        .map_err(|_| (404, "there is no repository of this name".to_owned()))
}

/// Passes the protocol version on, if it looks like one; says whether it is version 2.
pub(super) fn protocol(command: &mut tokio::process::Command, header: Option<&str>) -> bool {
    let sound = |text: &&str| {
        text.len() <= 200
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "=:-.".contains(c))
    };
    let Some(text) = header.filter(sound) else {
        return false;
    };
    command.env("GIT_PROTOCOL", text);
    text.split(':').any(|part| part == "version=2")
}
