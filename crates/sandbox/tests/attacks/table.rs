//! Results for readers: JSON; the table by item in `docs/security.md`; the list of every attack in
//! `docs/security-attacks.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::adapter::{Mode, Tier};
use crate::expected::Expected;
use crate::matrix::{Outcome, Row};

/// Everything seen by this run of the tests.
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

const BEGIN: &str =
    "<!-- attacks: written by `UPDATE_SECURITY_TABLE=1 cargo test -p sandbox --test attacks` -->";
const END: &str = "<!-- attacks: end -->";

/// The catalogue's items that are tried here.
const ITEMS: [(u8, &str); 47] = [
    (1, "run a denied program as it is"),
    (2, "copied, renamed, moved, in every folder"),
    (3, "through symbolic links"),
    (4, "through hard links"),
    (5, "through `/proc` and odd paths"),
    (6, "by descriptor"),
    (7, "by the dynamic loader, or as its library"),
    (8, "from memory files"),
    (9, "mapped as code"),
    (10, "written into memory and made code"),
    (11, "with other bytes that do the same"),
    (12, "started by another program"),
    (13, "as a script, or as its interpreter"),
    (14, "brought along in disguise"),
    (15, "changed between look and act"),
    (16, "changed after it was judged"),
    (17, "from a mount of one's own"),
    (18, "by a registered binary format"),
    (19, "while the gate is busy or gone"),
    (20, "by `io_uring`"),
    (21, "set-user-id programs, file capabilities"),
    (22, "paths and links out of the workspace"),
    (23, "links to inodes outside, devices, handles"),
    (24, "`/proc` of others and of the machine"),
    (25, "devices"),
    (26, "secrets of the host"),
    (27, "configuration that the host would execute"),
    (28, "filling the disk"),
    (29, "names that mislead"),
    (30, "secrets left in snapshots"),
    (47, "other processes' memory and descriptors"),
    (48, "signals outside"),
    (49, "bombs: processes, memory, files, timers …"),
    (50, "outliving the step"),
    (51, "words for a terminal"),
    (52, "namespaces and mounts"),
    (53, "kernel interfaces with a record of holes"),
    (54, "getting around the filter of system calls"),
    (55, "cgroups"),
    (56, "what a launcher leaves open"),
    (57, "side channels of time, core dumps"),
    (58, "sandboxes of the agent's own"),
    (59, "the record of events"),
    (60, "flooding the record"),
    (61, "secrets in the record"),
    (62, "widening the policy"),
    (63, "layers that are not there"),
];

/// Keeps the rows, and writes what was asked for.
pub(crate) fn record(rows: &[Row]) {
    let mut all = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend_from_slice(rows);
    if let Some(file) = std::env::var_os("NIGHTCREW_ATTACK_RESULTS") {
        let value = Value::Array(all.iter().map(Row::json).collect());
        std::fs::write(file, serde_json::to_string_pretty(&value).unwrap()).unwrap();
    }
    if std::env::var_os("UPDATE_SECURITY_TABLE").is_some() {
        write("security.md", &by_item(&all));
        write("security-attacks.md", &table(&all));
    }
}

/// Puts a table between its marks.
fn write(document: &str, table: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let path = docs.join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's first mark");
    let (_, after) = rest.split_once(END).expect("the table's last mark");
    let text = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
    std::fs::write(path, text).unwrap();
}

/// Columns in the order in which they promise more.
fn columns(rows: &[Row]) -> Vec<(Tier, Mode)> {
    let mut columns = Vec::new();
    for tier in Tier::ALL.into_iter().rev() {
        for mode in Mode::ALL {
            if rows.iter().any(|row| (row.tier, row.mode) == (tier, mode)) {
                columns.push((tier, mode));
            }
        }
    }
    columns
}

