//! Small parts that attacks start as processes of their own.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use super::kit;

/// Does what the words say; the exit code.
pub(crate) fn main(words: &[&str]) -> i32 {
    match words {
        ["dlopen", library] => dlopen(library),
        ["flip", path, one, two, way, millis] => flip(path, one, two, way, millis),
        ["syscall", number] => syscall(number),
        _ => {
            eprint("unknown helper");
            70
        }
    }
}

fn eprint(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn dlopen(library: &str) -> i32 {
    let name = kit::c_path(library);
    // SAFETY: loads a library of the tests; its initialiser only writes a line.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        // SAFETY: after a failure dlerror returns a string that lives until the next call.
        let text = unsafe { CStr::from_ptr(libc::dlerror()) };
        eprint(&text.to_string_lossy());
        return 1;
    }
    0
}

/// Makes the content of a file change for ever between two others.
fn flip(path: &str, one: &str, two: &str, way: &str, millis: &str) -> i32 {
    let end = Instant::now() + Duration::from_millis(millis.parse().unwrap_or(0));
    match super::exec_cache::flip_until(path, one, two, way, end) {
        Ok(()) => 0,
        Err(error) => {
            eprint(&error.to_string());
            1
        }
    }
}

/// Tries one system call, with the arguments that ask keyctl for this session's keys, and says its error number by the exit code.
fn syscall(number: &str) -> i32 {
    match kit::call(
        number.parse().unwrap_or(-1),
        [0, (-3_isize) as usize, 0, 0, 0, 0],
    ) {
        Ok(_) => 0,
        Err(error) => kit::number(&error),
    }
}
