//! What models cost: a table with sources and dates, which an operator may override.
//!
//! All arithmetic is in whole millionths of a dollar and rounds up.

use std::collections::BTreeMap;
use std::time::Duration;

use model::budget::{Amount, MicroUsd, Usage};
use serde::Deserialize;

use super::usage::Reading;

/// The table that ships.
const SHIPPED: &str = include_str!("prices.toml");

/// Most tokens that an image can be, where the table does not say: the dearest known way of looking
/// at one (10,000 patches and a fifth).
pub const IMAGE_TOKENS: u64 = 12_000;

/// Largest price that is read, in dollars for a million tokens.
const DEAREST: f64 = 1_000_000.0;

/// Why a table is none.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// It is not the form.
    #[error("the table of prices is wrong")]
    Form(#[from] toml::de::Error),
    /// A price that is none.
    #[error("the price `{field}` of model `{model}` is not a number from 0 to {DEAREST}")]
    Number {
        /// The model.
        model: String,
        /// The field.
        field: &'static str,
    },
    /// A row without prices that does not say it is free.
    #[error(
        "model `{0}` has no prices: give `input` and `output`, or `gpu_second`, or `free = true`"
    )]
    None(String),
}

/// A row as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    free: bool,
    input: Option<f64>,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    cache_write_hour: Option<f64>,
    output: Option<f64>,
    /// The same for prompts of more tokens than this.
    long_from: Option<u64>,
    long_input: Option<f64>,
    long_cache_read: Option<f64>,
    long_cache_write: Option<f64>,
    long_cache_write_hour: Option<f64>,
    long_output: Option<f64>,
    gpu_second: Option<f64>,
    context: Option<u64>,
    output_limit: Option<u64>,
    image_tokens: Option<u64>,
    #[expect(dead_code, reason = "for whoever reads the table")]
    source: Option<String>,
    #[expect(dead_code, reason = "for whoever reads the table")]
    date: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: Vec<Row>,
}

/// Prices of tokens, in millionths of a dollar for a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Read at full price.
    pub input: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written to a cache for minutes.
    pub cache_write: u64,
    /// Written to a cache for an hour.
    pub cache_write_hour: u64,
    /// Written by the model.
    pub output: u64,
}

impl Rates {
    /// What these tokens cost, in millionths of millionths of a dollar.
    fn cost(&self, usage: Usage, hour: u64) -> u128 {
        let part = |tokens: u64, rate: u64| u128::from(tokens) * u128::from(rate);
        part(usage.input, self.input)
            + part(usage.cache_read, self.cache_read)
            + part(usage.cache_write.saturating_sub(hour), self.cache_write)
            + part(hour.min(usage.cache_write), self.cache_write_hour)
            + part(usage.output, self.output)
    }

    fn dearest_input(&self, caches: Caches) -> u64 {
        let read = self.input.max(self.cache_read);
        match caches {
            Caches::None => read,
            Caches::Minutes => read.max(self.cache_write),
            Caches::Hour => read.max(self.cache_write).max(self.cache_write_hour),
        }
    }
}

/// What one model costs, and its limits as far as they bound that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    rates: Rates,
    /// Prompts of more tokens than this cost `long`, all of them.
    long: Option<(u64, Rates)>,
    /// Millionths of a dollar for a second that the server works.
    gpu_second: u64,
    /// Most tokens that it reads and writes in one call.
    pub context: Option<u64>,
    /// Most tokens that it writes in one call.
    pub output_limit: Option<u64>,
    /// Most tokens that an image is.
    pub image_tokens: u64,
}

/// Which caches a call may write to, each dearer than the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caches {
    /// None, or at no price of their own.
    #[default]
    None,
    /// One that is kept for minutes.
    Minutes,
    /// One that is kept for an hour.
    Hour,
}

/// At most this is used by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Tokens that are read.
    pub input: u64,
    /// Tokens that are written, of all answers together.
    pub output: u64,
    /// Which caches are written to.
    pub caches: Caches,
    /// How long the server works.
    pub time: Duration,
}

impl Price {
    /// The most that a call can cost: everything read at the dearest price of reading, everything
    /// written that may be, and every second that it may last.
    #[must_use]
    pub fn worst(&self, most: Most) -> Amount {
        let long = self.long.filter(|(from, _)| most.input > *from);
        let (mut input, mut output) = (self.rates.dearest_input(most.caches), self.rates.output);
        if let Some((_, rates)) = long {
            input = input.max(rates.dearest_input(most.caches));
            output = output.max(rates.output);
        }
        let tokens = u128::from(most.input) * u128::from(input)
            + u128::from(most.output) * u128::from(output);
        Amount {
            money: MicroUsd(micro(tokens).saturating_add(self.seconds(most.time))),
            tokens: most.input.saturating_add(most.output),
        }
    }

