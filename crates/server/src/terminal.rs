//! Logs of steps: read from where they are kept, and made harmless for terminals and pages.

use model::protocol::{LogLine, LogStream};
use model::step::StepRecord;
use model::task::Task;

use crate::error::ServiceError;
use crate::service::Service;

/// Lines of one attempt at a step: from its blob, or the live tail while it runs.
pub(crate) async fn step_log(
    service: &Service,
    task: &Task,
    step: &StepRecord,
) -> Result<Vec<LogLine>, ServiceError> {
    if let Some(digest) = &step.log {
        return kept_log(service, digest, step.index).await;
    }
    if step.outcome.is_some() {
        return Ok(Vec::new());
    }
    let (lines, _) = service.logs().since(task.id, 0);
    Ok(lines
        .into_iter()
        .filter(|line| line.step == step.index)
        .collect())
}

/// A log that is kept as a blob.
pub(crate) async fn kept_log(
    service: &Service,
    digest: &str,
    step: u32,
) -> Result<Vec<LogLine>, ServiceError> {
    let bytes = service.blob(digest).await?;
    Ok(String::from_utf8_lossy(&bytes)
        .lines()
        .map(|line| parse(line, step))
        .collect())
}

/// A kept line: milliseconds, stream, text. Anything else is shown as a note.
fn parse(line: &str, step: u32) -> LogLine {
    let mut parts = line.splitn(3, ' ');
    let at_ms = parts.next().and_then(|word| word.parse().ok());
    let stream = match parts.next() {
        Some("out") => Some(LogStream::Out),
        Some("err") => Some(LogStream::Err),
        Some("note") => Some(LogStream::Note),
        _ => None,
    };
    match (at_ms, stream, parts.next()) {
        (Some(at_ms), Some(stream), Some(text)) => LogLine {
            step,
            at_ms,
            stream,
            text: text.to_owned(),
        },
        _ => LogLine {
            step,
            at_ms: 0,
            stream: LogStream::Note,
            text: line.to_owned(),
        },
    }
}

/// A line as text: milliseconds, stream, what was printed, colours kept.
pub(crate) fn as_text(line: &LogLine) -> String {
    let mut text = String::new();
    for piece in pieces(&line.text) {
        match piece {
            Piece::Text(part) => text.extend(part.chars().map(visible)),
            Piece::Colour(codes) => {
                text.push_str("\u{1b}[");
                text.push_str(codes);
                text.push('m');
            }
        }
    }
    format!("{} {} {text}\n", line.at_ms, stream_word(line.stream))
}

/// The stream as the kept log names it.
pub(crate) const fn stream_word(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Out => "out",
        LogStream::Err => "err",
        LogStream::Note => "note",
    }
}

/// A part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text; its control characters are the reader's to replace by [`visible`].
    Text(&'a str),
    /// Parameters of a colour sequence (SGR, ECMA-48 8.3.117).
    Colour(&'a str),
}

/// Takes a line apart into text and colours. Every other sequence stays text.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(escape) = text[at..].find('\u{1b}').map(|offset| at + offset) {
        match colour(&text[escape..]) {
            Some(length) => {
                if begin < escape {
                    found.push(Piece::Text(&text[begin..escape]));
                }
                found.push(Piece::Colour(&text[escape + 2..escape + length - 1]));
                at = escape + length;
                begin = at;
            }
            None => at = escape + 1,
        }
    }
    if begin < text.len() {
        found.push(Piece::Text(&text[begin..]));
    }
    found
}

/// Length of the colour sequence at the beginning of the text.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (end <= 32 && parameters.as_bytes()[end] == b'm').then_some(end + 3)
}

/// A character as it may be shown: what steers terminals or reorders text gets a visible sign.
pub(crate) fn visible(c: char) -> char {
    match c {
        '\t' | '\n' => c,
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
    fn colours_are_told_from_everything_else() {
        let found = pieces("a\u{1b}[1;31mred\u{1b}[0m\u{1b}[2Jb");
        let expected = [
            Piece::Text("a"),
            Piece::Colour("1;31"),
            Piece::Text("red"),
            Piece::Colour("0"),
            Piece::Text("\u{1b}[2Jb"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn text_for_terminals_keeps_colours_only() {
        let line = LogLine {
            step: 0,
            at_ms: 7,
            stream: LogStream::Err,
            text: "\u{1b}[32mok\u{1b}[0m\u{1b}]0;x\u{7}".into(),
        };
        assert_eq!(as_text(&line), "7 err \u{1b}[32mok\u{1b}[0m␛]0;x␇\n");
    }

    #[test]
    fn kept_lines_are_read_back() {
        assert_eq!(
            parse("12 out  two spaces", 3),
            LogLine {
                step: 3,
                at_ms: 12,
                stream: LogStream::Out,
                text: " two spaces".into()
            }
        );
        assert_eq!(parse("garbage", 0).stream, LogStream::Note);
    }
}
