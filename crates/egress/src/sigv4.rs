//! AWS Signature Version 4 (AWS general reference, "Signing AWS API requests").

use jiff::Timestamp;
use ring::{digest, hmac};

/// A key of AWS.
pub(crate) struct AwsKey<'a> {
    /// Its public part.
    pub(crate) id: &'a str,
    /// Its secret part.
    pub(crate) secret: &'a str,
    /// What makes it valid where it is only for a while.
    pub(crate) session: Option<&'a str>,
}

impl std::fmt::Debug for AwsKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<'a> AwsKey<'a> {
    /// Reads `ID:SECRET` or `ID:SECRET:SESSION`.
    #[must_use]
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (id, secret) = (parts.next()?, parts.next()?);
        (!id.is_empty() && !secret.is_empty()).then(|| Self {
            id,
            secret,
            session: parts.next(),
        })
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The path as it is sent.
    pub(crate) path: &'a str,
    /// The query as it is sent, in order.
    pub(crate) query: &'a str,
    /// Headers to sign, their names in lower case and in order.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub(crate) body: &'a [u8],
    /// The region.
    pub(crate) region: &'a str,
    /// The service.
    pub(crate) service: &'a str,
}

/// The time as signatures have it.
#[must_use]
pub(crate) fn amz_date(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The `Authorization` header.
#[must_use]
pub(crate) fn authorization(key: &AwsKey<'_>, signed: &Signed<'_>, amz_date: &str) -> String {
    let day = amz_date.get(..8).unwrap_or_default();
    let names: Vec<&str> = signed.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String = signed
        .headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let request = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        signed.method,
        encoded(signed.path),
        signed.query,
        sha256(signed.body)
    );
    let scope = format!("{day}/{}/{}/aws4_request", signed.region, signed.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{}",
        sha256(request.as_bytes())
    );
    let mut sealed = mac(format!("AWS4{}", key.secret).as_bytes(), day);
    for part in [signed.region, signed.service, "aws4_request", &text] {
        sealed = mac(sealed.as_ref(), part);
    }
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        key.id,
        hex::encode(sealed)
    )
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// A path with everything but unreserved letters and slashes as `%XX`: services other than S3 sign
/// a path encoded once more than it is sent.
#[must_use]
pub(crate) fn encoded(path: &str) -> String {
    encode(path, true)
}

/// One segment of a path, so encoded, with its slashes.
#[must_use]
pub(crate) fn encoded_segment(segment: &str) -> String {
    encode(segment, false)
}

fn encode(text: &str, slashes: bool) -> String {
    let mut shown = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || (slashes && byte == b'/')
        {
            shown.push(char::from(byte));
        } else {
            shown.push('%');
            shown.push_str(&hex::encode_upper([byte]));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the test suite that AWS publishes ("aws-sig-v4-test-suite").
    #[test]
    fn the_published_requests_get_the_published_signatures() {
        let key = AwsKey {
            id: "AKIDEXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session: None,
        };
        let base = Signed {
            method: "GET",
            path: "/",
            query: "",
            headers: &[
                ("host", "example.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
            region: "us-east-1",
            service: "service",
        };
        for (signed, signature) in [
            (
                base,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Signed {
                    method: "POST",
                    ..base
                },
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                Signed {
                    query: "Param1=value1&Param2=value2",
                    ..base
                },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let header = authorization(&key, &signed, "20150830T123600Z");
            assert_eq!(
                header,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
                )
            );
        }
    }

    #[test]
    fn a_path_that_is_sent_encoded_is_signed_encoded_twice() {
        let sent = format!(
            "/model/{}/invoke",
            encoded_segment("anthropic.claude-v1:0/x")
        );
        assert_eq!(sent, "/model/anthropic.claude-v1%3A0%2Fx/invoke");
        assert_eq!(
            encoded(&sent),
            "/model/anthropic.claude-v1%253A0%252Fx/invoke"
        );
    }

    #[test]
    fn a_key_is_read_and_never_shown() {
        let key = AwsKey::read("id:se/cret+:tok=en").unwrap();
        assert_eq!(
            (key.id, key.secret, key.session),
            ("id", "se/cret+", Some("tok=en"))
        );
        assert!(!format!("{key:?}").contains("cret"));
        assert!(AwsKey::read("id").is_none() && AwsKey::read("id:").is_none());
        let date: Timestamp = "2026-11-25T01:02:03.9Z".parse().unwrap();
        assert_eq!(amz_date(date), "20261125T010203Z");
    }
}
