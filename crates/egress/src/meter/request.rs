//! A request for a model, read once: what decides and what bounds its cost. Its bytes stay as they
//! are, with the places of what may have to be replaced.

use std::collections::BTreeSet;
use std::ops::Range;

mod content;

use content::Source;

use super::Dialect;
use super::fields;
use super::json::{Event, Malformed, Scanner, Step, Text, at};
use super::price::{Caches, Most, Price};

/// Longest name of a model.
pub const LONGEST_MODEL: usize = 200;

/// Most answers to one request.
const MOST_CHOICES: u64 = 128;

/// Most tokens that a request may ask for.
const MOST_OUTPUT: u64 = 100_000_000;

/// Tokens that vendors put around a prompt by themselves: what tools are, and how to use them.
/// Anthropic documents at most 804 for its tools.
const OVERHEAD: u64 = 4096;

/// Why a request is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The body is not JSON, or readers understand it differently.
    #[error("the body cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// It is not UTF-8.
    #[error("the body is not UTF-8")]
    Encoding,
    /// It is no object.
    #[error("the body is not a JSON object")]
    NoObject,
    /// A key at the top is spelled with escapes.
    #[error("a field at the top of the request is spelled with escapes")]
    Escapes,
    /// A field that is not known.
    #[error(
        "the field `{0}` is not known to the gateway; an operator permits it with `models.fields`"
    )]
    Field(String),
    /// A field of the wrong type or range.
    #[error("the field `{field}` is not {expected}")]
    Type {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A required field is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// Something that the vendor's servers would do by themselves.
    #[error("`{field}` {why}, which no rule permits")]
    Feature {
        /// Where it is.
        field: &'static str,
        /// What it does.
        why: &'static str,
    },
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The model that is asked for.
    pub model: String,
    /// Where its name stands, with the quotes.
    pub model_at: Range<usize>,
    /// Whether the answer shall be streamed.
    pub stream: bool,
    /// Most tokens to be written to one answer, where the request says it.
    pub max_output: Option<u64>,
    /// How many answers.
    pub choices: u64,
    /// Images in it.
    pub images: u64,
    /// Documents in it.
    pub documents: u64,
    /// Bytes of the body that are images, which are not read as text.
    pub image_bytes: u64,
    /// Whether a streamed answer of Chat Completions shall tell its usage.
    pub include_usage: bool,
    /// Where the value of `stream_options` stands.
    pub stream_options_at: Option<Range<usize>>,
    /// The members at the top: their names, and where they stand with their values.
    pub members: Vec<(String, Range<usize>)>,
    /// Which caches it may write to.
    pub caches: Caches,
    /// Bytes of the body.
    pub bytes: u64,
}

impl Facts {
    /// Reads a request; `more` are fields that an operator permits beyond those that are known.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn read(dialect: Dialect, body: &[u8], more: &BTreeSet<String>) -> Result<Self, Unfit> {
        std::str::from_utf8(body).map_err(|_| Unfit::Encoding)?;
        let mut reading = Request {
            dialect,
            more,
            facts: Self {
                choices: 1,
                // Others than Anthropic write to caches unasked, where that has a price.
                caches: match dialect {
                    Dialect::Messages => Caches::None,
                    Dialect::Responses | Dialect::Chat => Caches::Hour,
                },
                bytes: body.len() as u64,
                ..Self::default()
            },
            member: None,
            source: Source::default(),
        };
        let mut scanner = Scanner::unique();
        let mut visit = |place: &[Step], event: Event<'_>| reading.visit(place, event);
        scanner.feed(body, &mut visit)?;
        scanner.end(&mut visit)?;
        if reading.facts.model.is_empty() {
            return Err(Unfit::Missing("model"));
        }
        Ok(reading.facts)
    }

    /// A bound of the tokens that are read, if there is one.
    ///
    /// Text is at most one token a byte: the vocabularies in use are of byte sequences (BPE over
    /// UTF-8), every token stands for at least one byte, and JSON spells no text shorter than its
    /// UTF-8. What is put around messages and tools is less than the syntax that they have here,
    /// beyond a constant. Images are bounded by what the vendor makes of one at most; documents
    /// only by what the model reads at all, which bounds everything.
    #[must_use]
    pub fn most_input(&self, price: &Price) -> Option<u64> {
        let text = self.bytes.saturating_sub(self.image_bytes);
        let images = self.images.saturating_mul(price.image_tokens);
        let counted = text.saturating_add(images).saturating_add(OVERHEAD);
        match price.context {
            Some(context) if self.documents > 0 => Some(context),
            Some(context) => Some(counted.min(context)),
            None if self.documents > 0 => None,
            None => Some(counted),
        }
    }

    /// A bound of the tokens that are written, if there is one: what the request says, otherwise
    /// what the model can.
    #[must_use]
    pub fn most_output(&self, price: &Price) -> Option<u64> {
        let one = self.max_output.or(price.output_limit).or(price.context)?;
        Some(one.saturating_mul(self.choices))
    }

    /// Both.
    ///
    /// # Errors
    /// What is missing to bound it.
    pub fn most(&self, price: &Price, time: std::time::Duration) -> Result<Most, Unfit> {
        Ok(Most {
            input: self.most_input(price).ok_or(Unfit::Feature {
                field: "document",
                why: "cannot be bounded, as the table of prices has no `context` for the model",
            })?,
            output: self
                .most_output(price)
                .ok_or(Unfit::Missing("max_tokens"))?,
            caches: self.caches,
            time,
        })
    }
}

