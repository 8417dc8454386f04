//! `nightcrew secret …`: works on the files of the data directory, so that values pass through no
//! other process. A running server sees the change by itself.

use std::io::{IsTerminal as _, Read as _};

use egress::secret::{Content, NewSecret, Record, Scope, SecretName, Secrets, unfit_for_headers};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::cli::secret::{Expiry, Named, SecretCommand, SetArguments};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::{Table, clean};

/// Most bytes that are read of a value; what is longer is refused by whoever keeps it.
const LONGEST: u64 = 128 * 1024;

pub(super) async fn execute(global: &Global, command: SecretCommand) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let data_dir = DataDir::open(config.data_dir()?)?;
    let person = config.person.name.clone();
    let secrets = crate::secrets::open(&config, &data_dir)?;
    // Disks, commands and services on the network may take their time.
    let work = tokio::task::spawn_blocking(move || carry_out(&secrets, command, &person));
    work.await.doing("carry it out")?
}

fn carry_out(secrets: &Secrets, command: SecretCommand, person: &str) -> Result<u8, Failure> {
    match command {
        SecretCommand::Set(arguments) => set(secrets, arguments, person, false),
        SecretCommand::Rotate(arguments) => set(secrets, arguments, person, true),
        SecretCommand::List => list(secrets),
        SecretCommand::Show(named) => show(secrets, &named),
        SecretCommand::Rm(named) => {
            let (name, scope) = meant(&named)?;
            secrets.store().remove(&name, &scope)?;
            print::note(format!(
                "{name} ({scope}) is removed; environments that run lose it"
            ));
            Ok(0)
        }
        SecretCommand::Check => check(secrets),
        SecretCommand::Rekey { forget_values } => rekey(secrets, forget_values),
    }
}

fn meant(named: &Named) -> Result<(SecretName, Scope), Failure> {
    Ok((named.name.parse()?, named.scope.parse()?))
}

fn set(
    secrets: &Secrets,
    arguments: SetArguments,
    person: &str,
    rotate: bool,
) -> Result<u8, Failure> {
    if !arguments.value.is_empty() {
        return Err(Failure::usage(
            "a value on the command line is seen by every program of this host and kept by shells: take it as known to others",
        )
        .hint("give it on standard input, or with --from-file FILE"));
    }
    let (name, scope) = meant(&arguments.named)?;
    let before = secrets.store().record(&name, &scope).ok();
    if rotate && before.is_none() {
        // Says whether there is one of another scope.
        secrets.store().record(&name, &scope)?;
    }
    let now = secrets.now();
    let expires = match arguments.expires {
        None => None,
        Some(Expiry::At(at)) => Some(at),
        Some(Expiry::In(length)) => Some(
            now.checked_add(length.0)
                .doing("add the length to the time")?,
        ),
    };
    let content = match &arguments.reference {
        Some(reference) => Content::Reference(reference.parse()?),
        None => Content::Value(value(&arguments)?),
    };
    if let Content::Value(value) = &content
        && let Some(has) = unfit_for_headers(value)
    {
        print::warning(&format!(
            "the value has {has}: it can be used to make tokens, and not in a header; for a header give it on one line"
        ));
    }
    let is_new = before.is_none();
    let owner = arguments
        .owner
        .or_else(|| is_new.then(|| person.to_owned()));
    let record = secrets.store().set(
        NewSecret {
            name,
            scope,
            content,
            expires,
            owner,
        },
        now,
    )?;
    if print::is_json() {
        print::json(&record.shown());
        return Ok(0);
    }
    let what = if is_new {
        "is set"
    } else {
        "has another value; environments that run get it within seconds"
    };
    print::note(format!("{} ({}) {what}", record.name, record.scope));
    Ok(0)
}

/// The value, from a file or standard input, without the end of its last line.
fn value(arguments: &SetArguments) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    match &arguments.from_file {
        Some(path) => {
            let file = std::fs::File::open(path).doing(format_args!("read {}", path.display()))?;
            file.take(LONGEST)
                .read_to_end(&mut bytes)
                .doing(format_args!("read {}", path.display()))?;
        }
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                return Err(Failure::usage("the value comes from standard input, and this is a terminal, which would show it")
                    .hint("`nightcrew secret set NAME < FILE`, or pipe it from a password manager"));
            }
            input
                .lock()
                .take(LONGEST)
                .read_to_end(&mut bytes)
                .doing("read standard input")?;
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Failure::usage("the value is no text").hint("`base64` makes text of anything")
    })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(
        text.strip_suffix('\r').unwrap_or(text).to_owned(),
    ))
}

