//! Where a credential stands in a request, and how it is written there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::AUTHORIZATION;
use model::network::CredentialUse;
use zeroize::Zeroizing;

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

    /// The header's text with this in the value's place.
    pub(super) fn write(&self, value: &str) -> Zeroizing<String> {
        Zeroizing::new(match &self.text {
            Text::Around(before, after) => [before, value, after].concat(),
            Text::Basic(user) => {
                let plain = Zeroizing::new([user, ":", value].concat());
                format!("Basic {}", STANDARD.encode(plain.as_bytes()))
            }
        })
    }

    /// Whether a client wrote exactly this header, with this in the value's place. The case of the
    /// text around it is free, and so is the user of basic authentication: what leaves is written
    /// anew.
    pub(super) fn is(&self, text: &str, placeholder: &str) -> bool {
        match &self.text {
            Text::Around(before, after) => {
                let middle = before.len()..text.len().saturating_sub(after.len());
                text.len() == before.len() + placeholder.len() + after.len()
                    && text.get(middle.clone()) == Some(placeholder)
                    && text
                        .get(..middle.start)
                        .is_some_and(|start| start.eq_ignore_ascii_case(before))
                    && text
                        .get(middle.end..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(after))
            }
            Text::Basic(_) => {
                basic_password(text).is_some_and(|password| *password == *placeholder)
            }
        }
    }
}

/// The password of a header of basic authentication in its one canonical spelling.
fn basic_password(text: &str) -> Option<Zeroizing<String>> {
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // The standard engine refuses other alphabets, missing padding and stray bits.
    let plain = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    let harmless = !user.contains(super::PREFIX) && !user.chars().any(char::is_control);
    harmless.then(|| Zeroizing::new(password.to_owned()))
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
