//! Money and tokens as people write them: `200`, `3.50`, `$0.05`; `250000`, `500k`, `2M`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MicroUsd;

/// Millionths in a dollar.
const DOLLAR: u64 = 1_000_000;
/// Digits after the point that can be told apart.
const DIGITS: usize = 6;

/// An amount of US dollars, exact to a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(pub MicroUsd);

/// A text that is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount of dollars (write it like 200, 3.50 or 0.05)")]
pub struct InvalidUsd(String);

impl FromStr for Usd {
    type Err = InvalidUsd;

    fn from_str(text: &str) -> Result<Self, InvalidUsd> {
        let invalid = || InvalidUsd(text.chars().take(40).collect());
        let bare = text.trim();
        let bare = bare.strip_prefix('$').unwrap_or(bare);
        decimal(bare, DOLLAR, DIGITS)
            .map(|micro| Self(MicroUsd(micro)))
            .ok_or_else(invalid)
    }
}

/// A number of whole and decimal digits times `unit`, which is a power of ten with at least
/// `digits` zeros; `None` when it is none, too fine or too large.
fn decimal(text: &str, unit: u64, digits: usize) -> Option<u64> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (text, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_point = text.contains('.');
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) || has_point == part.is_empty() {
        return None;
    }
    let part = part.trim_end_matches('0');
    if part.len() > digits {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut scale = unit;
    let mut fraction = 0_u64;
    for digit in part.bytes() {
        scale /= 10;
        fraction += u64::from(digit - b'0') * scale;
    }
    whole.checked_add(fraction)
}

impl fmt::Display for Usd {
    /// Digits alone, as the file has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_start_matches('$'))
    }
}

/// A number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u64);

/// A text that is no number of tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of tokens (write it like 250000, 500k or 2M)")]
pub struct InvalidTokens(String);

impl FromStr for Tokens {
    type Err = InvalidTokens;

    fn from_str(text: &str) -> Result<Self, InvalidTokens> {
        let invalid = || InvalidTokens(text.chars().take(40).collect());
        let bare = text.trim();
        let (number, unit, digits) = match bare.char_indices().last() {
            Some((at, 'k')) => (&bare[..at], 1_000, 3),
            Some((at, 'M')) => (&bare[..at], 1_000_000, 6),
            Some((at, 'G')) => (&bare[..at], 1_000_000_000, 9),
            _ => (bare, 1, 0),
        };
        decimal(number, unit, digits).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Reads a text, or a number by its shortest decimal text.
struct ByText<T>(&'static str, std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for ByText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        // Without an exponent, and with as many digits as tell it from its neighbours.
        self.visit_str(&format!("{number}"))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an amount of dollars such as 200 or 3.50";
        deserializer.deserialize_any(ByText(expected, std::marker::PhantomData))
    }
}

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of tokens such as 500k or 2M";
        deserializer.deserialize_any(ByText(expected, std::marker::PhantomData))
    }
}

impl schemars::JsonSchema for Usd {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Usd".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["number", "string"], "description": "US dollars: 200, 3.50"})
    }
}

impl schemars::JsonSchema for Tokens {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["integer", "string"], "description": "tokens: 250000, 500k, 2M"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_exactly_or_not_at_all() {
        for (text, micro) in [
            ("200", 200_000_000),
            ("3.50", 3_500_000),
            ("$0.05", 50_000),
            (" 0.000001 ", 1),
            ("0.1000000", 100_000),
            ("18446744073709.551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Usd(MicroUsd(micro))), "{text}");
        }
        for bad in [
            "",
            "$",
            "-3",
            "1.",
            ".5",
            "1e3",
            "1,50",
            "0.0000001",
            "18446744073709.551616",
            "NaN",
            "inf",
            "3 USD",
            "٣",
        ] {
            assert!(bad.parse::<Usd>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_read_exactly_or_not_at_all() {
        for (text, tokens) in [("250000", 250_000), ("500k", 500_000), ("1.5M", 1_500_000)] {
            assert_eq!(text.parse(), Ok(Tokens(tokens)), "{text}");
        }
        for bad in [
            "",
            "k",
            "1.5",
            "-1",
            "2 million",
            "0.0001k",
            "99999999999G",
            "5é",
        ] {
            assert!(bad.parse::<Tokens>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_and_texts_read_the_same_and_come_back_as_written() {
        let read = |text: &str| serde_json::from_str::<Usd>(text);
        assert_eq!(read("3.5").unwrap(), read("\"3.50\"").unwrap());
        assert_eq!(read("0.1").unwrap(), Usd(MicroUsd(100_000)));
        assert!(read("-1").is_err() && read("1e300").is_err() && read("true").is_err());
        let money = Usd(MicroUsd(123_456_789));
        let written = serde_json::to_string(&money).unwrap();
        assert_eq!(written, "\"123.456789\"");
        assert_eq!(read(&written).unwrap(), money);
        let tokens = Tokens(1_234);
        let written = serde_json::to_string(&tokens).unwrap();
        assert_eq!(serde_json::from_str::<Tokens>(&written).unwrap(), tokens);
    }
}
