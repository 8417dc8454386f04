//! Where a credential stands in a request, and how it is written there.

use http::HeaderName;
use http::header::AUTHORIZATION;
use model::network::CredentialUse;

/// Longest text of a format, and longest user of basic authentication.
const LONGEST_FORMAT: usize = 256;

/// Headers that say where a request ends, where it goes, or who answers: no place for a secret.
const NO_PLACE: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header, and its text around the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) header: HeaderName,
    pub(super) text: Text,
}

/// The text of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// The value between two texts.
    Around(String, String),
    /// Basic authentication of this user (RFC 7617).
    Basic(String),
}

/// Whether a credential can be used so.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check(used: &CredentialUse) -> Result<(), String> {
    Form::of(used).map(|_| ())
}

impl Form {
    pub(super) fn of(used: &CredentialUse) -> Result<Self, String> {
        let header = match &used.header {
            None => AUTHORIZATION,
            Some(name) => HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{}` is not a header", model::egress::harmless(name)))?,
        };
        if NO_PLACE.contains(&header.as_str()) {
            return Err(format!("`{header}` cannot hold a credential"));
        }
        let format = used.format.as_deref().unwrap_or("Bearer {}");
        Ok(Self {
            header,
            text: Text::parse(format)?,
        })
    }
}

impl Text {
    fn parse(format: &str) -> Result<Self, String> {
        let shown = || model::egress::harmless(format);
        let printable = |text: &str| {
            text.bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        };
        if format.len() > LONGEST_FORMAT || !printable(format) {
            return Err(format!("`{}` is no text of a header", shown()));
        }
        if let Some(user) = format.strip_prefix("basic ") {
            if user.is_empty() || user.contains([':', ' ', '{', '}']) {
                return Err(format!("`{}`: write `basic NAME`", shown()));
            }
            return Ok(Self::Basic(user.to_owned()));
        }
        match format.split_once("{}") {
            // A space at an end would be cut off on the way.
            Some((before, after))
                if !after.contains("{}") && !before.starts_with(' ') && !after.ends_with(' ') =>
            {
                Ok(Self::Around(before.to_owned(), after.to_owned()))
            }
            _ => Err(format!(
                "`{}` has not one `{{}}` for the value; write `Bearer {{}}` or `basic NAME`",
                shown()
            )),
        }
    }
}
