//! The fallback where overlays are refused: what is underneath is copied into the layer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{How, place};
use super::tree::Below;
use crate::error::SandboxError;

/// Says that a layer holds a whole copy, which stands alone.
const COPIED: &str = "copied";
/// Says that a copy was begun: no environment has used the layer yet.
const COPYING: &str = "copying";

/// Whether a layer holds a copy. It must then never be laid over its base: what was deleted in the
/// copy would be back.
pub(crate) fn is_copy(layer: &Path) -> bool {
    layer.join(COPIED).exists()
}

/// Copies what `lowers`, highest first, show together into `upper` of `layer`, once: a layer that
/// has a copy keeps what became of it.
///
/// Copies only into a folder that no environment has written to, because links in there would
/// lead the copy out of it.
pub(crate) fn copy_into(
    layer: &Path,
    upper: &Path,
    lowers: &[PathBuf],
) -> Result<(), SandboxError> {
    let error = |source| SandboxError::Path {
        action: "copy what is underneath to",
        path: layer.to_owned(),
        source,
    };
    if is_copy(layer) {
        return Ok(());
    }
    let copying = layer.join(COPYING);
    if copying.exists() {
        super::remove::remove_tree(upper).map_err(error)?;
        super::make(upper).map_err(error)?;
    } else if fs::read_dir(upper).map_err(error)?.next().is_some() {
        return Err(SandboxError::Path {
            action: "resume without an overlay",
            path: layer.to_owned(),
            source: io::Error::from(io::ErrorKind::Unsupported),
        });
    }
    fs::write(&copying, "").map_err(error)?;
    place(lowers, upper, How::Copy, &Below::Nothing).map_err(error)?;
    fs::rename(copying, layer.join(COPIED)).map_err(error)
}
