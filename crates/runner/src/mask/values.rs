//! The values that credentials of this host's tasks have or had, masked for all of its tasks: what
//! one task learnt, another may print.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use egress::mask::{Mask as Forms, Masker};
use zeroize::Zeroizing;

use super::{Known, Mask, MaskStream};

/// Values that are masked at once, the newest.
const MOST: usize = 512;

/// Values that become known while tasks run.
#[derive(Default)]
pub struct Values(Arc<RwLock<Arc<Held>>>);

struct Held {
    /// Name of the secret and value, the oldest first.
    values: Vec<(String, Zeroizing<String>)>,
    forms: Forms,
    /// Rises with every change.
    generation: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            forms: forms(&[]),
            generation: 0,
        }
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

impl Values {
    /// Masks these from now on, beside those that are masked already; also in the output of steps
    /// that run. Values that are too short to be masked have to be refused before.
    pub fn learn(&self, new: impl IntoIterator<Item = (String, Zeroizing<String>)>) {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut values = shared.values.clone();
        let before = values.len();
        for (name, value) in new {
            if !Forms::is_maskable(&value) {
                tracing::error!(name, "a secret has a length that cannot be masked");
            } else if !values.iter().any(|(_, known)| *known == value) {
                values.push((name, value));
            }
        }
        if values.len() == before {
            return;
        }
        values.drain(..values.len().saturating_sub(MOST));
        let generation = shared.generation + 1;
        *shared = Arc::new(Held {
            forms: forms(&values),
            values,
            generation,
        });
    }

    fn held(&self) -> Arc<Held> {
        held(&self.0)
    }
}

fn held(shared: &RwLock<Arc<Held>>) -> Arc<Held> {
    Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

/// A mask of the newest values that fit into one.
fn forms(values: &[(String, Zeroizing<String>)]) -> Forms {
    let mut newest = values;
    loop {
        match Forms::new(newest.iter().map(|(_, value)| value.as_str())) {
            Ok(forms) => return forms,
            Err(error) => {
                tracing::error!(%error, "the oldest values are not masked any more");
                newest = &newest[newest.len().div_ceil(2)..];
            }
        }
    }
}

impl Held {
    /// The secret whose value is in these bytes; of a wrapped one, a line holds a part only, and
    /// then all of them are looked through.
    fn name_of(&self, line: &[u8], all: &[u8]) -> String {
        let is_in =
            |value: &str, bytes: &[u8]| Forms::new([value]).is_ok_and(|forms| forms.finds(bytes));
        let find = |bytes: &[u8]| self.values.iter().find(|(_, value)| is_in(value, bytes));
        find(line).or_else(|| find(all)).map_or_else(
            || "the value of a secret".to_owned(),
            |(name, _)| format!("the value of secret `{name}`"),
        )
    }
}

impl Mask for Values {
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.held().forms.text(text)
    }

    fn stream(&self) -> Option<Box<dyn MaskStream>> {
        let held = self.held();
        Some(Box::new(Stream {
            masker: Masker::new(&held.forms),
            generation: held.generation,
            shared: Arc::clone(&self.0),
        }))
    }

    fn known(&self, bytes: &[u8]) -> Vec<Known> {
        let held = self.held();
        if !held.forms.finds(bytes) {
            return Vec::new();
        }
        let (mut masker, mut masked) = (Masker::new(&held.forms), Vec::new());
        masker.feed(bytes, &mut masked);
        masker.finish(&mut masked);
        // Masking keeps line ends, so lines that differ are those with values.
        let (mut at, mut known) = (0, Vec::new());
        let pairs = bytes
            .split(|byte| *byte == b'\n')
            .zip(masked.split(|byte| *byte == b'\n'));
        for (line, shown) in pairs {
            if line != shown {
                let (from, to) = difference(line, shown);
                let what = held.name_of(&line[from..to], bytes);
                known.push(Known {
                    range: at + from..at + to,
                    what,
                });
            }
            at += line.len() + 1;
        }
        known
    }
}

/// Which part of a line is another one when it is masked.
fn difference(line: &[u8], shown: &[u8]) -> (usize, usize) {
    let from = line.iter().zip(shown).take_while(|(a, b)| a == b).count();
    let same = line
        .iter()
        .rev()
        .zip(shown.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let most = line.len().min(shown.len()) - from;
    (from, line.len() - same.min(most))
}

/// One stream; it takes up values that become known on its way.
struct Stream {
    masker: Masker,
    generation: u64,
    shared: Arc<RwLock<Arc<Held>>>,
}

impl MaskStream for Stream {
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let held = held(&self.shared);
        if held.generation != self.generation {
            self.masker.finish(&mut out);
            self.masker = Masker::new(&held.forms);
            self.generation = held.generation;
        }
        self.masker.feed(bytes, &mut out);
        out
    }

    fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.masker.finish(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: &[(&str, &str)]) -> Values {
        let values = Values::default();
        values.learn(
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned()))),
        );
        values
    }

    #[test]
    fn places_and_names_are_told_and_values_are_not() {
        let values = values(&[("ci", "correct+horse/battery"), ("db", "staple-0123456789")]);
        let text = b"one\ntwo: correct+horse/battery;\nc3RhcGxlLTAxMjM0NTY3ODk=\n";
        let known = values.known(text);
        let found: Vec<_> = known
            .iter()
            .map(|known| (&text[known.range.clone()], known.what.as_str()))
            .collect();
        assert_eq!(
            found[0],
            (&b"correct+horse/battery"[..], "the value of secret `ci`")
        );
        assert!(
            found[1].0.starts_with(b"c3RhcGxl") && found[1].1 == "the value of secret `db`",
            "{found:?}"
        );
        assert_eq!(known.len(), 2);
        assert!(values.known(b"nothing here").is_empty());
        assert!(!format!("{values:?}{known:?}").contains("staple"));
    }

    #[test]
    fn a_stream_takes_up_what_becomes_known_on_its_way() {
        let values = values(&[("ci", "correct+horse/battery")]);
        let mut stream = values.stream().unwrap();
        let mut shown = stream.push(b"correct+horse/bat");
        assert!(shown.is_empty(), "held back");
        shown.extend(stream.push(b"tery staple-0123456789 "));
        values.learn([(
            "db".to_owned(),
            Zeroizing::new("staple-0123456789".to_owned()),
        )]);
        shown.extend(stream.push(b"staple-0123456789 correct+horse/battery"));
        shown.extend(stream.end());
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            "*** staple-0123456789 *** ***"
        );
    }

    #[test]
    fn too_many_values_leave_the_newest_masked() {
        let many: Vec<(String, String)> = (0..MOST + 9)
            .map(|n| (format!("s{n}"), format!("value-{n:05}")))
            .collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let values = values(&many);
        assert_eq!(values.mask(&format!("value-{:05}", MOST + 8)), "***");
        assert_eq!(values.mask("value-00000"), "value-00000");
    }
}
