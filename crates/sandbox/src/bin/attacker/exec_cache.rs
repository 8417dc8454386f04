//! Content that changes between the look and the act: 15 and 16 of the catalogue.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::context::{BENIGN, Context, Denied, MARKER};
use super::exec_ldso::myself;
use super::kit::{self, said};
use super::outcome::{Attack, Attempt, Outcome, Stop};

/// How long a race is tried.
const RACE: Duration = Duration::from_millis(800);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-toctou-rename",
        15,
        "another process swaps the file by rename while it is executed",
        |context| race(context, "rename"),
    )
    .carried(),
    Attack::new(
        "exec-toctou-write",
        15,
        "another process overwrites the file while it is executed",
        |context| race(context, "write"),
    )
    .carried(),
    Attack::new(
        "exec-toctou-shared-map",
        15,
        "another process writes through a shared mapping whose descriptor is closed",
        |context| race(context, "map"),
    )
    // Most file systems call such a file busy; an overlay does not.
    .uncontrolled()
    .carried(),
    Attack::new(
        "exec-toctou-symlink",
        15,
        "another process swaps a symbolic link while it is executed",
        |context| race(context, "symlink"),
    )
    .carried(),
    Attack::new(
        "exec-toctou-exchange",
        15,
        "another process exchanges two files while one is executed",
        |context| race(context, "exchange"),
    )
    .carried(),
    Attack::new(
        "exec-toctou-shebang",
        15,
        "the interpreter of a script is swapped while the script is executed",
        race_shebang,
    )
    .carried(),
    Attack::new(
        "exec-cache-overwrite",
        16,
        "execute harmless bytes, overwrite them in place, execute again",
        |context| poison(context, |path, bytes| fs::write(path, bytes)),
    )
    .carried(),
    Attack::new(
        "exec-cache-mtime",
        16,
        "overwrite in place and restore the times",
        |context| poison(context, restore_times),
    )
    .carried(),
    Attack::new(
        "exec-cache-rename-over",
        16,
        "rename other bytes over the judged file",
        |context| poison(context, rename_over),
    )
    .carried(),
    Attack::new(
        "exec-cache-inode-reuse",
        16,
        "delete the judged file and make another that gets its inode",
        |context| poison(context, reuse_inode),
    )
    .carried(),
    Attack::new(
        "exec-cache-shared-map",
        16,
        "change the judged file through a shared mapping made before the look",
        mapped_before,
    )
    // Most file systems call such a file busy; an overlay does not.
    .uncontrolled()
    .carried(),
    Attack::new(
        "exec-cache-truncate",
        16,
        "shorten the judged file to nothing and fill it again",
        |context| poison(context, refill),
    )
    .carried(),
    Attack::new(
        "exec-cache-punch",
        16,
        "punch a hole into the judged file and fill it again",
        |context| poison(context, punch),
    )
    .carried(),
    Attack::new(
        "exec-cache-hardlink",
        16,
        "change the judged file through another name",
        |context| poison(context, by_other_name),
    )
    .carried(),
    Attack::new(
        "exec-cache-copy-range",
        16,
        "change the judged file by copy_file_range",
        |context| poison(context, by_copy_range),
    )
    .carried(),
    Attack::new(
        "exec-cache-open-fd",
        16,
        "change the judged file through a descriptor opened before the look",
        opened_before,
    )
    // Most file systems call such a file busy; an overlay does not.
    .uncontrolled()
    .carried(),
];

/// Executes the file until the tool's line was seen or the time is over.
fn execute_until(path: &Path, end: Instant) -> Attempt {
    let (mut benign, mut refused, mut busy) = (0, 0, 0);
    while Instant::now() < end {
        match Command::new(path).output() {
            Ok(output) => {
                let out = String::from_utf8_lossy(&output.stdout);
                if out.contains(MARKER) {
                    return Ok(Outcome::Bypass(format!(
                        "the denied bytes were executed after {benign} harmless and {refused} refused executions"
                    )));
                }
                benign += i32::from(out.contains(BENIGN));
            }
            Err(error) if [libc::EPERM, libc::EACCES].contains(&kit::number(&error)) => {
                refused += 1;
            }
            Err(_) => busy += 1,
        }
    }
    if benign + refused == 0 && busy == 0 {
        return Err(Stop::Fault("nothing was executed".into()));
    }
    Ok(Outcome::Blocked(format!(
        "{benign} harmless, {refused} refused, {busy} busy or broken executions"
    )))
}

