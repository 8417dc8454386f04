//! Log lines as markup: colours as classes, times beside, everything else made harmless.

use maud::{Markup, html};
use model::protocol::LogLine;

use super::words::safe;
use crate::terminal::{Piece, pieces, stream_word};

/// Lines for a terminal view.
pub(super) fn lines(lines: &[LogLine]) -> Markup {
    html! {
        @for line in lines {
            span class={ "l " (stream_word(line.stream)) } {
                span.at { (stamp(line.at_ms)) }
                span.t { (text(&line.text)) }
            }
        }
    }
}

fn stamp(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{:03}", ms / 1000, ms % 1000),
        _ => format!("{}:{:02}.{}", ms / 60_000, ms / 1000 % 60, ms % 1000 / 100),
    }
}

/// One line with its colours.
pub(super) fn text(line: &str) -> Markup {
    let mut style = Style::default();
    html! {
        @for piece in pieces(line) {
            @match piece {
                Piece::Colour(codes) => { ({ style.apply(codes); "" }) },
                Piece::Text(part) => @match style.classes() {
                    Some(classes) => span class=(classes) { (safe(part)) },
                    None => (safe(part)),
                },
            }
        }
    }
}

/// What is in force of SGR: the sixteen colours and four attributes.
#[derive(Debug, Default, Clone, Copy)]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    front: Option<u8>,
    back: Option<u8>,
}

impl Style {
    fn apply(&mut self, codes: &str) {
        let mut codes = codes
            .split([';', ':'])
            .map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.front = u8::try_from(code - 30).ok(),
                90..=97 => self.front = u8::try_from(code - 90 + 8).ok(),
                40..=47 => self.back = u8::try_from(code - 40).ok(),
                100..=107 => self.back = u8::try_from(code - 100 + 8).ok(),
                39 => self.front = None,
                49 => self.back = None,
                38 | 48 => {
                    // Of the larger palettes the first sixteen colours are known; the rest is passed over.
                    let chosen = match codes.next() {
                        Some(5) => codes
                            .next()
                            .and_then(|n| u8::try_from(n).ok())
                            .filter(|n| *n < 16),
                        Some(2) => {
                            codes.by_ref().take(3).for_each(drop);
                            None
                        }
                        _ => None,
                    };
                    if code == 38 {
                        self.front = chosen;
                    } else {
                        self.back = chosen;
                    }
                }
                _ => {}
            }
        }
    }

    fn classes(self) -> Option<String> {
        let mut classes = Vec::new();
        let flags = [
            (self.bold, "b"),
            (self.dim, "dim"),
            (self.italic, "i"),
            (self.underline, "u"),
        ];
        classes.extend(
            flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, class)| (*class).to_owned()),
        );
        classes.extend(self.front.map(|n| format!("f{n}")));
        classes.extend(self.back.map(|n| format!("k{n}")));
        (!classes.is_empty()).then(|| classes.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_markup_stays_text() {
        let shown = text("\u{1b}[1;31m<b>no</b>\u{1b}[0m ok\u{1b}[2J").into_string();
        assert_eq!(
            shown,
            "<span class=\"b f1\">&lt;b&gt;no&lt;/b&gt;</span> ok␛[2J"
        );
    }

    #[test]
    fn large_palettes_do_not_confuse_what_follows() {
        let shown = text("\u{1b}[38;2;1;2;3;4mx\u{1b}[0;38;5;9my").into_string();
        assert_eq!(
            shown,
            "<span class=\"u\">x</span><span class=\"f9\">y</span>"
        );
    }
}
