//! Makes printed bytes harmless to show: colours stay, everything else that steers a terminal is
//! turned into a visible sign.

/// Longest colour sequence that is believed to be one.
const LONGEST_COLOUR: usize = 32;

/// Text for people: UTF-8, colours (SGR sequences, ECMA-48 8.3.117) kept, other control
/// characters and bidirectional overrides made visible.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        out.push(visible(c));
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// The same without colours: for programs that look for words.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = clean(bytes);
    if !text.contains('\u{1b}') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        rest = &rest[at + colour(&rest[at..]).unwrap_or(1)..];
    }
    out + rest
}

/// Length of the colour sequence at the beginning of the text.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (end <= LONGEST_COLOUR && parameters.as_bytes()[end] == b'm').then_some(end + 3)
}

fn visible(c: char) -> char {
    match c {
        '\t' => c,
        // Unicode has a picture for each of these.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => '\u{fffd}',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_terminal_control_becomes_visible() {
        assert_eq!(clean(b"\x1b[1;32mok\x1b[0m"), "\u{1b}[1;32mok\u{1b}[0m");
        assert_eq!(clean(b"\x1b[2J\x1b]0;title\x07"), "␛[2J␛]0;title␇");
        assert_eq!(clean(b"a\rb\tc"), "a␍b\tc");
        assert_eq!(clean(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(
            clean("\u{202e}abc\u{9b}31m".as_bytes()),
            "\u{fffd}abc\u{fffd}31m"
        );
        assert_eq!(clean(b"\x1b["), "␛[");
    }

    #[test]
    fn plain_text_has_no_colours() {
        assert_eq!(plain(b"\x1b[31mnot ok\x1b[m 1"), "not ok 1");
    }
}