fn race(context: &Context, way: &str) -> Attempt {
    let place = context.place()?;
    let (one, two, path) = (place.join("one"), place.join("two"), place.join("tool"));
    context.program(&one, &context.benign()?)?;
    context.program(&two, &context.bytes(Denied::Tiny)?)?;
    context.program(&path, &context.benign()?)?;
    let mut flipper = myself()?
        .args(["--helper", "flip"])
        .args([&path, &one, &two])
        .args([way, &RACE.as_millis().to_string()])
        .spawn()?;
    let attempt = execute_until(&path, Instant::now() + RACE);
    let _ = flipper.kill();
    let _ = flipper.wait();
    attempt
}

fn race_shebang(context: &Context) -> Attempt {
    let place = context.place()?;
    let (one, two, path) = (place.join("one"), place.join("two"), place.join("tool"));
    context.program(&one, &context.benign()?)?;
    context.program(&two, &context.bytes(Denied::Tiny)?)?;
    context.program(&path, &context.benign()?)?;
    let script = place.join("script");
    context.program(&script, format!("#!{}\n", path.display()).as_bytes())?;
    let mut flipper = myself()?
        .args(["--helper", "flip"])
        .args([&path, &one, &two])
        .args(["rename", &RACE.as_millis().to_string()])
        .spawn()?;
    let attempt = execute_until(&script, Instant::now() + RACE);
    let _ = flipper.kill();
    let _ = flipper.wait();
    attempt
}

/// The writing half of a race.
pub(crate) fn flip_until(
    path: &str,
    one: &str,
    two: &str,
    way: &str,
    end: Instant,
) -> io::Result<()> {
    let (path, one, two) = (Path::new(path), Path::new(one), Path::new(two));
    let contents = [
        fs::read(one)?,
        fs::read(two).or_else(|_| {
            crate::attacker::context::Context::new(true, false)
                .carried(Denied::Tiny)
                .map_err(|_| io::Error::other("no bytes"))
        })?,
    ];
    let beside = path.with_extension("beside");
    let shared = if way == "map" {
        Some(shared_map(path, contents[0].len())?)
    } else {
        None
    };
    let mut turn = 0;
    while Instant::now() < end {
        turn += 1;
        let bytes = &contents[turn % 2];
        match way {
            "rename" => {
                let _ = fs::remove_file(&beside);
                fs::hard_link(if turn % 2 == 0 { one } else { two }, &beside)?;
                fs::rename(&beside, path)?;
            }
            "exchange" => {
                let (a, b) = (kit::c_path(path), kit::c_path(two));
                let here = libc::AT_FDCWD as usize;
                kit::call(
                    libc::SYS_renameat2,
                    [
                        here,
                        a.as_ptr() as usize,
                        here,
                        b.as_ptr() as usize,
                        libc::RENAME_EXCHANGE as usize,
                        0,
                    ],
                )?;
            }
            "symlink" => {
                let _ = fs::remove_file(&beside);
                std::os::unix::fs::symlink(if turn % 2 == 0 { one } else { two }, &beside)?;
                fs::rename(&beside, path)?;
            }
            "map" => {
                if let Some(address) = shared {
                    // SAFETY: the mapping is as long as both contents and lives as long as this process.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            bytes.as_ptr(),
                            address as *mut u8,
                            bytes.len(),
                        );
                    };
                }
            }
            _ => {
                // Executed at this moment it cannot be opened for writing; the next turn can.
                if let Ok(file) = fs::File::options().write(true).open(path) {
                    file.write_all_at(bytes, 0)?;
                }
            }
        }
    }
    Ok(())
}

/// A shared writable mapping of a file whose descriptor is closed again.
fn shared_map(path: &Path, length: usize) -> io::Result<usize> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    kit::call(
        libc::SYS_mmap,
        [
            0,
            length,
            protection,
            libc::MAP_SHARED as usize,
            file.as_raw_fd() as usize,
            0,
        ],
    )
    .map(|address| address as usize)
}

