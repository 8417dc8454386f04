//! `nightcrew ci convert`: one repository from Travis CI to GitHub Actions, without a model.

use std::path::Path;

use pack_ci::{Conversion, Entry, Outcome};
use serde_json::{Value, json};

use crate::cli::CiCommand;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::clean;

/// The configuration that is converted.
const SOURCE: &str = ".travis.yml";
/// Most bytes of it that are read.
const LARGEST: u64 = 1024 * 1024;

pub(super) fn execute(command: CiCommand) -> Result<u8, Failure> {
    match command {
        CiCommand::Convert { repository, write, remove_source } => convert(&repository, write, remove_source),
    }
}

fn convert(repository: &Path, write: bool, remove_source: bool) -> Result<u8, Failure> {
    let source_path = repository.join(SOURCE);
    let meta = std::fs::symlink_metadata(&source_path)
        .doing(format_args!("find {}", source_path.display()))
        .map_err(|failure| failure.hint("only repositories with a .travis.yml can be converted"))?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(Failure::new(format!("{} is no file of at most {LARGEST} bytes", source_path.display())));
    }
    let bytes = std::fs::read(&source_path).doing(format_args!("read {}", source_path.display()))?;
    let source = String::from_utf8(bytes).map_err(|error| {
        Failure::new(format!("{SOURCE} is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
            .hint("save it as UTF-8")
    })?;
    let conversion = pack_ci::convert(&source, &pack_ci::Options::default())
        .map_err(|error| Failure::new(format!("{SOURCE}:{}:{}: {}", error.line, error.column, error.cause)).hint(error.cure))?;
    if write {
        write_workflow(repository, &conversion)?;
        if remove_source {
            std::fs::remove_file(&source_path).doing(format_args!("remove {}", source_path.display()))?;
        }
    }
    put_out(&conversion)?;
    tell(&conversion, write);
    Ok(0)
}

fn write_workflow(repository: &Path, conversion: &Conversion) -> Result<(), Failure> {
    let path = repository.join(&conversion.path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).doing(format_args!("make {}", folder.display()))?;
    }
    if path.exists() {
        return Err(Failure::new(format!("{} is there already", path.display()))
            .hint("a repository with a workflow is converted by hand"));
    }
    std::fs::write(&path, &conversion.workflow).doing(format_args!("write {}", path.display()))
}

/// Inside a task: typed outputs for the automation, and the accounting for the change text.
fn put_out(conversion: &Conversion) -> Result<(), Failure> {
    let Some(folder) = std::env::var_os("NIGHTCREW_OUT") else { return Ok(()) };
    let folder = Path::new(&folder);
    let outputs = json!({
        "mapped": conversion.mapped,
        "not_needed": conversion.not_needed,
        "manual": conversion.manual,
        "jobs": conversion.jobs_target.len(),
    });
    for (name, value) in [("outputs.json", outputs), ("migration.json", migration(conversion)?)] {
        let path = folder.join(name);
        std::fs::write(&path, value.to_string()).doing(format_args!("write {}", path.display()))?;
    }
    Ok(())
}

/// The accounting, grouped by what became of each construct.
fn migration(conversion: &Conversion) -> Result<Value, Failure> {
    let secrets: Vec<Value> = conversion
        .secrets
        .iter()
        .map(|secret| {
            let place = format!("line {}", secret.line);
            let note = if secret.used_in.is_empty() { place } else { format!("{place}, used in {}", secret.used_in.join(", ")) };
            json!({"name": secret.name.as_deref().unwrap_or("(name unknown)"), "note": note})
        })
        .collect();
    let full = serde_json::to_value(conversion).doing("describe the conversion")?;
    Ok(json!({
        "mapped": grouped(conversion, Outcome::Mapped),
        "not_needed": grouped(conversion, Outcome::NotNeeded),
        "manual": grouped(conversion, Outcome::Manual),
        "secrets": secrets,
        "equal": conversion.equal,
        "notes": conversion.notes,
        "conversion": full,
    }))
}

/// One item per construct and detail, however many leaves it has.
fn grouped(conversion: &Conversion, outcome: Outcome) -> Vec<Value> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut items = Vec::new();
    for Entry { construct, detail, line, .. } in conversion.accounting.iter().filter(|entry| entry.outcome == outcome) {
        let key = (construct.as_str(), detail.as_str());
        if !seen.contains(&key) {
            seen.push(key);
            items.push(json!({"construct": construct, "line": line, "note": detail}));
        }
    }
    items
}

fn tell(conversion: &Conversion, written: bool) {
    if print::is_json() {
        print::json(conversion);
        return;
    }
    if !written {
        print::raw(&conversion.workflow);
    }
    print::note(format!(
        "{} constructs mapped, {} not needed, {} left to you; {} jobs before, {} after{}",
        conversion.mapped,
        conversion.not_needed,
        conversion.manual,
        conversion.jobs_source.len(),
        conversion.jobs_target.len(),
        if conversion.equal { ", the same set" } else { "" }
    ));
    for entry in conversion.accounting.iter().filter(|entry| entry.outcome == Outcome::Manual) {
        print::note(format!("  line {}: {}: {}", entry.line, clean(&entry.path, 60), clean(&entry.detail, 120)));
    }
    for secret in &conversion.secrets {
        print::note(format!("  line {}: create the secret {}", secret.line, secret.name.as_deref().unwrap_or("(name unknown)")));
    }
    if written {
        print::note(format!("wrote {}", conversion.path));
    }
}
