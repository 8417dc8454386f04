//! Step kind `change`: makes commits of the work and proposes them.

use forge::git::Oid;
use model::automation::{ChangeDefinition, StepDefinition};
use model::change::Proposal;
use model::evidence::Evidence;
use model::protocol::Report;
use model::reason::ReasonCode;
use model::step::{Outputs, StepOutcome};
use serde_json::{Value, json};

use super::command::LogSink;
use crate::diff::added_lines;
use crate::halt::Halt;
use crate::outputs::{read_file, shortened, shortened_patch};
use crate::pack::{Author, commit, name, with_commits};
use crate::snapshot::{Pristine, Snapshot, take};
use crate::sweep;
use crate::task::Work;
use crate::template::{TemplateError, render};

/// Most bytes of the patch kept for people.
const PATCH_BYTES: usize = 2 << 20;
/// Most bytes of a title.
const TITLE_BYTES: usize = 250;
/// Most bytes of the accounting that a step may leave for texts.
const ACCOUNTING_BYTES: u64 = 1 << 20;

/// Runs the step, and with it the task's work, to the end.
pub(crate) async fn run(work: &mut Work, index: u32, step: &StepDefinition) -> Result<(), Halt> {
    let Some(definition) = &step.change else {
        return Ok(());
    };
    work.pending.push(Report::StepStarted { index });
    let mut pristine = Pristine::default();
    let taken = take(work, &mut pristine).await;
    pristine.end().await;
    let snapshot = match taken {
        Ok(snapshot) => snapshot,
        Err(Err(halt)) => return Err(halt),
        Err(Ok(why)) => return Err(unusable(work, index, &why).await?),
    };
    if snapshot.note.diff.files.is_empty() {
        return Err(Halt::no_change(
            ReasonCode::EmptyDiff,
            "the steps ran and left every file as it was",
        ));
    }
    refuse_secrets(work, &snapshot)?;
    let diff_class = engine::diff_class::classify(&snapshot.note.patch);
    let (title, body) = texts(work, definition, &snapshot, &diff_class).map_err(|error| {
        Halt::failed(
            ReasonCode::InvalidDefinition,
            format!("the text of the change cannot be made: {error}"),
        )
    })?;
    let Some((tip, pack)) = commits(work, &snapshot, &title) else {
        return Err(unusable(work, index, "its git objects are no pack").await?);
    };
    // A value that the change takes away stands in its patch all the same.
    let patch = mask_lines(work, &snapshot.note.patch);
    let patch = shortened_patch(patch, PATCH_BYTES);
    let digests = work
        .talk
        .put(vec![pack, patch.into_bytes(), body.into_bytes()])
        .await?;
    let [bundle, patch, body] = <[String; 3]>::try_from(digests)
        .map_err(|_| Halt::Interrupted("the control plane lost a blob".to_owned()))?;
    let task = &work.assignment.task;
    let branch = engine::branch::name(
        definition.branch.as_deref(),
        &task.automation,
        task.campaign,
        &task.target,
    );
    let proposal = Proposal {
        base: work.base.tree.commit.to_string(),
        commit: tip.to_string(),
        bundle,
        patch,
        diff: snapshot.note.diff.stat,
        diff_class,
        title,
        body,
        branch,
    };
    work.pending.push(Report::Proposed { proposal });
    work.flush().await.map(drop)
}

/// Ends the task when something of the work must not leave.
fn refuse_secrets(work: &Work, snapshot: &Snapshot) -> Result<(), Halt> {
    let mut found = snapshot.note.secrets.clone();
    // Values may have become known since the work was looked through.
    let added: Vec<&str> = added_lines(&snapshot.note.patch)
        .iter()
        .map(|added| added.text)
        .collect();
    let mask = work.shared.options.mask.as_ref();
    if found.is_empty() {
        found = sweep::known_in(mask, &[("the diff", &added.join("\n"))]);
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Halt::failed(
        ReasonCode::SecretInChange,
        sweep::sentence(&found),
    ))
}

fn mask_lines(work: &Work, patch: &str) -> String {
    let mask = &work.shared.options.mask;
    let lines: Vec<_> = patch.split('\n').map(|line| mask.mask(line)).collect();
    lines.join("\n")
}

