//! Secrets kept from leaving with a change: every object that the base lacks is searched for known
//! values in any encoding, for placeholders, and for what has the shape of a token.
//!
//! Searched are objects and not the diff: a diff does not show what one commit added and the next
//! removed, what git takes for binary, and what hides in the pack. What the base holds already is
//! not blamed on the change.

mod objects;
pub(crate) mod shapes;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use forge::git::Oid;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sandbox::Environment;
use serde::{Deserialize, Serialize};

use crate::collect::{Collected, InnerGit};
use crate::diff::Diff;
use crate::held::StopWatch;
use crate::mask::Mask;
use crate::verify::{Verified, VerifyError};
use objects::Object;

/// Different texts that may look like secrets before the base is asked.
const MOST_SUSPECTS: usize = 1000;
/// Most findings that are kept.
const MOST: usize = 100;
/// Most bytes of what the base is asked about, and of its answer.
const BASELINE_BYTES: usize = 4 << 20;
/// Findings named in a sentence.
const NAMED: usize = 3;

/// A place where something is that must not leave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The file, or where else it is, in words.
    path: String,
    /// Line from 1; 0 where there are none.
    line: u64,
    /// What it is. Never the value.
    what: String,
}

/// What is found before it is known whether the base has it.
struct Suspect {
    finding: Finding,
    /// As it stands there, when it is on one line.
    text: Option<Vec<u8>>,
    /// Known for certain, wherever it stands.
    known: bool,
}

/// What is looked through.
pub(crate) struct Subject<'a> {
    pub(crate) base_tree: Oid,
    pub(crate) collected: &'a Collected,
    pub(crate) verified: &'a Verified,
}

/// How it is looked through.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) mask: Arc<dyn Mask>,
    pub(crate) now: jiff::Timestamp,
    /// Paths where what has the shape of a token is none.
    pub(crate) allowed: Vec<String>,
}

/// Looks through everything that would leave, in the pristine environment that has checked it.
pub(crate) async fn look(
    environment: &Arc<Environment>,
    stop: &mut StopWatch,
    subject: &Subject<'_>,
    rules: &Rules,
) -> Result<Vec<Finding>, VerifyError> {
    let mut git = InnerGit::over_objects(environment, stop);
    let allowed = globs(&rules.allowed).map_err(VerifyError::Refused)?;
    let paths = paths(&subject.verified.diff);
    let mut suspects = texts(rules, &subject.verified.diff, subject.collected);
    for batch in objects::list(&mut git, &subject.verified.pack).await? {
        let read = objects::read(&mut git, &batch).await?;
        let (rules, paths) = (rules.clone(), paths.clone());
        // Megabytes are looked through: not on a thread that others wait for.
        let looked = tokio::task::spawn_blocking(move || {
            let each = read
                .iter()
                .flat_map(|(object, content)| one(&rules, &paths, object, content));
            each.collect::<Vec<_>>()
        });
        suspects.extend(looked.await.map_err(|error| {
            VerifyError::Halt(crate::halt::Halt::broken("a thread is lost", &error))
        })?);
        if suspects.len() > MOST_SUSPECTS {
            return Err(VerifyError::Refused(format!(
                "it holds more than {MOST_SUSPECTS} texts that look like secrets"
            )));
        }
    }
    suspects.retain(|suspect| suspect.known || !allowed.is_match(&suspect.finding.path));
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let base = baseline(&mut git, subject.base_tree, &suspects).await?;
    let blamed = suspects.into_iter().filter(|suspect| {
        suspect
            .text
            .as_ref()
            .is_none_or(|text| !base.contains(text))
    });
    let findings: BTreeSet<Finding> = blamed.map(|suspect| suspect.finding).collect();
    Ok(findings.into_iter().take(MOST).collect())
}

/// Looks once more for values that became known since: the patch and what goes with it.
pub(crate) fn known_in(mask: &dyn Mask, texts: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    for (place, text) in texts {
        let found = mask
            .known(text.as_bytes())
            .into_iter()
            .map(|known| known.what);
        findings.extend(found.map(|what| Finding {
            path: (*place).to_owned(),
            line: 0,
            what,
        }));
    }
    findings.into_iter().collect()
}

/// What was found, in a sentence that says what to do.
pub(crate) fn sentence(findings: &[Finding]) -> String {
    let mut named: Vec<String> = findings
        .iter()
        .take(NAMED)
        .map(|finding| {
            let path = crate::log::plain(finding.path.as_bytes());
            match finding.line {
                0 => format!("{path} holds {}", finding.what),
                line => format!("{path}:{line} holds {}", finding.what),
            }
        })
        .collect();
    if findings.len() > NAMED {
        named.push(format!("and {} more", findings.len() - NAMED));
    }
    format!(
        "the change was kept from leaving, because {}; remove it from all commits and retry, rotate it if it is real, \
         or name the path under `allow_secrets` of the change step if it is none",
        named.join(", ")
    )
}

