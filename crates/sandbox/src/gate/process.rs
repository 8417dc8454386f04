//! What `/proc` says of a thread that waits for an answer. While it waits it can neither end nor
//! change, so nothing here races; of its process only other threads can change things.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::events::clean;
use crate::sys::about::{self, About};
use crate::sys::other;

/// Most ancestors that are told.
const MAX_DEPTH: usize = 32;
/// Longest path the kernel takes.
const MAX_PATH: usize = 4096;
/// How often a thread is looked at that is about to sleep.
const PAUSE: Duration = Duration::from_micros(20);

/// The pid namespace of a thread.
pub(super) fn namespace(thread: i32) -> Option<u64> {
    fs::metadata(format!("/proc/{thread}/ns/pid"))
        .ok()
        .map(|meta| meta.ino())
}

/// The process and its ancestors up to `init`: ids inside and names.
pub(super) fn tree(thread: i32, init: i32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut next = Status::of(thread).map(|status| status.process);
    while let Some(status) = next
        .and_then(Status::of)
        .filter(|_| found.len() < MAX_DEPTH)
    {
        found.push((status.inside, status.name));
        next = (status.process != init && status.parent > 1).then_some(status.parent);
    }
    found
}

struct Status {
    name: String,
    process: i32,
    parent: i32,
    inside: u32,
}

impl Status {
    fn of(thread: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{thread}/status")).ok()?;
        let field = |name: &str| {
            text.split(|byte| *byte == b'\n')
                .find_map(|line| line.strip_prefix(name.as_bytes()))
        };
        let last = |name: &str| -> Option<i64> {
            let words = std::str::from_utf8(field(name)?).ok()?;
            words.split_ascii_whitespace().next_back()?.parse().ok()
        };
        Some(Self {
            name: clean(field("Name:\t")?),
            process: last("Tgid:")? as i32,
            parent: last("PPid:")? as i32,
            inside: last("NStgid:").or_else(|| last("NSpid:"))? as u32,
        })
    }
}

/// The program a thread's process executes: which file, and its path inside.
pub(super) fn program(thread: i32) -> Option<(About, PathBuf)> {
    let link = format!("/proc/{thread}/exe");
    let path = fs::read_link(&link).ok()?;
    let about = about::at(&CString::new(link).ok()?).ok()?;
    Some((about, path))
}

/// How a thread opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// For reading.
    Read,
    /// Emptying it first.
    Empties,
    /// For writing only: through this open it is neither read nor mapped.
    Writes,
    /// For reading and writing.
    Both,
    /// It cannot be said.
    Unclear,
}

/// The system call a thread is in, with its arguments, which are registers and cannot change.
///
/// Who was seen to open may not have come to sleep yet, and until then the kernel only says that it
/// is running; that long, but no longer than `patience`, this waits.
fn call(thread: i32, patience: Duration) -> Option<(i64, [u64; 6])> {
    let began = Instant::now();
    let text = loop {
        let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
        if !text.starts_with("running") || began.elapsed() >= patience {
            break text;
        }
        // On the same processor it comes to nothing while this one works.
        std::thread::sleep(PAUSE);
    };
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
    }
    Some((number, arguments))
}

/// How the thread opens the file it waits for.
pub(super) fn access(thread: i32, patience: Duration) -> Access {
    let Some((number, arguments)) = call(thread, patience) else {
        return Access::Unclear;
    };
    let flags = match number {
        libc::SYS_openat => arguments[2],
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => arguments[1],
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => return Access::Empties,
        // Who executes a file opens it a second time on the way.
        libc::SYS_execve | libc::SYS_execveat => return Access::Read,
        // The flags of openat2 are in memory, where another thread can change them.
        _ => return Access::Unclear,
    };
    let flags = flags as i32;
    match flags & libc::O_ACCMODE {
        _ if flags & libc::O_TRUNC != 0 => Access::Empties,
        libc::O_RDONLY => Access::Read,
        libc::O_WRONLY => Access::Writes,
        _ => Access::Both,
    }
}

