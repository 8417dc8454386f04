//! Validators that need no tool: they look at what the change touches, and at nothing else.

mod documents;
mod lines;
mod scope;
mod secrets;

use std::collections::HashMap;

use forge::git::Oid;
use model::automation::Validator;
use model::evidence::{ValidatorResult, Verdict};

use crate::diff::Diff;
use crate::halt::Halt;
use crate::options::Checks;
use crate::snapshot::{Note, Pristine};
use crate::task::Work;
use crate::verify::{VerifyError, contents};

/// What is judged: a verified diff, and the files that checks want to read, before and after.
#[derive(Default)]
pub(crate) struct Subject {
    diff: Diff,
    patch: String,
    contents: HashMap<Oid, Vec<u8>>,
    now: jiff::Timestamp,
}

/// Reads the files that the validators want, out of a pristine environment: what a workspace shows
/// may be another thing than what would be committed.
pub(crate) async fn read(
    work: &mut Work,
    pristine: &mut Pristine,
    note: Note,
    validators: &[Validator],
) -> Result<Subject, Result<String, Halt>> {
    let mut wanted: Vec<Oid> = Vec::new();
    for validator in validators {
        if let Validator::Builtin(name) = validator {
            let files = note
                .diff
                .files
                .iter()
                .filter(|file| documents::concerns(name, file));
            wanted.extend(files.flat_map(|file| [file.before, file.after]).flatten());
        }
    }
    wanted.sort();
    wanted.dedup();
    let mut subject = Subject {
        diff: note.diff,
        patch: note.patch,
        contents: HashMap::new(),
        now: (work.shared.options.clock)(),
    };
    if wanted.is_empty() {
        return Ok(subject);
    }
    let mut stop = work.talk.stop.clone();
    let environment = pristine.get(work).await.map_err(Err)?;
    match contents(environment, &mut stop, &wanted).await {
        Ok(found) => subject.contents = found,
        Err(VerifyError::Refused(why)) => return Err(Ok(why)),
        Err(VerifyError::Halt(halt)) => return Err(Err(halt)),
    }
    Ok(subject)
}

/// Judges by one validator that is no command.
pub(crate) fn judge(checks: &Checks, validator: &Validator, subject: &Subject) -> ValidatorResult {
    let name = validator.name();
    match validator {
        Validator::Command { .. } => missing(name, "a command is run, not looked up"),
        Validator::Paths(globs) => match scope::outside(globs, &subject.diff) {
            Ok(outside) => result(
                name,
                Vec::new(),
                outside,
                "every touched path is within bounds",
            ),
            Err(cause) => missing(name, &cause),
        },
        Validator::Diff {
            max_files,
            max_lines,
        } => {
            let (over, size) = scope::oversize(*max_files, *max_lines, &subject.diff.stat);
            result(name, Vec::new(), over, &size)
        }
        Validator::Builtin(check) => match check.as_str() {
            "secrets" => result(
                name,
                Vec::new(),
                secrets::find(&subject.patch, subject.now),
                "no added line looks like a secret",
            ),
            "whitespace" => result(
                name,
                Vec::new(),
                lines::whitespace(&subject.patch),
                "no added line ends in white space",
            ),
            "conflict-markers" => result(
                name,
                Vec::new(),
                lines::conflict_markers(&subject.patch),
                "no added line is a conflict marker",
            ),
            other => match documents::find(checks, other, &subject.diff, &subject.contents) {
                Some(found) => result(name, found.before, found.after, &found.good),
                None => missing(name, "this runner does not have this check"),
            },
        },
    }
}

fn missing(name: String, detail: &str) -> ValidatorResult {
    ValidatorResult {
        name,
        verdict: Verdict::Missing,
        detail: detail.to_owned(),
        before: Vec::new(),
        after: Vec::new(),
        new: Vec::new(),
        log: None,
        wall_ms: 0,
    }
}

/// Most findings kept of one check.
const MOST: usize = 200;

fn result(name: String, before: Vec<String>, after: Vec<String>, good: &str) -> ValidatorResult {
    let new: Vec<String> = documents::beyond(&before, &after)
        .into_iter()
        .take(MOST)
        .collect();
    let (verdict, detail) = match new.as_slice() {
        [] => (Verdict::Passed, good.to_owned()),
        [one] => (Verdict::Failed, one.clone()),
        [first, ..] => (
            Verdict::Failed,
            format!("{first}, and {} more", new.len() - 1),
        ),
    };
    let cut = |texts: Vec<String>| texts.into_iter().take(MOST).collect();
    ValidatorResult {
        name,
        verdict,
        detail,
        before: cut(before),
        after: cut(after),
        new,
        log: None,
        wall_ms: 0,
    }
}