/// Executes harmless bytes so that the verdict is known, changes the file, executes again.
fn poison(context: &Context, change: impl FnOnce(&Path, &[u8]) -> io::Result<()>) -> Attempt {
    let path = context.place()?.join("tool");
    let bytes = context.bytes(Denied::Tiny)?;
    context.program(&path, &context.benign()?)?;
    warm(&path)?;
    change(&path, &bytes)?;
    kit::run(&mut Command::new(&path))
}

/// The harmless program must run where unknown programs may; elsewhere the attack ends here.
fn warm(path: &Path) -> Result<(), Stop> {
    for _ in 0..3 {
        let said = said(&mut Command::new(path))?;
        if !said.out.contains(BENIGN) {
            return Err(Stop::Fault(format!(
                "the harmless program did not run: {}",
                said.status
            )));
        }
    }
    Ok(())
}

fn restore_times(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let file = fs::File::options().write(true).open(path)?;
    file.write_all_at(bytes, 0)?;
    let times = fs::FileTimes::new()
        .set_accessed(before.accessed()?)
        .set_modified(before.modified()?);
    file.set_times(times)
}

fn rename_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("beside");
    fs::copy(path, &beside)?;
    restore_times(&beside, bytes)?;
    fs::rename(beside, path)
}

fn reuse_inode(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let mode = before.permissions();
    fs::remove_file(path)?;
    // The freed number often comes back soon.
    for attempt in 0..64 {
        let candidate = path.with_extension(attempt.to_string());
        fs::write(&candidate, bytes)?;
        if fs::metadata(&candidate)?.ino() == before.ino() || attempt == 63 {
            fs::set_permissions(&candidate, mode)?;
            return fs::rename(&candidate, path);
        }
    }
    Ok(())
}

fn mapped_before(context: &Context) -> Attempt {
    let path = context.place()?.join("tool");
    let bytes = context.bytes(Denied::Tiny)?;
    context.program(&path, &context.benign()?)?;
    let address = shared_map(&path, bytes.len())?;
    warm(&path).map_err(busy_is_blocked)?;
    // SAFETY: the mapping is as long as the bytes and lives as long as this process.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    kit::run(&mut Command::new(&path))
}

/// A file that somebody may still write is refused by the kernel or the gate: also a way to block.
fn busy_is_blocked(stop: Stop) -> Stop {
    match stop {
        Stop::Fault(text) if text.contains("ETXTBSY") => Stop::Blocked(text),
        other => other,
    }
}

fn refill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)
}

fn punch(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    let mode = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE) as usize;
    // Where holes are not possible the second half alone is tried.
    let _ = kit::call(
        libc::SYS_fallocate,
        [file.as_raw_fd() as usize, mode, 0, bytes.len(), 0, 0],
    );
    file.write_all_at(bytes, 0)
}

fn by_other_name(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let other = path.with_extension("other");
    fs::hard_link(path, &other)?;
    fs::File::options()
        .write(true)
        .open(other)?
        .write_all_at(bytes, 0)
}

fn by_copy_range(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let source = path.with_extension("source");
    fs::write(&source, bytes)?;
    let (from, to) = (
        fs::File::open(&source),
        fs::File::options().write(true).open(path)?,
    );
    let Ok(from) = from else {
        return to.write_all_at(bytes, 0);
    };
    kit::call(
        libc::SYS_copy_file_range,
        [
            from.as_raw_fd() as usize,
            0,
            to.as_raw_fd() as usize,
            0,
            bytes.len(),
            0,
        ],
    )
    .map(drop)
}

fn opened_before(context: &Context) -> Attempt {
    let path = context.place()?.join("tool");
    let bytes = context.bytes(Denied::Tiny)?;
    context.program(&path, &context.benign()?)?;
    warm(&path)?;
    let file = fs::File::options()
        .write(true)
        .open(&path)
        .map_err(|error| kit::stop(&error, "opening for writing"))?;
    file.write_all_at(&bytes, 0)?;
    // Open for writing it is busy for the kernel on most file systems; some overlays do not see that.
    match said(&mut Command::new(&path)) {
        Ok(said) => kit::judge(&said),
        Err(stop) => Err(busy_is_blocked(stop)),
    }
}
