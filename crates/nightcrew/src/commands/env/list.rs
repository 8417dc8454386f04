//! `nightcrew env list`.

use serde_json::{Value, json};

use super::processes::Processes;
use crate::clock;
use crate::failure::Failure;
use crate::keeper::home::{Home, Homes, Standing};
use crate::print;
use crate::table::{Table, clean};

pub(super) fn execute(homes: &Homes) -> Result<u8, Failure> {
    let processes = Processes::look();
    let mut rows: Vec<Value> = homes
        .list()?
        .iter()
        .map(|home| describe(homes, home, &processes))
        .collect();
    for (name, kept) in homes.snapshots()? {
        rows.push(json!({
            "name": name,
            "state": "snapshot",
            "created_at": kept.at,
            "age_s": clock::now().duration_since(kept.at).as_secs().max(0),
            "root": kept.spec.root.named,
            "workspace": kept.spec.workspace,
        }));
    }
    if print::is_json() {
        print::json(&json!({ "items": rows }));
        return Ok(0);
    }
    let mut table = Table::new(&[
        "NAME",
        "STATE",
        "LEVEL",
        "EXEC",
        "ROOT",
        "AGE",
        "PROCESSES",
        "MEMORY",
        "DISK",
    ]);
    for row in &rows {
        let text = |key: &str| {
            let value = row.pointer(key);
            let text = value.and_then(Value::as_str).unwrap_or("–");
            clean(text, 40)
        };
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        let size = |key: &str| number(key).map_or("–".to_owned(), bytes);
        table.row(vec![
            text("/name"),
            text("/state"),
            text("/isolation/level"),
            text("/isolation/exec/mode"),
            text("/root"),
            number("age_s").map_or("–".to_owned(), age),
            number("processes").map_or("–".to_owned(), |number| number.to_string()),
            size("memory"),
            size("disk"),
        ]);
    }
    table.print("there is no environment: `nightcrew env create` makes one");
    Ok(0)
}

fn describe(homes: &Homes, home: &Home, processes: &Processes) -> Value {
    let standing = home.standing();
    let storage = homes.storage();
    let usage = storage.disk(home.name()).map(|disk| storage.usage(&disk));
    let (usage, more) = usage.unwrap_or_default();
    let mut row = json!({
        "name": home.name(),
        "state": standing.word(),
        "folder": home.folder(),
        "disk": usage.bytes,
        "disk_is_more": more,
    });
    if let Ok(spec) = home.spec() {
        let age = clock::now()
            .duration_since(spec.created_at)
            .as_secs()
            .max(0);
        row["created_at"] = json!(spec.created_at);
        row["age_s"] = json!(age);
        row["root"] = json!(spec.root.named);
        row["workspace"] = json!(spec.workspace);
        row["from"] = json!(spec.from);
    }
    if let Standing::Ready(status) = &standing {
        let used = processes.below(status.supervisor);
        row["isolation"] = json!(status.isolation);
        row["keeper"] = json!(status.keeper);
        row["processes"] = json!(status.processes.unwrap_or(used.processes));
        row["memory"] = json!(status.memory.unwrap_or(used.memory));
        row["denied"] = json!(status.denied);
        row["unknown"] = json!(status.unknown);
    }
    row
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| number >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", number / size, number % size * 10 / size),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(bytes(10), "10 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(age(59), "59 s");
        assert_eq!(age(90_000), "25 h");
    }
}