/// File after the change by the object that is its content.
fn paths(diff: &Diff) -> HashMap<Oid, String> {
    let of = diff.files.iter();
    of.filter_map(|file| Some((file.after?, file.path.clone())))
        .collect()
}

/// Names of files and messages of commits.
fn texts(rules: &Rules, diff: &Diff, collected: &Collected) -> Vec<Suspect> {
    let names = diff
        .files
        .iter()
        .map(|file| ("the name of a file", file.path.clone()));
    let messages = collected.commits.iter().map(|made| {
        (
            "the message of a commit",
            String::from_utf8_lossy(&made.message).into_owned(),
        )
    });
    let each = names.chain(messages).flat_map(|(place, text)| {
        let mut suspects = of_shape(rules, place, &text);
        suspects.extend(of_value(rules, place, text.as_bytes()));
        for suspect in &mut suspects {
            suspect.finding.line = 0;
        }
        suspects
    });
    each.collect()
}

fn one(
    rules: &Rules,
    paths: &HashMap<Oid, String>,
    object: &Object,
    content: &[u8],
) -> Vec<Suspect> {
    if object.is_tree {
        return of_value(rules, "the name of a file", content);
    }
    let place = paths.get(&object.oid).map_or(
        "a version of a file that the change does not end with",
        String::as_str,
    );
    let mut suspects = of_shape(rules, place, &String::from_utf8_lossy(content));
    suspects.extend(of_value(rules, place, content));
    suspects
}

fn of_shape(rules: &Rules, place: &str, text: &str) -> Vec<Suspect> {
    let hits = shapes::find(text, rules.now).into_iter();
    let found = hits.map(|hit| (hit.range, hit.what.to_owned()));
    suspects(place, text.as_bytes(), found, false)
}

fn of_value(rules: &Rules, place: &str, content: &[u8]) -> Vec<Suspect> {
    let found = rules.mask.known(content).into_iter();
    suspects(
        place,
        content,
        found.map(|known| (known.range, known.what)),
        true,
    )
}

/// One suspect for each different text, at the first place where it stands. Places come in order.
fn suspects(
    place: &str,
    content: &[u8],
    found: impl Iterator<Item = (Range<usize>, String)>,
    known: bool,
) -> Vec<Suspect> {
    let mut seen = HashSet::new();
    let (mut line, mut counted) = (1, 0);
    let mut suspects = Vec::new();
    for (range, what) in found {
        let text = content.get(range.clone()).unwrap_or_default();
        if !seen.insert(text) {
            continue;
        }
        line += content.get(counted..range.start).map_or(0, lines);
        counted = counted.max(range.start);
        suspects.push(Suspect {
            finding: Finding {
                path: place.to_owned(),
                line,
                what,
            },
            text: (!text.is_empty() && !text.contains(&b'\n')).then(|| text.to_vec()),
            known,
        });
    }
    suspects
}

/// Which of these texts stand somewhere in the base.
async fn baseline(
    git: &mut InnerGit<'_>,
    base_tree: Oid,
    suspects: &[Suspect],
) -> Result<BTreeSet<Vec<u8>>, VerifyError> {
    let texts: BTreeSet<&Vec<u8>> = suspects
        .iter()
        .filter_map(|suspect| suspect.text.as_ref())
        .collect();
    let mut patterns = Vec::new();
    for text in &texts {
        if patterns.len() + text.len() < BASELINE_BYTES {
            patterns.extend_from_slice(text);
            patterns.push(b'\n');
        }
    }
    if patterns.is_empty() {
        return Ok(BTreeSet::new());
    }
    let tree = base_tree.to_string();
    // Fixed texts, each match on a line of its own; 1 is "none".
    let arguments = [
        "grep",
        "-a",
        "-F",
        "-o",
        "-h",
        "--no-color",
        "-f",
        "-",
        &tree,
    ];
    let answer = git.run(&arguments, Some(&patterns), BASELINE_BYTES).await?;
    let found = answer.out.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    // A longer text that has a shorter one in it hides that one in git's answer.
    let found: BTreeSet<Vec<u8>> = found.filter(|line| !line.is_empty()).collect();
    let has = |text: &&Vec<u8>| found.iter().any(|line| contains(line, text));
    Ok(texts.into_iter().filter(has).cloned().collect())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn lines(content: &[u8]) -> u64 {
    content.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn globs(globs: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        set.add(built.map_err(|error| format!("allow_secrets: {error}"))?);
    }
    set.build()
        .map_err(|error| format!("allow_secrets: {error}"))
}