/// The path a thread gave to execve. Another thread may have changed it since the kernel read it.
pub(super) fn executed_path(thread: i32, patience: Duration) -> Option<Vec<u8>> {
    let (number, arguments) = call(thread, patience)?;
    let at = match number {
        libc::SYS_execve => arguments[0],
        libc::SYS_execveat => arguments[1],
        _ => return None,
    };
    let memory = fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut path = vec![0; MAX_PATH];
    // A read may end at a page that is not there: up to the end of the page first.
    let page = (MAX_PATH as u64 - at % MAX_PATH as u64) as usize;
    let mut length = memory.read_at(&mut path[..page], at).ok()?;
    if length == page && !path[..page].contains(&0) {
        length += memory
            .read_at(&mut path[page..], at + page as u64)
            .unwrap_or(0);
    }
    path.truncate(length);
    let end = path.iter().position(|byte| *byte == 0)?;
    path.truncate(end);
    Some(path)
}

/// Whether a thread that was permitted to execute a file has done so or given up; false while it
/// may be on its way.
pub(super) fn is_past_execution(thread: i32, file: &About) -> bool {
    let link = CString::new(format!("/proc/{thread}/exe")).unwrap_or_default();
    let Ok(program) = about::at(&link) else {
        return true;
    };
    if program.inode == file.inode && program.device == file.device {
        return true;
    }
    match fs::read_to_string(format!("/proc/{thread}/syscall")) {
        Err(_) => true,
        // In some call: other than the one that executes, it has come back from it.
        Ok(text) => text
            .split_ascii_whitespace()
            .next()
            .and_then(|number| number.parse::<i64>().ok())
            .is_some_and(|number| number != libc::SYS_execve && number != libc::SYS_execveat),
    }
}

/// Clock ticks that a thread has spent outside the kernel; absent when it has ended.
pub(super) fn time_outside(thread: i32) -> Option<u64> {
    // Of the thread alone: others of its process may run meanwhile.
    let text = fs::read_to_string(format!("/proc/{thread}/task/{thread}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(11)?.parse().ok()
}

/// What a process has open as its standard error.
pub(super) fn stderr_of(thread: i32) -> Option<fs::File> {
    let process = other::pidfd(Status::of(thread)?.process).ok()?;
    other::descriptor_of(process.as_fd(), 2)
        .ok()
        .map(fs::File::from)
}

/// The path of an open file, inside.
pub(super) fn path_of(file: &fs::File) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map(|path| path.as_os_str().as_bytes().to_vec())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_of_a_thread_is_waited_for_until_it_sleeps() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let own = fs::read_link("/proc/thread-self").unwrap();
            let own = own.file_name().unwrap().to_str().unwrap().parse::<i32>();
            tell.send(own.unwrap()).unwrap();
            // On its way for a while, and then asleep.
            let mut sum = 0_u64;
            for number in 0..20_000_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
            std::io::Read::read(&mut &reader, &mut [0]).unwrap()
        });
        let thread = told.recv().unwrap();
        let (number, _) = call(thread, Duration::from_secs(60)).unwrap();
        assert_eq!(number, libc::SYS_read);
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        waiter.join().unwrap();
        // What never sleeps is not waited for any longer.
        let own = fs::read_link("/proc/thread-self").unwrap();
        let own = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(access(own, Duration::ZERO), Access::Unclear);
    }

    #[test]
    fn a_thread_that_computes_is_seen_to_be_outside_the_kernel() {
        let own = crate::sys::creds::process_id();
        let start = time_outside(own).unwrap();
        assert!(time_outside(-1).is_none());
        let mut sum = 0_u64;
        // This thread is not the first one: that one waits, and this one has its own time.
        let thread = fs::read_link("/proc/thread-self").unwrap();
        let thread: i32 = thread
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let first = time_outside(thread).unwrap();
        while time_outside(thread).unwrap() <= first {
            for number in 0..1_000_000 {
                sum = sum.wrapping_add(number ^ sum);
            }
        }
        assert!(std::hint::black_box(sum) > 0 && time_outside(own).unwrap() >= start);
    }
}
