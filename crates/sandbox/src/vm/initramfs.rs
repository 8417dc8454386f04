//! The archive a guest starts from: our program, what it needs, and the kernel's modules.

use std::fs;
use std::io;
use std::path::Path;

use super::cpio::Archive;
use super::elf;
use super::error::VmError;
use super::kernel::Kernel;

/// Where the program is, as the kernel starts it.
pub(super) const INIT: &str = "/init";
/// Where the modules are; their names begin with their place in the order.
pub(super) const MODULES: &str = "/modules";

/// Builds the archive around `program`, whose `main` begins with
/// [`run_if_requested`](crate::supervisor::run_if_requested).
pub(super) fn build(program: &Path, kernel: &Kernel) -> Result<Vec<u8>, VmError> {
    let failed = |source: io::Error| VmError::File {
        action: "pack for the guest",
        path: program.to_owned(),
        source,
    };
    let executable = fs::read(program).map_err(failed)?;
    let mut archive = Archive::default();
    archive.device(Path::new("/dev/console"), 5, 1);
    archive.device(Path::new("/dev/null"), 1, 3);
    for folder in ["/proc", "/sys", "/root.new", MODULES] {
        archive.folder(Path::new(folder));
    }
    archive.file(
        Path::new(INIT),
        &elf::loaded_part(&executable).map_err(failed)?,
    );
    for file in elf::dependencies(&executable).map_err(failed)? {
        let content = fs::read(&file.source).and_then(|content| elf::loaded_part(&content));
        archive.file(&file.inside, &content.map_err(failed)?);
    }
    // Where linkers of other distributions look.
    archive.link(Path::new("/usr/lib64"), Path::new("lib"));
    for (index, (name, content)) in kernel.module_files()?.into_iter().enumerate() {
        archive.file(
            &Path::new(MODULES).join(format!("{index:02}-{name}")),
            &content,
        );
    }
    Ok(archive.finish())
}