fn list(secrets: &Secrets) -> Result<u8, Failure> {
    let (records, damaged) = secrets.store().list()?;
    for error in &damaged {
        print::warning(&error.to_string());
    }
    if print::is_json() {
        let items: Vec<_> = records.iter().map(Record::shown).collect();
        let damaged: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        print::json(&json!({"items": items, "damaged": damaged}));
        return Ok(u8::from(!damaged.is_empty()));
    }
    let now = secrets.now();
    let mut table = Table::new(&[
        "NAME",
        "SCOPE",
        "KIND",
        "EXPIRES",
        "LAST USED",
        "FINGERPRINT",
    ]);
    for record in &records {
        let used = secrets
            .store()
            .uses(record)?
            .newest
            .first()
            .map(|used| used.at);
        let expires = match record.expires {
            Some(at) if record.is_expired(now) => format!("✘ {}", day(at)),
            Some(at) => day(at),
            None => String::new(),
        };
        table.row(vec![
            record.name.to_string(),
            clean(&record.scope.to_string(), 40),
            record.kind().to_owned(),
            expires,
            used.map(day).unwrap_or_default(),
            record.fingerprint.clone().unwrap_or_else(|| {
                if record.has_value() {
                    String::new()
                } else {
                    "✘ no value".to_owned()
                }
            }),
        ]);
    }
    table.print("there are no secrets; `nightcrew secret set NAME < FILE` makes one");
    Ok(u8::from(!damaged.is_empty()))
}

fn day(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn show(secrets: &Secrets, named: &Named) -> Result<u8, Failure> {
    let (name, scope) = meant(named)?;
    let record = secrets.store().record(&name, &scope)?;
    let uses = secrets.store().uses(&record)?;
    if print::is_json() {
        let mut shown = record.shown();
        shown["uses"] = json!(uses);
        print::json(&shown);
        return Ok(0);
    }
    let line = |what: &str, text: &str| print::line(format!("{what:<12} {text}"));
    line("name", record.name.as_str());
    line("scope", &clean(&record.scope.to_string(), 100));
    line("kind", record.kind());
    if let Some(reference) = &record.reference {
        line("reference", &clean(&reference.to_string(), 200));
    }
    line(
        "owner",
        &clean(record.owner.as_deref().unwrap_or("anyone"), 80),
    );
    line("created", &record.created.to_string());
    line(
        "changed",
        &format!("{} (value {})", record.changed, record.version),
    );
    if let Some(expires) = record.expires {
        line("expires", &expires.to_string());
    }
    if let Some(fingerprint) = &record.fingerprint {
        line("fingerprint", fingerprint);
    }
    line("used", &format!("{} times", uses.count));
    let mut table = Table::new(&["WHEN", "ENVIRONMENT", "AUTOMATION", "REPOSITORY"]);
    for used in &uses.newest {
        table.row(vec![
            used.at.to_string(),
            clean(&used.environment, 44),
            clean(used.automation.as_deref().unwrap_or_default(), 40),
            clean(used.repository.as_deref().unwrap_or_default(), 40),
        ]);
    }
    table.print("it was not used yet");
    Ok(0)
}

fn check(secrets: &Secrets) -> Result<u8, Failure> {
    let (checked, damaged) = secrets.check()?;
    let failures: Vec<(String, Option<Failure>)> = checked
        .into_iter()
        .map(|one| {
            (
                format!("{} ({})", one.record.name, one.record.scope),
                one.problem.map(Failure::from),
            )
        })
        .chain(
            damaged
                .into_iter()
                .map(|error| ("a file".to_owned(), Some(Failure::from(error)))),
        )
        .collect();
    let bad = failures
        .iter()
        .filter(|(_, failure)| failure.is_some())
        .count();
    if print::is_json() {
        let items: Vec<_> = failures
            .iter()
            .map(|(name, failure)| {
                json!({
                    "name": name, "good": failure.is_none(),
                    "problem": failure.as_ref().map(Failure::message), "cure": failure.as_ref().and_then(Failure::cure),
                })
            })
            .collect();
        print::json(&json!({"items": items}));
        return Ok(u8::from(bad > 0));
    }
    let mut table = Table::new(&["SECRET", "", "WHAT", "CURE"]);
    for (name, failure) in &failures {
        let mark = if failure.is_none() {
            "✔ good"
        } else {
            "✘ bad"
        };
        table.row(vec![
            clean(name, 60),
            mark.to_owned(),
            failure
                .as_ref()
                .map(|failure| clean(failure.message(), 120))
                .unwrap_or_default(),
            failure
                .as_ref()
                .and_then(Failure::cure)
                .map(|cure| clean(cure, 120))
                .unwrap_or_default(),
        ]);
    }
    table.print("there are no secrets");
    Ok(u8::from(bad > 0))
}

fn rekey(secrets: &Secrets, forget: bool) -> Result<u8, Failure> {
    let done = secrets.store().rekey(forget)?;
    if print::is_json() {
        print::json(&json!({"sealed": done.sealed, "forgotten": done.forgotten}));
        return Ok(0);
    }
    print::note(format!(
        "{} values are sealed with the new key",
        done.sealed
    ));
    for name in &done.forgotten {
        print::warning(&format!("{name} has no value any more: set it again"));
    }
    Ok(0)
}
