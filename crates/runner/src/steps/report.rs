//! Step kind `report`: typed values out of what earlier steps put out, and a rule over them.

use model::automation::{OutputType, ReportDefinition, StepDefinition};
use model::reason::ReasonCode;
use model::step::{Outputs, StepOutcome};
use serde_json::json;

use super::command::LogSink;
use crate::halt::Halt;
use crate::task::Work;

/// Runs the step.
pub(crate) async fn run(work: &mut Work, index: u32, step: &StepDefinition) -> Result<(), Halt> {
    let Some(report) = &step.report else {
        return Ok(());
    };
    work.pending
        .push(model::protocol::Report::StepStarted { index });
    let (values, mut problems) = gather(work, index, report);
    if problems.is_empty() {
        problems.extend(refused(report, &values)?);
    }
    if problems.is_empty() {
        work.finished(index, StepOutcome::Succeeded, values, None, 0);
        return Ok(());
    }
    let mut sink = LogSink::new(work, index);
    for problem in &problems {
        sink.log.note(problem);
    }
    let log = sink.store(work).await?;
    work.finished(index, StepOutcome::Failed { code: 1 }, values, log, 0);
    Err(work.give_up().await)
}

/// The values by name, the newest of each, and what is wrong with them.
fn gather(work: &Work, index: u32, report: &ReportDefinition) -> (Outputs, Vec<String>) {
    let steps = &work.assignment.automation.definition.steps;
    let earlier: Vec<&Outputs> = steps
        .iter()
        .take(index as usize)
        .enumerate()
        .filter_map(|(at, step)| work.outputs.get(&step.id_at(at)))
        .collect();
    let mut values = Outputs::new();
    let mut problems = Vec::new();
    for (name, kind) in &report.outputs {
        match earlier.iter().rev().find_map(|outputs| outputs.get(name)) {
            None => problems.push(format!("no step before put out `{name}`")),
            Some(value) => {
                if !kind.accepts(value) {
                    problems.push(format!("`{name}` is {value}, and not {}", word(*kind)));
                }
                values.insert(name.clone(), value.clone());
            }
        }
    }
    (values, problems)
}

/// What the rule says against the values.
fn refused(report: &ReportDefinition, values: &Outputs) -> Result<Option<String>, Halt> {
    let Some(accept) = &report.accept else {
        return Ok(None);
    };
    match engine::condition::evaluate(accept, &[("report", &json!(values))]) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(format!(
            "`{accept}` does not hold for {}",
            shown(values)
        ))),
        Err(error) => Err(Halt::failed(
            ReasonCode::InvalidDefinition,
            format!("the rule of the report {error}"),
        )),
    }
}

/// The end of a task whose automation proposes nothing, or whose change step was skipped.
pub(crate) fn end(work: &Work) -> Halt {
    let steps = &work.assignment.automation.definition.steps;
    let reported = steps
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, step)| step.report.is_some())
        .find_map(|(index, step)| work.outputs.get(&step.id_at(index)));
    match reported {
        Some(values) => Halt::no_change(
            ReasonCode::ReportAccepted,
            format!("the report was accepted: {}", shown(values)),
        ),
        None if steps
            .iter()
            .any(|step| step.report.is_some() && step.when.is_none()) =>
        {
            Halt::no_change(ReasonCode::ReportAccepted, "the report was accepted")
        }
        None if work.assignment.automation.definition.proposes() => Halt::no_change(
            ReasonCode::NothingToDo,
            "the condition of the change step does not hold here",
        ),
        None => Halt::no_change(
            ReasonCode::NothingToDo,
            "all steps succeeded, and the automation proposes no change",
        ),
    }
}

fn shown(values: &Outputs) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    crate::outputs::shortened(texts.join(", "), 500)
}

fn word(kind: OutputType) -> &'static str {
    match kind {
        OutputType::Int => "a whole number",
        OutputType::Float => "a number",
        OutputType::String => "a text",
        OutputType::Bool => "true or false",
        OutputType::List => "a list of texts",
    }
}
