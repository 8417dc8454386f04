//! Results for readers: JSON, and the table in `docs/security.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::expected::Expected;
use crate::matrix::{Outcome, Row};

/// Everything seen by this run of the tests.
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

const BEGIN: &str =
    "<!-- attacks: written by `UPDATE_SECURITY_TABLE=1 cargo test -p sandbox --test attacks` -->";
const END: &str = "<!-- attacks: end -->";

/// Keeps the rows, and writes what was asked for.
pub(crate) fn record(rows: &[Row]) {
    let mut all = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend_from_slice(rows);
    if let Some(file) = std::env::var_os("NIGHTCREW_ATTACK_RESULTS") {
        let value = Value::Array(all.iter().map(Row::json).collect());
        std::fs::write(file, serde_json::to_string_pretty(&value).unwrap()).unwrap();
    }
    if std::env::var_os("UPDATE_SECURITY_TABLE").is_some() {
        write_table(&all);
    }
}

/// Puts the table between its marks.
fn write_table(rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's first mark");
    let (_, after) = rest.split_once(END).expect("the table's last mark");
    let text = format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(rows));
    std::fs::write(path, text).unwrap();
}

/// What an attack tries, and its results by column.
type Line<'a> = (&'a str, BTreeMap<String, &'a Row>);

/// One line an attack, one column a tier and mode that ran; then every reason once.
fn table(rows: &[Row]) -> String {
    let mut columns: Vec<String> = Vec::new();
    let mut attacks: BTreeMap<(u8, &str), Line<'_>> = BTreeMap::new();
    for row in rows {
        let column = format!("{} {}", row.tier.name(), row.mode.name());
        if !columns.contains(&column) {
            columns.push(column.clone());
        }
        attacks
            .entry((row.item, &row.name))
            .or_insert_with(|| (&row.what, BTreeMap::new()))
            .1
            .insert(column, row);
    }
    columns.sort();
    let mut text = String::from("| item | attack | tries to |");
    columns
        .iter()
        .for_each(|column| write!(text, " {column} |").unwrap());
    text.push_str("\n|---|---|---|");
    columns.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let mut reasons: Vec<&str> = Vec::new();
    for ((item, name), (what, cells)) in &attacks {
        write!(text, "| {item} | `{name}` | {} |", what.replace('|', "\\|")).unwrap();
        for column in &columns {
            let cell = cells.get(column).map(|row| cell(row, &mut reasons));
            write!(text, " {} |", cell.unwrap_or_default()).unwrap();
        }
        text.push('\n');
    }
    if !reasons.is_empty() {
        text.push_str("\nNot promised:\n\n");
    }
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(text, "{}. {reason}", number + 1).unwrap();
    }
    text
}

fn cell(row: &Row, reasons: &mut Vec<&'static str>) -> String {
    let reason = match row.promised() {
        Expected::Blocked => None,
        Expected::NotPromised(reason) | Expected::Depends(reason) | Expected::Open(reason) => {
            Some(reason)
        }
    };
    let mark = reason.map_or_else(String::new, |reason| {
        let place = reasons.iter().position(|known| *known == reason);
        let place = place.unwrap_or_else(|| {
            reasons.push(reason);
            reasons.len() - 1
        });
        format!(" ({})", place + 1)
    });
    match row.outcome {
        Outcome::Blocked => format!("blocked{mark}"),
        Outcome::Bypass => format!("**passes**{mark}"),
        Outcome::NotApplicable => "not here".into(),
        Outcome::Fault => "not tried".into(),
    }
}
