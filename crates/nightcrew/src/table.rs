//! Plain tables for people.

use crate::print;

/// Rows under headings, each column as wide as its widest cell.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells may carry colours.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Prints it, or `empty` when there are no rows.
    pub(crate) fn print(self, empty: &str) {
        if self.rows.is_empty() {
            print::note(empty);
            return;
        }
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(visible(cell));
            }
        }
        let headings: Vec<String> = self
            .headings
            .iter()
            .zip(&widths)
            .map(|(heading, width)| pad(heading, *width))
            .collect();
        print::line(print::dim(headings.join("  ").trim_end()));
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| pad(cell, *width))
                .collect();
            print::line(cells.join("  ").trim_end());
        }
    }
}

fn pad(cell: &str, width: usize) -> String {
    let missing = width.saturating_sub(visible(cell));
    format!("{cell}{}", " ".repeat(missing))
}

/// Characters that take up room: everything but escape sequences.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for c in text.chars() {
        match (escape, c) {
            (false, '\u{1b}') => escape = true,
            (true, 'm') => escape = false,
            (true, _) => {}
            (false, _) => count += 1,
        }
    }
    count
}

/// Text of an outside origin on one line, without control characters, at most `width` long.
pub(crate) fn clean(text: &str, width: usize) -> String {
    let mut kept: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(width + 1)
        .collect();
    if kept.chars().count() > width {
        kept = kept.chars().take(width.saturating_sub(1)).collect();
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room_and_control_characters_do_not_survive() {
        assert_eq!(visible("\u{1b}[31mred\u{1b}[0m"), 3);
        assert_eq!(clean("a\nb\u{1b}[2Jc", 20), "a b [2Jc");
        assert_eq!(clean("abcdef", 4), "abc…");
    }
}
