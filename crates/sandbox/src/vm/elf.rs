//! What an executable needs to run: its interpreter and libraries, read from the file itself.
//!
//! Layout: the System V ABI's "ELF-64 Object File Format". Every offset comes from the file and is
//! checked against its length.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Folders of the dynamic linker that are always searched; others come from its configuration.
const FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_INTERPRETER: u32 = 3;
const DYNAMIC_NEEDED: u64 = 1;
const DYNAMIC_STRINGS: u64 = 5;
const DYNAMIC_RUNPATH: u64 = 29;
const DYNAMIC_RPATH: u64 = 15;
/// Bytes of an entry in the table of segments, and in the dynamic section.
const SEGMENT: usize = 56;
const ENTRY: usize = 16;
/// Most segments read; linkers write about a dozen.
const MAX_SEGMENTS: usize = 128;

/// The parts of a file that matter here.
struct Elf<'a> {
    file: &'a [u8],
    segments: Vec<Segment>,
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    length: u64,
}

/// Names of libraries, and folders the file itself wants searched first.
type Wanted = (Vec<Vec<u8>>, Vec<Vec<u8>>);

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not a usable ELF file: {what}"),
    )
}

fn number<const N: usize>(file: &[u8], at: usize) -> io::Result<[u8; N]> {
    file.get(at..at.saturating_add(N))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| malformed("cut short"))
}

fn long(file: &[u8], at: usize) -> io::Result<u64> {
    number(file, at).map(u64::from_le_bytes)
}

fn size(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| malformed("an offset is too large"))
}

impl<'a> Elf<'a> {
    fn parse(file: &'a [u8]) -> io::Result<Self> {
        // 64 bits, little-endian.
        if file.get(..6) != Some(b"\x7fELF\x02\x01") {
            return Err(malformed("another format"));
        }
        let table = size(long(file, 32)?)?;
        let count = usize::from(u16::from_le_bytes(number(file, 56)?));
        if count > MAX_SEGMENTS || usize::from(u16::from_le_bytes(number(file, 54)?)) != SEGMENT {
            return Err(malformed("an odd table of segments"));
        }
        let segments = (0..count)
            .map(|index| {
                let at = table.saturating_add(index * SEGMENT);
                Ok(Segment {
                    kind: u32::from_le_bytes(number(file, at)?),
                    offset: long(file, at.saturating_add(8))?,
                    address: long(file, at.saturating_add(16))?,
                    length: long(file, at.saturating_add(32))?,
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { file, segments })
    }

    fn content(&self, segment: &Segment) -> io::Result<&'a [u8]> {
        let start = size(segment.offset)?;
        let end = start.saturating_add(size(segment.length)?);
        self.file
            .get(start..end)
            .ok_or_else(|| malformed("a segment outside of it"))
    }

    fn interpreter(&self) -> io::Result<Option<PathBuf>> {
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| segment.kind == SEGMENT_INTERPRETER)
        else {
            return Ok(None);
        };
        let content = self.content(segment)?;
        let path = content.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(
            path.to_vec(),
        ))))
    }

    /// The libraries it names.
    fn libraries(&self) -> io::Result<Wanted> {
        let (mut needed, mut folders) = (Vec::new(), Vec::new());
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| segment.kind == SEGMENT_DYNAMIC)
        else {
            return Ok((needed, folders));
        };
        let mut entries = Vec::new();
        for entry in self.content(segment)?.chunks_exact(ENTRY) {
            let (tag, value) = (long(entry, 0)?, long(entry, 8)?);
            if tag == 0 {
                break;
            }
            entries.push((tag, value));
        }
        let strings = entries
            .iter()
            .find(|(tag, _)| *tag == DYNAMIC_STRINGS)
            .map(|(_, address)| self.offset_of(*address))
            .transpose()?;
        for (tag, value) in &entries {
            let list = match *tag {
                DYNAMIC_NEEDED => &mut needed,
                DYNAMIC_RUNPATH | DYNAMIC_RPATH => &mut folders,
                _ => continue,
            };
            let start = strings.ok_or_else(|| malformed("names without a table"))?;
            let start = start.saturating_add(size(*value)?);
            let text = self.file.get(start..).unwrap_or_default();
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            list.push(text.to_vec());
        }
        Ok((needed, folders))
    }

    /// Where in the file an address is loaded from.
    fn offset_of(&self, address: u64) -> io::Result<usize> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == SEGMENT_LOAD)
            .find_map(|segment| {
                let within = address.checked_sub(segment.address)?;
                (within < segment.length).then(|| segment.offset.saturating_add(within))
            })
            .ok_or_else(|| malformed("an address that is not loaded"))
            .and_then(size)
    }
}