/// Work that cannot be proposed fails the step, with the reason in its log.
pub(crate) async fn unusable(work: &mut Work, index: u32, why: &str) -> Result<Halt, Halt> {
    let mut sink = LogSink::new(work, index);
    sink.log
        .note(&format!("the work cannot be proposed: {why}"));
    let log = sink.store(work).await?;
    work.finished(
        index,
        StepOutcome::Failed { code: 1 },
        Outputs::new(),
        log,
        0,
    );
    Ok(work.give_up().await)
}

/// Our commits over the base and the pack with them. Commits made in the environment keep their
/// message and their tree; name, time and parent are ours.
fn commits(work: &Work, snapshot: &Snapshot, title: &str) -> Option<(Oid, Vec<u8>)> {
    let (name_of_us, email) = &work.shared.options.identity;
    let task = &work.assignment.task;
    let author = Author {
        name: name_of_us,
        email,
        at: task.created_at,
    };
    let note = &snapshot.note;
    let ours = format!("{title}\n\nNightcrew-Task: {}\n", task.id);
    let mut wanted: Vec<(Oid, &[u8])> = note
        .commits
        .iter()
        .map(|(tree, message)| (*tree, message.as_slice()))
        .collect();
    if wanted.last().is_none_or(|(tree, _)| *tree != note.tree) {
        wanted.push((note.tree, ours.as_bytes()));
    }
    let mut parent = work.base.tree.commit;
    let mut contents = Vec::new();
    for (tree, message) in wanted {
        let content = commit(tree, parent, &author, message);
        parent = name(&content);
        contents.push(content);
    }
    Some((parent, with_commits(&snapshot.pack, &contents)?))
}

/// Title and description.
fn texts(
    work: &Work,
    definition: &ChangeDefinition,
    snapshot: &Snapshot,
    diff_class: &str,
) -> Result<(String, String), TemplateError> {
    let values = values(work, snapshot, diff_class);
    let mask = &work.shared.options.mask;
    let title = render("title", &definition.title, &values)?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = shortened(mask.mask(&title).into_owned(), TITLE_BYTES);
    let (name, template) = match work.assignment.automation.files.get(&definition.body) {
        Some(text) => (definition.body.as_str(), text.as_str()),
        None => ("body", definition.body.as_str()),
    };
    let body = render(name, template, &values)?;
    Ok((title, mask.mask(&body).into_owned()))
}

fn values(work: &Work, snapshot: &Snapshot, diff_class: &str) -> minijinja::Value {
    let evidence = Evidence {
        base: work.base.tree.commit.to_string(),
        isolation: Some(work.isolation.clone()),
        validators: work.validators.clone(),
        diff: snapshot.note.diff.stat,
        diff_class: diff_class.to_owned(),
        outputs: work.all_outputs(),
    };
    let automation = &work.assignment.automation;
    let definition = &automation.definition;
    let mut values = json!({
        "repository": work.assignment.repository,
        "task": work.about(),
        "automation": {
            "name": definition.name, "version": automation.version, "description": definition.description,
        },
        "report": reported(work),
        "evidence": evidence,
        "outputs": work.all_outputs(),
    });
    if let Some(accounting) = accounting(work) {
        values["accounting"] = accounting;
    }
    minijinja::Value::from(minijinja::value::Serde(&values))
}

/// The values of all reports, later ones over earlier ones.
fn reported(work: &Work) -> Value {
    let mut all = serde_json::Map::new();
    for (index, step) in work
        .assignment
        .automation
        .definition
        .steps
        .iter()
        .enumerate()
    {
        if step.report.is_some()
            && let Some(values) = work.outputs.get(&step.id_at(index))
        {
            all.extend(values.clone());
        }
    }
    Value::Object(all)
}

/// What a converting step says it did with every construct, if it left such a file.
fn accounting(work: &Work) -> Option<Value> {
    match read_file(&work.place.outputs(), "migration.json", ACCOUNTING_BYTES) {
        Ok(bytes) => serde_json::from_slice(&bytes?).ok(),
        Err(problem) => {
            tracing::warn!(task = %work.assignment.task.id, "migration.json {problem}");
            None
        }
    }
}
