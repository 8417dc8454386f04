//! JSON with comments and trailing commas, made into JSON of the same length, so that lines and columns
//! of errors stay true.

/// Replaces comments and trailing commas by blanks. What is wrong otherwise is left for the JSON reader.
pub(super) fn to_json(text: &str) -> String {
    let mut bytes = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .as_bytes()
        .to_vec();
    let mut place = 0;
    // A comma that nothing but blanks and comments follows so far.
    let mut comma = None;
    while place < bytes.len() {
        match (bytes[place], bytes.get(place + 1)) {
            (b'"', _) => {
                comma = None;
                place = end_of_string(&bytes, place);
            }
            (b'/', Some(b'/')) => {
                let line = bytes[place..].iter().position(|b| *b == b'\n');
                let end = line.map_or(bytes.len(), |length| place + length);
                blank(&mut bytes[place..end]);
                place = end;
            }
            (b'/', Some(b'*')) => {
                let close = bytes[place + 2..].windows(2).position(|two| two == b"*/");
                let end = close.map_or(bytes.len(), |length| place + 2 + length + 2);
                blank(&mut bytes[place..end]);
                place = end;
            }
            (b',', _) => {
                comma = Some(place);
                place += 1;
            }
            (b'}' | b']', _) => {
                if let Some(comma) = comma.take() {
                    bytes[comma] = b' ';
                }
                place += 1;
            }
            (byte, _) => {
                if !byte.is_ascii_whitespace() {
                    comma = None;
                }
                place += 1;
            }
        }
    }
    // Blanks replace whole characters within comments only, so it is UTF-8 as before.
    String::from_utf8(bytes).unwrap_or_default()
}

fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let mut place = begin + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    bytes.len()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn comments_and_trailing_commas_go_and_strings_stay() {
        let text = r#"
            // first ä
            { /* a , } */ "a": "//x,]", "b": ["\"/*", 1, /* c */ ], // d
              "c": {"d": 1 , },
            } // end"#;
        let value: Value = serde_json::from_str(&to_json(text)).unwrap();
        assert_eq!(
            value,
            json!({"a": "//x,]", "b": ["\"/*", 1], "c": {"d": 1}})
        );
    }

    #[test]
    fn what_is_wrong_stays_wrong_at_its_line() {
        for text in ["{,}", "[,]", "[1,,]", "{\"a\" 1}", "/* open", "\"open"] {
            let json = to_json(text);
            // A lone comma is taken for a trailing one; nothing is lost by that.
            if text != "{,}" && text != "[,]" {
                assert!(serde_json::from_str::<Value>(&json).is_err(), "{text}");
            }
        }
        let error = serde_json::from_str::<Value>(&to_json("{\n// x\n  \"a\": @\n}")).unwrap_err();
        assert_eq!(error.line(), 3);
    }

    proptest! {
        #[test]
        fn json_is_read_as_before(text in r#"[\[\]{}:,"/* a1\\\n]{0,60}"#) {
            let json = to_json(&text);
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
            }
        }
    }
}
