//! Secrets kept out of what a runner says: logs, outputs, reasons, diffs.

mod values;

use std::borrow::Cow;
use std::ops::Range;

use model::evidence::ValidatorResult;
use model::protocol::Report;
use model::step::Outputs;
use serde_json::Value;

pub use values::Values;

/// Removes secrets from what leaves the runner, and finds them in what must not leave at all.
pub trait Mask: Send + Sync {
    /// The text without secrets.
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str>;

    /// Masks bytes as they come, also where a secret is cut or its encoding is broken into lines.
    /// `None` where looking at whole lines is enough.
    fn stream(&self) -> Option<Box<dyn MaskStream>> {
        None
    }

    /// Where known secrets stand in these bytes, in any encoding.
    fn known(&self, bytes: &[u8]) -> Vec<Known> {
        let _ = bytes;
        Vec::new()
    }
}

/// Masks one stream of bytes.
pub trait MaskStream: Send {
    /// Takes in bytes; gives those that can be shown by now.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// The stream ended; gives what was held back.
    fn end(&mut self) -> Vec<u8>;
}

/// A known secret at some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which bytes.
    pub range: Range<usize>,
    /// What it is, in words, without the value: ``the secret `github` ``.
    pub what: String,
}

/// Masks nothing: for runners whose environments hold no secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMask;

impl Mask for NoMask {
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }
}

/// Masks every text of a report that a program inside could have had a part in.
pub(crate) fn report(mask: &dyn Mask, report: &mut Report) {
    match report {
        Report::StepFinished { outputs, .. } => self::outputs(mask, outputs),
        Report::Validated { validators } => {
            for result in validators {
                validator(mask, result);
            }
        }
        Report::Waits { wait } => text(mask, &mut wait.reason.sentence),
        Report::Proposed { proposal } => {
            text(mask, &mut proposal.title);
        }
        Report::Ends { reason, .. } => text(mask, &mut reason.sentence),
        Report::Interrupted { cause } | Report::Parked { cause } => text(mask, cause),
        Report::Prepared { .. } | Report::StepStarted { .. } => {}
    }
}

/// Masks the values of outputs.
pub(crate) fn outputs(mask: &dyn Mask, outputs: &mut Outputs) {
    for value in outputs.values_mut() {
        let texts: Vec<&mut Value> = match value {
            Value::Array(items) => items.iter_mut().collect(),
            other => vec![other],
        };
        for value in texts {
            if let Value::String(value) = value {
                text(mask, value);
            }
        }
    }
}

fn validator(mask: &dyn Mask, result: &mut ValidatorResult) {
    text(mask, &mut result.detail);
    let findings = [&mut result.before, &mut result.after, &mut result.new];
    for finding in findings.into_iter().flatten() {
        text(mask, finding);
    }
}

fn text(mask: &dyn Mask, text: &mut String) {
    if let Cow::Owned(masked) = mask.mask(text) {
        *text = masked;
    }
}