/// The file without what is not loaded (debug information): what it takes to execute it.
pub(super) fn loaded_part(file: &[u8]) -> io::Result<Vec<u8>> {
    let elf = Elf::parse(file)?;
    let end = elf
        .segments
        .iter()
        .map(|segment| segment.offset.saturating_add(segment.length))
        .max()
        .ok_or_else(|| malformed("nothing is loaded"))?;
    let mut part = file
        .get(..size(end)?)
        .ok_or_else(|| malformed("a segment outside of it"))?
        .to_vec();
    // The table of sections is gone: offset, number, and index of names.
    for field in [40..48, 60..62, 62..64] {
        if let Some(bytes) = part.get_mut(field) {
            bytes.fill(0);
        }
    }
    Ok(part)
}

/// A file that a program is started with.
pub(crate) struct Dependency {
    /// Where it must be, for the dynamic linker to find it.
    pub(crate) inside: PathBuf,
    /// Where it is here.
    pub(crate) source: PathBuf,
}

/// Everything `program` is started with beside itself: the interpreter under its own name, each
/// library in a folder where every linker looks.
///
/// # Errors
/// A file that is no ELF file, or names a library that is in no folder of the linker.
pub(crate) fn dependencies(program: &[u8]) -> io::Result<Vec<Dependency>> {
    let elf = Elf::parse(program)?;
    let Some(interpreter) = elf.interpreter()? else {
        return Ok(Vec::new());
    };
    let configured = configured_folders();
    let mut found = vec![Dependency {
        inside: interpreter.clone(),
        source: interpreter.clone(),
    }];
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut wanted = vec![elf.libraries()?];
    while let Some((names, own)) = wanted.pop() {
        for name in names {
            if !known.insert(name.clone()) {
                continue;
            }
            let path = locate(&name, &own, &configured).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("no library {}", String::from_utf8_lossy(&name)),
                )
            })?;
            if path.file_name() == interpreter.file_name() {
                continue;
            }
            wanted.push(Elf::parse(&fs::read(&path)?)?.libraries()?);
            found.push(Dependency {
                inside: Path::new("/usr/lib").join(std::ffi::OsStr::from_bytes(&name)),
                source: path,
            });
        }
    }
    Ok(found)
}

/// The interpreter a program names; absent in a static one. Its beginning is enough.
pub(crate) fn interpreter(program: &[u8]) -> io::Result<Option<PathBuf>> {
    Elf::parse(program)?.interpreter()
}

fn locate(name: &[u8], own: &[Vec<u8>], configured: &[PathBuf]) -> Option<PathBuf> {
    let name = Path::new(std::ffi::OsStr::from_bytes(name));
    if name.is_absolute() {
        return name.is_file().then(|| name.to_owned());
    }
    let own = own
        .iter()
        .flat_map(|folders| folders.split(|byte| *byte == b':'))
        .map(|folder| PathBuf::from(std::ffi::OsStr::from_bytes(folder)))
        .filter(|folder| folder.is_absolute());
    own.chain(configured.iter().cloned())
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Folders named in the dynamic linker's configuration.
fn configured_folders() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    if let Ok(entries) = fs::read_dir("/etc/ld.so.conf.d") {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|content| {
            content
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_its_interpreter_and_the_c_library() {
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        let needed = dependencies(&program).unwrap();
        assert!(
            needed
                .iter()
                .any(|file| file.inside.to_string_lossy().contains("libc.so")),
            "{}",
            needed.len()
        );
    }

    #[test]
    fn the_loaded_part_of_a_program_still_runs() {
        let program = fs::read("/bin/true").unwrap();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("true");
        // Written by another process: this one's other tests fork while a file is open.
        let part = place.path().join("part");
        fs::write(&part, loaded_part(&program).unwrap()).unwrap();
        let copied = std::process::Command::new("install")
            .args(["-m", "755"])
            .args([&part, &path])
            .status()
            .unwrap();
        assert!(copied.success());
        assert!(
            std::process::Command::new(&path)
                .status()
                .unwrap()
                .success()
        );
    }

    #[test]
    fn no_damaged_file_is_a_panic() {
        let program = fs::read("/bin/true").unwrap();
        for length in (0..program.len().min(4096)).step_by(7) {
            let _ = dependencies(&program[..length]);
            let _ = loaded_part(&program[..length]);
            let mut altered = program.clone();
            altered[length] ^= 0xff;
            let _ = loaded_part(&altered);
            let _ = Elf::parse(&altered).and_then(|elf| elf.libraries());
        }
    }
}
