//! Masks: what rules refuse in a root is hidden when the root is made, which costs nothing later and
//! holds where there is no gate.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::policy::TargetAt;
use super::{door, register};
use crate::exec_policy::{ExecMode, RuleVerdict};
use crate::message::{Create, Failure, Stage};
use crate::sys::{c_path, mount};

/// Name of the file system that masks lie on.
pub(crate) const SOURCE: &str = "refused";

/// Most masks of a root: each is a mount that every environment gets. What is beyond them is left
/// to the gate; without one, [`hide`] says how much that is.
const MAX: usize = 64;

/// Hides what a policy refuses in the template at `root`; returns how many files were not hidden.
///
/// Under a gate the masks can be opened, so that an attempt is seen, and refused; without one they
/// cannot.
pub(crate) fn hide(root: &Path, number: usize, request: &Create) -> Result<usize, Failure> {
    let policy = &request.exec;
    let refused = |at: &TargetAt| matches!(at, TargetAt::Rule(at) if policy.rules.get(*at).is_some_and(|rule| rule.verdict == RuleVerdict::Deny));
    if policy.mode < ExecMode::DenyList
        || !policy
            .rules
            .iter()
            .any(|rule| rule.verdict == RuleVerdict::Deny)
    {
        return Ok(0);
    }
    let mut hidden: Vec<PathBuf> = register::root_at(root, &door::trees(&request.root))
        .resolve(policy)
        .into_iter()
        .filter(|(at, _)| refused(at))
        .map(|(_, place)| place.inside)
        .collect();
    hidden.sort();
    hidden.dedup();
    let beyond = hidden.len().saturating_sub(MAX);
    hidden.truncate(MAX);
    if hidden.is_empty() {
        return Ok(0);
    }
    let mask = make(number, request.gated)?;
    for inside in hidden {
        let stage = format!("hide {}", inside.display());
        let target = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        let target = c_path(&target).stage(&stage)?;
        mount::bind(&mask, &target, false).stage(&stage)?;
        let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        mount::set_attributes(&target, attributes, false).stage(&stage)?;
    }
    Ok(beyond)
}

/// Gives up the masks of a root that was made for one environment alone.
pub(crate) fn discard(root: &Path) {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    if let Some(number) = name.strip_prefix("root") {
        let folder = root.with_file_name(format!("{SOURCE}{number}"));
        if let Ok(at) = c_path(&folder)
            && folder.is_dir()
        {
            let _ = mount::detach(&at);
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The file that hides others.
fn make(number: usize, gated: bool) -> Result<CString, Failure> {
    let stage = "make a mask";
    let folder = Path::new("/sys").join(format!("{SOURCE}{number}"));
    fs::create_dir(&folder).stage(stage)?;
    let at = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
    let source = CString::new(SOURCE).unwrap_or_default();
    mount::mount(
        &source,
        &at,
        Some(c"tmpfs"),
        mount::PLAIN,
        Some(c"mode=755,size=4k"),
    )
    .stage(stage)?;
    let file = folder.join("refused");
    fs::write(&file, "").stage(stage)?;
    let mode = if gated { 0o555 } else { 0 };
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).stage(stage)?;
    c_path(&file).stage(stage)
}
