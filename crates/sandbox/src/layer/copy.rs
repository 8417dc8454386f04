//! The fallback where overlays are refused: the base is copied into the layer.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::give;
use crate::error::SandboxError;

/// Name of the marker that says a layer holds a whole copy.
const MARKER: &str = "copied";

/// Copies `base` into `upper` of `layer`, once: a layer that has a copy keeps what became of it.
pub(crate) fn copy_into(layer: &Path, upper: &Path, base: &Path) -> Result<(), SandboxError> {
    let marker = layer.join(MARKER);
    if marker.exists() {
        return Ok(());
    }
    let error = |source| SandboxError::Path {
        action: "copy",
        path: base.to_owned(),
        source,
    };
    copy_tree(base, upper).map_err(error)?;
    fs::write(marker, "").map_err(error)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let meta = fs::symlink_metadata(&source)?;
            if meta.is_dir() {
                if !target.is_dir() {
                    fs::create_dir(&target)?;
                }
                fs::set_permissions(&target, meta.permissions())?;
                folders.push((source, target.clone()));
            } else if meta.is_symlink() {
                replace_link(&source, &target)?;
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

fn replace_link(source: &Path, target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(fs::read_link(source)?, target)
}