    /// What a call did cost.
    #[must_use]
    pub fn cost(&self, reading: &Reading, time: Duration) -> Amount {
        let usage = reading.usage;
        let read = usage.tokens().saturating_sub(usage.output);
        let rates = match self.long {
            Some((from, rates)) if read > from => rates,
            _ => self.rates,
        };
        Amount {
            money: MicroUsd(
                micro(rates.cost(usage, reading.cache_write_hour))
                    .saturating_add(self.seconds(time)),
            ),
            tokens: usage.tokens(),
        }
    }

    /// The same at so many hundredths of its price.
    #[must_use]
    pub fn scaled(mut self, percent: u32) -> Self {
        let scale = |rate: &mut u64| {
            let scaled = u128::from(*rate) * u128::from(percent);
            *rate = u64::try_from(scaled.div_ceil(100)).unwrap_or(u64::MAX);
        };
        let long = self.long.as_mut().map(|(_, rates)| rates);
        for rates in [Some(&mut self.rates), long].into_iter().flatten() {
            let Rates {
                input,
                cache_read,
                cache_write,
                cache_write_hour,
                output,
            } = rates;
            for rate in [input, cache_read, cache_write, cache_write_hour, output] {
                scale(rate);
            }
        }
        scale(&mut self.gpu_second);
        self
    }

    fn seconds(&self, time: Duration) -> u64 {
        let micro = time.as_micros().saturating_mul(u128::from(self.gpu_second));
        u64::try_from(micro.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Rounds up to whole millionths of a dollar.
fn micro(parts: u128) -> u64 {
    u64::try_from(parts.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Prices of models by their names.
#[derive(Debug, Clone, Default)]
pub struct PriceTable(BTreeMap<String, Price>);

impl PriceTable {
    /// The table that ships.
    ///
    /// # Errors
    /// Never, which a test sees to.
    pub fn shipped() -> Result<Self, PriceError> {
        Self::default().with(SHIPPED)
    }

    /// The same with rows of this file, each in place of one of the same name.
    ///
    /// # Errors
    /// [`PriceError`].
    pub fn with(mut self, text: &str) -> Result<Self, PriceError> {
        let file: File = toml::from_str(text)?;
        for row in file.model {
            let name = row.name.clone();
            self.0.insert(name, read(row)?);
        }
        Ok(self)
    }

    /// Names of all models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a model costs: by its name, or by its name without the date at its end.
    #[must_use]
    pub fn price(&self, name: &str) -> Option<&Price> {
        self.0.get(name).or_else(|| self.0.get(undated(name)?))
    }
}

/// `claude-opus-4-5-20251101`, `claude-opus-4-5@20251101` and `gpt-5-2025-08-07` without their
/// dates. Anything else that is appended is another model.
fn undated(name: &str) -> Option<&str> {
    for length in [10, 8] {
        let at = name.len().checked_sub(length)?;
        let Some(date) = name.get(at..) else { continue };
        let shape = date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 if length == 10 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        if shape && date.starts_with("20") {
            let before = name.get(..at)?.strip_suffix(['-', '@'])?;
            return Some(before).filter(|before| !before.is_empty());
        }
    }
    None
}

fn read(row: Row) -> Result<Price, PriceError> {
    let number = |value: Option<f64>, field: &'static str| match value {
        None => Ok(None),
        Some(price) if (0.0..=DEAREST).contains(&price) =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within 0 and DEAREST millions"
            )]
            Ok(Some((price * 1_000_000.0).ceil() as u64))
        }
        Some(_) => Err(PriceError::Number {
            model: row.name.clone(),
            field,
        }),
    };
    let input = number(row.input, "input")?;
    let output = number(row.output, "output")?;
    let gpu_second = number(row.gpu_second, "gpu_second")?;
    if (input.is_none() || output.is_none()) && gpu_second.is_none() && !row.free {
        return Err(PriceError::None(row.name));
    }
    let rates = |input: Option<u64>,
                 read: Option<u64>,
                 write: Option<u64>,
                 hour: Option<u64>,
                 output: Option<u64>| {
        let input = input.unwrap_or(0);
        let write = write.unwrap_or(input);
        Rates {
            input,
            cache_read: read.unwrap_or(input),
            cache_write: write,
            cache_write_hour: hour.unwrap_or(write),
            output: output.unwrap_or(0),
        }
    };
    let short = rates(
        input,
        number(row.cache_read, "cache_read")?,
        number(row.cache_write, "cache_write")?,
        number(row.cache_write_hour, "cache_write_hour")?,
        output,
    );
    let long = rates(
        number(row.long_input, "long_input")?.or(input),
        number(row.long_cache_read, "long_cache_read")?,
        number(row.long_cache_write, "long_cache_write")?,
        number(row.long_cache_write_hour, "long_cache_write_hour")?,
        number(row.long_output, "long_output")?.or(output),
    );
    Ok(Price {
        rates: short,
        long: row.long_from.map(|from| (from, long)),
        gpu_second: gpu_second.unwrap_or(0),
        context: row.context,
        output_limit: row.output_limit,
        image_tokens: row.image_tokens.unwrap_or(IMAGE_TOKENS),
    })
}

#[cfg(test)]
mod tests;