/// One line an item: how many attacks were blocked, and how many were not for which reason.
fn by_item(rows: &[Row]) -> String {
    let columns = columns(rows);
    let mut text = String::from("| item | attacks |");
    for (tier, mode) in &columns {
        write!(text, " {} {} |", tier.name(), mode.name()).unwrap();
    }
    text.push_str("\n|---|---|");
    columns.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let mut reasons: Vec<&'static str> = Vec::new();
    let mut line = |title: String, of: &dyn Fn(&Row) -> bool, text: &mut String| {
        write!(text, "| {title} |").unwrap();
        for (tier, mode) in &columns {
            let here = |row: &&Row| of(row) && (row.tier, row.mode) == (*tier, *mode);
            let here: Vec<&Row> = rows.iter().filter(here).collect();
            write!(text, " {} |", count(&here, &mut reasons)).unwrap();
        }
        text.push('\n');
    };
    for (item, title) in ITEMS {
        line(
            format!("{item} | {title}"),
            &|row| row.item == item,
            &mut text,
        );
    }
    line("| **all**".to_owned(), &|_| true, &mut text);
    text + &footnotes(&reasons)
}

/// "12 blocked, **2 pass** (1)".
fn count(rows: &[&Row], reasons: &mut Vec<&'static str>) -> String {
    let of = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let mut marks: Vec<usize> = Vec::new();
    for row in rows.iter().filter(|row| row.outcome == Outcome::Bypass) {
        if let Some(reason) = reason(row) {
            marks.push(number(reason, reasons));
        }
    }
    marks.sort_unstable();
    marks.dedup();
    let marks: Vec<String> = marks.iter().map(usize::to_string).collect();
    let mut parts = Vec::new();
    match of(Outcome::Blocked) {
        0 => {}
        blocked => parts.push(format!("{blocked} blocked")),
    }
    match of(Outcome::Bypass) {
        0 => {}
        passed => parts.push(format!("**{passed} pass** ({})", marks.join(", "))),
    }
    match of(Outcome::NotApplicable) + of(Outcome::Fault) {
        0 => {}
        rest => parts.push(format!("{rest} not here")),
    }
    parts.join(", ")
}

fn reason(row: &Row) -> Option<&'static str> {
    match row.promised() {
        Expected::Blocked => None,
        Expected::NotPromised(reason) | Expected::Depends(reason) => Some(reason),
    }
}

/// The number of a reason, counted from 1 in the order in which they are met.
fn number(reason: &'static str, reasons: &mut Vec<&'static str>) -> usize {
    let place = reasons.iter().position(|known| *known == reason);
    place.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    }) + 1
}

fn footnotes(reasons: &[&str]) -> String {
    let mut text = String::new();
    if !reasons.is_empty() {
        text.push_str("\nNot promised:\n\n");
    }
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(text, "{}. {reason}", number + 1).unwrap();
    }
    text
}

/// What an attack tries, and its results by column.
type Line<'a> = (&'a str, BTreeMap<String, &'a Row>);

/// One line an attack, one column a tier and mode that ran; then every reason once.
fn table(rows: &[Row]) -> String {
    let columns = columns(rows);
    let mut attacks: BTreeMap<(u8, &str), Line<'_>> = BTreeMap::new();
    for row in rows {
        attacks
            .entry((row.item, &row.name))
            .or_insert_with(|| (&row.what, BTreeMap::new()))
            .1
            .insert(format!("{:?} {:?}", row.tier, row.mode), row);
    }
    let mut text = String::from("| item | attack | tries to |");
    for (tier, mode) in &columns {
        write!(text, " {} {} |", tier.name(), mode.name()).unwrap();
    }
    text.push_str("\n|---|---|---|");
    columns.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let mut reasons: Vec<&'static str> = Vec::new();
    for ((item, name), (what, cells)) in &attacks {
        write!(text, "| {item} | `{name}` | {} |", what.replace('|', "\\|")).unwrap();
        for (tier, mode) in &columns {
            let cell = cells.get(&format!("{tier:?} {mode:?}"));
            let cell = cell.map(|row| cell_of(row, &mut reasons));
            write!(text, " {} |", cell.unwrap_or_default()).unwrap();
        }
        text.push('\n');
    }
    text + &footnotes(&reasons)
}

fn cell_of(row: &Row, reasons: &mut Vec<&'static str>) -> String {
    let mark = reason(row).map_or_else(String::new, |reason| {
        format!(" ({})", number(reason, reasons))
    });
    match row.outcome {
        Outcome::Blocked => format!("blocked{mark}"),
        Outcome::Bypass => format!("**passes**{mark}"),
        Outcome::NotApplicable => "not here".into(),
        Outcome::Fault => "not tried".into(),
    }
}
