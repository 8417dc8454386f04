//! Pax extension headers: lines `LENGTH KEY=VALUE`.

use crate::LayerProblem;

/// What a pax header says about the next entry.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Option<i64>,
    /// Extended attributes, which are left out.
    pub(crate) attributes: Vec<String>,
}

impl Pax {
    /// Reads the body of an `x` header.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, LayerProblem> {
        let mut pax = Self::default();
        let mut seen = Vec::new();
        for record in records(body) {
            let (key, value) = record?;
            if seen.contains(&key) {
                return Err(problem(format!("has `{}` twice", crate::error::clean(key))));
            }
            // Bounded by the length of the body; the few keys in use make the search cheap.
            if seen.len() > 1000 {
                return Err(problem("has more than 1000 keys"));
            }
            seen.push(key);
            pax.take(key, value)?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), LayerProblem> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let size = text(value)
                    .and_then(|text| text.parse().ok())
                    .filter(|_| digits);
                self.size = Some(size.ok_or_else(|| problem("has a size that is no number"))?);
            }
            b"mtime" => {
                let whole = text(value).and_then(|text| text.split('.').next()?.parse().ok());
                self.mtime = Some(whole.ok_or_else(|| problem("has a time that is no number"))?);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(LayerProblem::Kind("sparse".to_owned()));
            }
            _ => {
                for prefix in ["SCHILY.xattr.", "LIBARCHIVE.xattr."] {
                    if let Some(name) = key.strip_prefix(prefix.as_bytes()) {
                        self.attributes.push(crate::error::clean(name));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Checks the body of a `g` header, which would be about all entries that follow. Comments are common
/// there (`git archive`); names and sizes for every entry make no sense.
pub(crate) fn check_global(body: &[u8]) -> Result<(), LayerProblem> {
    for record in records(body) {
        let (key, _) = record?;
        if [&b"path"[..], b"linkpath", b"size"].contains(&key) || key.starts_with(b"GNU.sparse.") {
            let key = crate::error::clean(key);
            return Err(problem(format!("gives `{key}` to all entries")));
        }
    }
    Ok(())
}

fn records(body: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), LayerProblem>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = record(rest);
        match record {
            Some((key, value, after)) => {
                rest = after;
                Some(Ok((key, value)))
            }
            None => {
                rest = &[];
                Some(Err(problem("has a line that is no `LENGTH KEY=VALUE`")))
            }
        }
    })
}

fn record(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = rest.iter().take(20).position(|b| *b == b' ')?;
    let digits = &rest[..blank];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = text(digits)?.parse().ok()?;
    let line = rest.get(blank + 1..length)?;
    let line = line.strip_suffix(b"\n")?;
    let equals = line.iter().position(|b| *b == b'=')?;
    (equals > 0).then(|| (&line[..equals], &line[equals + 1..], &rest[length..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>, LayerProblem> {
    if value.is_empty() || value.contains(&0) {
        return Err(LayerProblem::Name);
    }
    Ok(value.to_vec())
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn problem(text: impl Into<String>) -> LayerProblem {
    LayerProblem::Pax(text.into())
}
