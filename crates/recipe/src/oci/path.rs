//! Names of entries: bytes from outside, made into paths that can only go down.

use crate::LayerProblem;
use crate::oci::Limits;

/// The longest name of one file, by all file systems that matter.
const LONGEST_NAME: usize = 255;

/// A relative path without `.`, `..`, double or trailing slashes; empty for the root itself.
///
/// # Errors
/// [`LayerProblem`] for names that climb, are absolute, have a zero byte, or are too long.
pub(crate) fn normal(name: &[u8], limits: &Limits) -> Result<Vec<u8>, LayerProblem> {
    if name.is_empty() || name.contains(&0) {
        return Err(LayerProblem::Name);
    }
    if name[0] == b'/' {
        return Err(LayerProblem::Absolute);
    }
    let too_long = || LayerProblem::TooLong {
        bytes: limits.path_bytes,
        depth: limits.depth,
    };
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(LayerProblem::Climbs),
            _ if part.len() > LONGEST_NAME => return Err(too_long()),
            _ => {}
        }
        if depth > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        depth += 1;
    }
    if path.len() > limits.path_bytes || depth > limits.depth {
        return Err(too_long());
    }
    Ok(path)
}

/// Folder and last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// All folders above a path, the outermost first, without the root.
pub(crate) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(slash, _)| &path[..slash])
}

/// Folder and name, joined.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