struct Request<'a> {
    dialect: Dialect,
    more: &'a BTreeSet<String>,
    facts: Facts,
    /// The member at the top that is being read, and where it begins.
    member: Option<(String, usize)>,
    source: Source,
}

fn place_of(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Request<'_> {
    fn visit(&mut self, place: &[Step], event: Event<'_>) -> Result<(), Unfit> {
        match (place.len(), event) {
            (0, Event::Open { object: true, .. } | Event::Close { .. }) => return Ok(()),
            (0, _) => return Err(Unfit::NoObject),
            (1, Event::Key(key)) => return self.field(key),
            (1, _) => self.top(event)?,
            _ => {}
        }
        self.inner(place, event)
    }

    fn field(&mut self, key: Text<'_>) -> Result<(), Unfit> {
        if key.escaped {
            return Err(Unfit::Escapes);
        }
        let name = key.text().unwrap_or_default();
        if !fields::known(self.dialect, name) && !self.more.contains(name) {
            return Err(Unfit::Field(model::egress::harmless(name)));
        }
        if name == "cache_control" {
            self.facts.caches = self.facts.caches.max(Caches::Minutes);
        }
        self.member = Some((name.to_owned(), place_of(key.start)));
        Ok(())
    }

    /// A member at the top has its value, or begins to.
    fn top(&mut self, event: Event<'_>) -> Result<(), Unfit> {
        let end = match event {
            Event::Open { .. } => None,
            Event::Close { end } => Some(place_of(end)),
            Event::Text(text) => Some(place_of(text.end)),
            Event::Number("", _) => {
                return Err(Unfit::Type {
                    field: "number",
                    expected: "a number that means something",
                });
            }
            Event::Number(spelled, start) => Some(place_of(start) + spelled.len()),
            Event::Word(word, start) => Some(place_of(start) + word.len()),
            Event::Key(_) => return Ok(()),
        };
        let Some((name, start)) = &self.member else {
            return Ok(());
        };
        let name = name.clone();
        if let Some(end) = end {
            self.facts.members.push((name.clone(), *start..end));
        }
        self.value(&name, event)
    }

    fn value(&mut self, name: &str, event: Event<'_>) -> Result<(), Unfit> {
        let null = matches!(event, Event::Word("null", _));
        match (name, event) {
            ("model", Event::Text(text)) => self.model(text),
            ("model", _) => Err(Unfit::Type {
                field: "model",
                expected: "a text",
            }),
            ("stream", Event::Word(word, _)) => {
                self.facts.stream = word == "true";
                Ok(())
            }
            ("stream", _) => Err(Unfit::Type {
                field: "stream",
                expected: "true or false",
            }),
            ("max_tokens" | "max_completion_tokens" | "max_output_tokens", _) if null => Ok(()),
            ("max_tokens" | "max_completion_tokens" | "max_output_tokens", event) => {
                let most = count(event, MOST_OUTPUT).ok_or(Unfit::Type {
                    field: "max_tokens",
                    expected: "a whole number from 0 to 100,000,000",
                })?;
                self.facts.max_output = self.facts.max_output.max(Some(most));
                Ok(())
            }
            ("n", _) if null => Ok(()),
            ("n", event) => {
                self.facts.choices = count(event, MOST_CHOICES)
                    .filter(|choices| *choices > 0)
                    .ok_or(Unfit::Type {
                        field: "n",
                        expected: "a whole number from 1 to 128",
                    })?;
                Ok(())
            }
            (
                "stream_options",
                Event::Open {
                    object: true,
                    start,
                },
            ) => {
                self.facts.stream_options_at = Some(place_of(start)..place_of(start));
                Ok(())
            }
            ("stream_options", Event::Close { end }) => {
                if let Some(range) = &mut self.facts.stream_options_at {
                    range.end = place_of(end);
                }
                Ok(())
            }
            ("stream_options", Event::Word("null", start)) => {
                let start = place_of(start);
                self.facts.stream_options_at = Some(start..start + "null".len());
                Ok(())
            }
            ("stream_options", _) => Err(Unfit::Type {
                field: "stream_options",
                expected: "an object",
            }),
            _ if null => Ok(()),
            _ => refused_value(name, event),
        }
    }

    fn model(&mut self, text: Text<'_>) -> Result<(), Unfit> {
        let name = text.text().filter(|name| {
            !text.escaped
                && (1..=LONGEST_MODEL).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let name = name.ok_or(Unfit::Type {
            field: "model",
            expected: "a name of at most 200 printable ASCII characters without blanks",
        })?;
        name.clone_into(&mut self.facts.model);
        self.facts.model_at = place_of(text.start)..place_of(text.end);
        Ok(())
    }

    /// Everything below the top.
    fn inner(&mut self, place: &[Step], event: Event<'_>) -> Result<(), Unfit> {
        self.caches(place, event);
        if at(place, &["stream_options", "include_usage"]) {
            self.facts.include_usage = matches!(event, Event::Word("true", _));
        }
        if at(place, &["modalities", "*"])
            && !matches!(event, Event::Text(text) if text.text() == Some("text"))
        {
            return Err(Unfit::Feature {
                field: "modalities",
                why: "asks for answers that have no price in the table",
            });
        }
        self.tools(place, event)?;
        match self.dialect {
            Dialect::Messages => self.anthropic(place, event),
            Dialect::Responses | Dialect::Chat => self.openai(place, event),
        }
    }
}

/// A value at the top that means another price, or work that the vendor does by itself.
fn refused_value(name: &str, event: Event<'_>) -> Result<(), Unfit> {
    let (field, why) = match (name, event) {
        ("service_tier", Event::Text(text))
            if !text
                .text()
                .is_some_and(|tier| fields::TIERS.contains(&tier)) =>
        {
            ("service_tier", "asks for a tier at another price")
        }
        ("speed", event) if !matches!(event, Event::Text(text) if text.text() == Some("standard")) => {
            ("speed", "asks for a speed at another price")
        }
        ("inference_geo", event) if !matches!(event, Event::Text(text) if text.text() == Some("global")) => {
            ("inference_geo", "asks for a place at another price")
        }
        ("background", Event::Word("true", _)) => {
            ("background", "asks for an answer that nobody waits for")
        }
        ("previous_response_id", _) => (
            "previous_response_id",
            "names a conversation that the vendor keeps",
        ),
        ("conversation", _) => ("conversation", "names a conversation that the vendor keeps"),
        ("modalities", Event::Text(_)) => ("modalities", "is not a list"),
        _ => return Ok(()),
    };
    Err(Unfit::Feature { field, why })
}

/// A whole number up to `most`.
fn count(event: Event<'_>, most: u64) -> Option<u64> {
    let Event::Number(spelled, _) = event else {
        return None;
    };
    spelled.parse().ok().filter(|count| *count <= most)
}

#[cfg(test)]
mod tests;
