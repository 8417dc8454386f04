//! What a call used, as answers of the dialects say it.

use model::budget::Usage;

use super::Dialect;
use super::json::{Event, Step, at};

/// Most tokens that a field of an answer can mean. What says more is faulty.
pub const MOST_TOKENS: u64 = 1_000_000_000;

/// What is known of a call's use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens, each counted once.
    pub usage: Usage,
    /// How many of those written to a cache are kept for an hour, which costs more.
    pub cache_write_hour: u64,
    /// Whether the tokens that were read are known.
    pub input_known: bool,
    /// Whether the tokens that were written are known to the end.
    pub output_known: bool,
    /// Whether the model may have begun to answer: false only when the answer says that it failed, and
    /// nothing of one came before. That is not billed.
    pub began: bool,
    /// Whether a field meant nothing: negative, broken, too large, or none at all used.
    pub faulty: bool,
}

impl Reading {
    /// Whether it can be charged as it is.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.input_known && self.output_known && !self.faulty
    }
}

/// The fields of one answer, as they come.
#[derive(Debug, Default)]
pub struct Fields {
    input: Option<u64>,
    cached: u64,
    written: u64,
    written_hour: u64,
    output: Option<u64>,
    began: bool,
    finished: bool,
    failed: bool,
    faulty: bool,
    timings: (Option<u64>, Option<u64>),
}

impl Fields {
    /// Looks at one thing of an answer.
    pub fn visit(&mut self, dialect: Dialect, place: &[Step], event: Event<'_>) {
        match event {
            Event::Number(number, _) => self.number(dialect, place, number),
            Event::Text(text) if at(place, &["type"]) => self.kind(dialect, text.text()),
            Event::Text(_) | Event::Open { .. } => self.content(dialect, place),
            _ => {}
        }
    }

    /// The stream said that it is at its end.
    pub const fn finish(&mut self) {
        self.finished = true;
    }

    fn kind(&mut self, dialect: Dialect, kind: Option<&str>) {
        let Some(kind) = kind else { return };
        match dialect {
            Dialect::Messages => {
                self.began |= matches!(kind, "message_start" | "message");
                self.failed |= kind == "error";
            }
            Dialect::Responses => {
                self.failed |= matches!(kind, "error" | "response.failed");
                self.began |= kind.starts_with("response.")
                    && !matches!(
                        kind,
                        "response.created"
                            | "response.queued"
                            | "response.in_progress"
                            | "response.failed"
                    );
            }
            Dialect::Chat => {}
        }
    }

    fn content(&mut self, dialect: Dialect, place: &[Step]) {
        match dialect {
            Dialect::Chat => {
                self.began |= at(place, &["choices", "*"]);
                self.failed |= at(place, &["error"]);
            }
            Dialect::Responses => self.began |= at(place, &["output", "*"]),
            Dialect::Messages => {}
        }
    }

    fn number(&mut self, dialect: Dialect, place: &[Step], number: &str) {
        let place = match dialect {
            Dialect::Messages if place.first().is_some_and(|step| step.is("message")) => {
                // The first event counts one or a few tokens that the last one counts again.
                if at(place, &["message", "usage", "output_tokens"]) {
                    return;
                }
                place.get(1..).unwrap_or_default()
            }
            Dialect::Responses if place.first().is_some_and(|step| step.is("response")) => {
                place.get(1..).unwrap_or_default()
            }
            _ => place,
        };
        if at(place, &["timings", "prompt_n"]) {
            self.timings.0 = number.parse().ok();
        } else if at(place, &["timings", "predicted_n"]) {
            self.timings.1 = number.parse().ok();
        }
        if !place.first().is_some_and(|step| step.is("usage")) {
            return;
        }
        match dialect {
            Dialect::Messages => self.messages(place, number),
            Dialect::Responses => self.openai(
                place,
                number,
                ["input_tokens", "input_tokens_details", "output_tokens"],
            ),
            Dialect::Chat => self.openai(
                place,
                number,
                [
                    "prompt_tokens",
                    "prompt_tokens_details",
                    "completion_tokens",
                ],
            ),
        }
    }

    fn messages(&mut self, place: &[Step], number: &str) {
        if at(place, &["usage", "input_tokens"]) {
            self.raise(number, |fields| fields.input.get_or_insert(0));
        } else if at(place, &["usage", "cache_read_input_tokens"]) {
            self.raise(number, |fields| &mut fields.cached);
        } else if at(place, &["usage", "cache_creation_input_tokens"]) {
            self.raise(number, |fields| &mut fields.written);
        } else if at(
            place,
            &["usage", "cache_creation", "ephemeral_1h_input_tokens"],
        ) {
            self.raise(number, |fields| &mut fields.written_hour);
        } else if at(place, &["usage", "output_tokens"]) {
            self.raise(number, |fields| fields.output.get_or_insert(0));
        }
    }

    fn openai(&mut self, place: &[Step], number: &str, [input, details, output]: [&str; 3]) {
        if at(place, &["usage", input]) {
            self.raise(number, |fields| fields.input.get_or_insert(0));
        } else if at(place, &["usage", details, "cached_tokens"]) {
            self.raise(number, |fields| &mut fields.cached);
        } else if at(place, &["usage", details, "cache_write_tokens"]) {
            self.raise(number, |fields| &mut fields.written);
        } else if at(place, &["usage", output]) {
            self.raise(number, |fields| fields.output.get_or_insert(0));
        }
    }

    /// Counts are cumulative: the largest is the last, and none that comes later makes it less.
    fn raise(&mut self, number: &str, field: impl FnOnce(&mut Self) -> &mut u64) {
        match number.parse::<u64>() {
            Ok(count) if count <= MOST_TOKENS => {
                let field = field(self);
                *field = (*field).max(count);
            }
            _ => self.faulty = true,
        }
    }

    /// What is known now. `clean` when the answer came to its end.
    #[must_use]
    pub fn reading(&self, dialect: Dialect, clean: bool) -> Reading {
        let input = self.input.or(self.timings.0);
        let output = self.output.or(self.timings.1);
        let mut usage = Usage {
            input: input.unwrap_or(0),
            cache_read: self.cached,
            cache_write: self.written,
            output: output.unwrap_or(0),
        };
        let mut faulty = self.faulty;
        // OpenAI counts cached tokens among those read, Anthropic beside them.
        if dialect != Dialect::Messages {
            let part = self.cached.saturating_add(self.written);
            faulty |= part > usage.input;
            usage.input = usage.input.saturating_sub(part);
        }
        let read = usage.tokens().saturating_sub(usage.output);
        // A prompt has tokens: an answer that says none says nothing.
        faulty |= input.is_some() && read == 0;
        // Servers may count after each piece: only at the end is it the whole.
        let ended = match dialect {
            Dialect::Chat => self.finished || clean,
            Dialect::Messages | Dialect::Responses => true,
        };
        Reading {
            usage,
            cache_write_hour: self.written_hour.min(self.written),
            input_known: input.is_some(),
            output_known: output.is_some() && ended,
            began: self.began || input.is_some() || !self.failed,
            faulty,
        }
    }
}
