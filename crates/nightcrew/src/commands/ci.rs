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
/// Most bytes of a file that is searched for variables.
const LARGEST_SCRIPT: u64 = 64 * 1024;
/// Most files that are searched for variables.
const MOST_SCRIPTS: usize = 5000;

pub(super) fn execute(command: CiCommand) -> Result<u8, Failure> {
    match command {
        CiCommand::Convert {
            repository,
            write,
            remove_source,
        } => convert(&repository, write, remove_source),
    }
}

fn convert(repository: &Path, write: bool, remove_source: bool) -> Result<u8, Failure> {
    let source_path = repository.join(SOURCE);
    let meta = std::fs::symlink_metadata(&source_path)
        .doing(format_args!("find {}", source_path.display()))
        .map_err(|failure| failure.hint("only repositories with a .travis.yml can be converted"))?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(Failure::new(format!(
            "{} is no file of at most {LARGEST} bytes",
            source_path.display()
        )));
    }
    let bytes =
        std::fs::read(&source_path).doing(format_args!("read {}", source_path.display()))?;
    let source = String::from_utf8(bytes).map_err(|error| {
        Failure::new(format!(
            "{SOURCE} is not UTF-8 from byte {} on",
            error.utf8_error().valid_up_to()
        ))
        .hint("save it as UTF-8")
    })?;
    let options = pack_ci::Options {
        used_variables: used_variables(repository),
    };
    let conversion = pack_ci::convert(&source, &options).map_err(|error| {
        Failure::new(format!(
            "{SOURCE}:{}:{}: {}",
            error.line, error.column, error.cause
        ))
        .hint(error.cure)
    })?;
    if write {
        write_workflow(repository, &conversion)?;
        if remove_source {
            std::fs::remove_file(&source_path)
                .doing(format_args!("remove {}", source_path.display()))?;
        }
    }
    put_out(&conversion)?;
    tell(&conversion, write);
    Ok(0)
}

/// Names of `TRAVIS_*` variables in the repository's small text files: scripts that the
/// configuration calls go on to see them.
fn used_variables(repository: &Path) -> Vec<String> {
    let mut names = std::collections::BTreeSet::new();
    let mut folders = vec![repository.to_path_buf()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(entry.path());
            } else if kind.is_file()
                && entry
                    .metadata()
                    .is_ok_and(|meta| meta.len() <= LARGEST_SCRIPT)
            {
                looked += 1;
                if looked > MOST_SCRIPTS {
                    return names.into_iter().collect();
                }
                collect_names(&std::fs::read(entry.path()).unwrap_or_default(), &mut names);
            }
        }
    }
    names.into_iter().collect()
}

fn collect_names(content: &[u8], names: &mut std::collections::BTreeSet<String>) {
    const PREFIX: &[u8] = b"TRAVIS_";
    let mut rest = content;
    while let Some(at) = rest
        .windows(PREFIX.len())
        .position(|window| window == PREFIX)
    {
        let name = &rest[at..];
        let end = name
            .iter()
            .position(|byte| !byte.is_ascii_uppercase() && !byte.is_ascii_digit() && *byte != b'_');
        let end = end.unwrap_or(name.len());
        names.insert(String::from_utf8_lossy(&name[..end]).into_owned());
        rest = &name[end..];
    }
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
    let Some(folder) = std::env::var_os("NIGHTCREW_OUT") else {
        return Ok(());
    };
    let folder = Path::new(&folder);
    let outputs = json!({
        "mapped": conversion.mapped,
        "not_needed": conversion.not_needed,
        "manual": conversion.manual,
        "jobs": conversion.jobs_target.len(),
    });
    for (name, value) in [
        ("outputs.json", outputs),
        ("migration.json", migration(conversion)?),
    ] {
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
            let note = if secret.used_in.is_empty() {
                place
            } else {
                format!("{place}, used in {}", secret.used_in.join(", "))
            };
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
    for Entry {
        construct,
        detail,
        line,
        ..
    } in conversion
        .accounting
        .iter()
        .filter(|entry| entry.outcome == outcome)
    {
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
        if conversion.equal {
            ", the same set"
        } else {
            ""
        }
    ));
    for entry in conversion
        .accounting
        .iter()
        .filter(|entry| entry.outcome == Outcome::Manual)
    {
        print::note(format!(
            "  line {}: {}: {}",
            entry.line,
            clean(&entry.path, 60),
            clean(&entry.detail, 120)
        ));
    }
    for secret in &conversion.secrets {
        print::note(format!(
            "  line {}: create the secret {}",
            secret.line,
            secret.name.as_deref().unwrap_or("(name unknown)")
        ));
    }
    if written {
        print::note(format!("wrote {}", conversion.path));
    }
}
