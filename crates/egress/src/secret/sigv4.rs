//! AWS Signature Version 4 for requests without a query, as its reference has it
//! ("Create a signed AWS API request").

use jiff::Timestamp;
use ring::{digest, hmac};

/// Who signs.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// What is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// All headers that are signed but `x-amz-date`: lower-case names in order, `host` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// The headers `x-amz-date` and `authorization`.
pub(super) fn sign(signer: &Signer<'_>, request: &Signed<'_>, now: Timestamp) -> (String, String) {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = time.get(..8).unwrap_or_default().to_owned();
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.push(("x-amz-date", &time));
    headers.sort_unstable();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let canonical = format!(
        "{}\n{}\n\n{lines}\n{names}\n{}",
        request.method,
        request.path,
        hash(request.body)
    );
    let scope = format!("{day}/{}/{}/aws4_request", signer.region, signer.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let mut key = mac(format!("AWS4{}", signer.secret).as_bytes(), day.as_bytes());
    for part in [signer.region, signer.service, "aws4_request"] {
        key = mac(key.as_ref(), part.as_bytes());
    }
    let signature = hex::encode(mac(key.as_ref(), text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        signer.access_key
    );
    (time, authorization)
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `post-vanilla` and `get-vanilla` of AWS's own test suite for this signature.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "service",
        };
        let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        for (method, expected) in [
            (
                "GET",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
        ] {
            let request = Signed {
                method,
                path: "/",
                headers: &[("host", "example.amazonaws.com")],
                body: b"",
            };
            let (time, authorization) = sign(&signer, &request, now);
            assert_eq!(time, "20150830T123600Z");
            assert!(authorization.ends_with(expected), "{authorization}");
        }
    }
}
