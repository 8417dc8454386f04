//! The fallback where overlays are refused: the base is copied into the layer.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::give;
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

/// Copies `base` into `upper` of `layer`, once: a layer that has a copy keeps what became of it.
///
/// Copies only into a folder that no environment has written to, because links in there would
/// lead the copy out of it.
pub(crate) fn copy_into(layer: &Path, upper: &Path, base: &Path) -> Result<(), SandboxError> {
    let error = |source| SandboxError::Path {
        action: "copy",
        path: base.to_owned(),
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
    copy_tree(base, upper).map_err(error)?;
    fs::rename(copying, layer.join(COPIED)).map_err(error)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let meta = fs::symlink_metadata(&source)?;
            if meta.is_dir() {
                fs::create_dir(&target)?;
                fs::set_permissions(&target, meta.permissions())?;
                folders.push((source, target.clone()));
            } else if meta.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
            } else if meta.is_file() {
                fs::copy(&source, &target)?;
                // git compares times to know what changed.
                let times = fs::FileTimes::new().set_modified(meta.modified()?);
                fs::File::options()
                    .append(true)
                    .open(&target)?
                    .set_times(times)?;
            } else {
                continue;
            }
            give(&target)?;
        }
    }
    Ok(())
}
