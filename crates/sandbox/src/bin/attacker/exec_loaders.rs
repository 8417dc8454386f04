//! Execution without execve: memory files, mappings, written memory. 8 to 10 of the catalogue.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, at, in_child, run};
use super::outcome::{Attack, Attempt, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-memfd-fexecve",
        8,
        "a file in memory, executed by its descriptor",
        |context| memfd(context, Denied::Tool),
    )
    .carried(),
    Attack::new(
        "exec-memfd-static",
        8,
        "a static program in memory, executed by its descriptor",
        |context| memfd(context, Denied::Tiny),
    )
    .carried(),
    Attack::new(
        "exec-memfd-path",
        8,
        "a file in memory, executed through /proc/self/fd",
        memfd_path,
    )
    .carried(),
    Attack::new(
        "exec-memfd-ldso",
        8,
        "a file in memory, run by the dynamic loader",
        memfd_loader,
    )
    .carried(),
    Attack::new(
        "exec-memfd-library",
        8,
        "a library in memory, loaded by dlopen",
        memfd_library,
    )
    .carried(),
    Attack::new(
        "exec-mmap-exec",
        9,
        "map the denied file executable and jump",
        mmap_original,
    ),
    Attack::new(
        "exec-mmap-exec-copy",
        9,
        "map a copy executable and jump",
        |context| mapped(context, Mapping::Executable),
    )
    .carried(),
    Attack::new(
        "exec-mprotect-exec",
        9,
        "map a copy readable, make it executable afterwards, jump",
        |context| mapped(context, Mapping::MadeExecutable),
    )
    .carried(),
    Attack::new(
        "exec-rwfd-mmap",
        9,
        "write through one descriptor and map it executable without opening it again",
        |context| mapped(context, Mapping::SameDescriptor),
    )
    .carried(),
    Attack::new(
        "exec-rwfd-mmap-shared",
        9,
        "the same with a shared mapping",
        |context| mapped(context, Mapping::SharedDescriptor),
    )
    .carried(),
    Attack::new(
        "exec-mmap-otmpfile",
        9,
        "map a file without a name executable",
        |context| mapped(context, Mapping::Nameless),
    )
    .carried(),
    Attack::new(
        "exec-read-implies-exec",
        9,
        "let the personality make every readable mapping executable",
        |context| mapped(context, Mapping::Personality),
    )
    .carried(),
    Attack::new(
        "exec-dual-map",
        9,
        "map one file twice, writable and executable",
        dual_map,
    )
    .carried(),
    Attack::new(
        "exec-shm-dual",
        9,
        "map a file of /dev/shm twice, writable and executable",
        shm_dual,
    )
    .carried(),
    Attack::new(
        "exec-sysv-shm",
        9,
        "attach System V memory executable",
        sysv,
    )
    .carried(),
    Attack::new(
        "exec-anon-wx",
        10,
        "write memory, make it executable, jump",
        |context| anonymous(context, false),
    )
    .carried(),
    Attack::new(
        "exec-anon-rwx",
        10,
        "memory that is writable and executable at once",
        |context| anonymous(context, true),
    )
    .carried(),
    Attack::new("exec-heap-exec", 10, "make the heap executable", heap).carried(),
    Attack::new(
        "exec-proc-self-mem",
        10,
        "overwrite own code through /proc/self/mem",
        own_code,
    )
    .carried(),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mapping {
    Executable,
    MadeExecutable,
    SameDescriptor,
    SharedDescriptor,
    Nameless,
    Personality,
}

const PAGE: usize = 4096;

fn machine() -> Result<(), Stop> {
    if cfg!(target_arch = "x86_64") {
        Ok(())
    } else {
        Err(Stop::NotApplicable(
            "the small program is for x86-64".into(),
        ))
    }
}

fn memory_file(bytes: &[u8]) -> Result<fs::File, Stop> {
    let name = c"attack";
    // SAFETY: the name outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), 0) };
    if fd < 0 {
        return Err(kit::stop(&io::Error::last_os_error(), "memfd_create"));
    }
    let mut file = kit::own(i64::from(fd));
    file.write_all(bytes)?;
    Ok(file)
}

fn memfd(context: &Context, denied: Denied) -> Attempt {
    let file = memory_file(&context.bytes(denied)?)?;
    in_child(|| {
        at(
            "execveat of a memory file",
            kit::exec_fd(file.as_raw_fd(), "", libc::AT_EMPTY_PATH),
        )
    })
}

fn memfd_path(context: &Context) -> Attempt {
    let file = memory_file(&context.bytes(Denied::Tool)?)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    in_child(|| {
        at(
            "execve of a memory file",
            kit::exec_fd(libc::AT_FDCWD, &path, 0),
        )
    })
}

fn memfd_loader(context: &Context) -> Attempt {
    let file = memory_file(&context.bytes(Denied::Tool)?)?;
    // The child inherits the descriptor: it was made without close-on-exec.
    run(Command::new(kit::loader()?).arg(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

fn memfd_library(context: &Context) -> Attempt {
    let file = memory_file(&context.bytes(Denied::Library)?)?;
    run(super::exec_ldso::myself()?
        .args(["--helper", "dlopen"])
        .arg(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// Maps memory, or says why not.
fn map(address: usize, length: usize, protection: i32, flags: i32, fd: i32) -> io::Result<usize> {
    kit::call(
        libc::SYS_mmap,
        [
            address,
            length,
            protection as usize,
            flags as usize,
            fd as usize,
            0,
        ],
    )
    .map(|address| address as usize)
}

fn protect(address: usize, length: usize, protection: i32) -> io::Result<()> {
    kit::call(
        libc::SYS_mprotect,
        [address, length, protection as usize, 0, 0, 0],
    )
    .map(drop)
}

/// Enters code at an address. It writes a line and ends the process.
fn jump(address: usize) {
    // SAFETY: the caller has put the small program's code there; it never returns.
    let enter: extern "C" fn() = unsafe { std::mem::transmute(address) };
    enter();
}

/// The small program's code lies behind its headers and works wherever it is mapped.
const ENTRY: usize = 120;

fn mmap_original(context: &Context) -> Attempt {
    machine()?;
    let file = fs::File::open(context.path(Denied::Tiny)?)
        .map_err(|error| kit::stop(&error, "opening the denied program"))?;
    in_child(|| {
        let address = at(
            "mmap with PROT_EXEC",
            map(
                0,
                PAGE,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
            ),
        )?;
        jump(address + ENTRY);
        Ok(())
    })
}

fn mapped(context: &Context, mapping: Mapping) -> Attempt {
    machine()?;
    let bytes = context.bytes(Denied::Tiny)?;
    let place = context.place()?;
    let mut options = fs::File::options();
    options.read(true).write(true);
    let path = place.join("data");
    let mut file = if mapping == Mapping::Nameless {
        use std::os::unix::fs::OpenOptionsExt;
        options
            .custom_flags(libc::O_TMPFILE)
            .mode(0o600)
            .open(&place)
    } else {
        options.create_new(true).open(&path)
    }
    .map_err(|error| kit::stop_or(&error, "making the file", &[libc::EOPNOTSUPP]))?;
    file.write_all(&bytes)?;
    if matches!(
        mapping,
        Mapping::Executable | Mapping::MadeExecutable | Mapping::Personality
    ) {
        file = fs::File::open(&path).map_err(|error| kit::stop(&error, "opening the copy"))?;
    }
    let fd = file.as_raw_fd();
    let (read, executable) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC);
    in_child(|| {
        let address = match mapping {
            Mapping::MadeExecutable => {
                let address = at("mmap", map(0, PAGE, read, libc::MAP_PRIVATE, fd))?;
                at(
                    "mprotect with PROT_EXEC",
                    protect(address, PAGE, executable),
                )?;
                address
            }
            Mapping::SharedDescriptor => at(
                "mmap with PROT_EXEC, shared",
                map(0, PAGE, executable, libc::MAP_SHARED, fd),
            )?,
            Mapping::Personality => {
                const READ_IMPLIES_EXEC: usize = 0x0040_0000;
                at(
                    "personality",
                    kit::call(libc::SYS_personality, [READ_IMPLIES_EXEC, 0, 0, 0, 0, 0]),
                )?;
                let address = at("mmap", map(0, PAGE, read, libc::MAP_PRIVATE, fd))?;
                let maps = at("reading maps", fs::read_to_string("/proc/self/maps"))?;
                // On a mount that forbids execution the personality changes nothing.
                if !maps
                    .lines()
                    .any(|line| line.starts_with(&format!("{address:x}-")) && line.contains("r-xp"))
                {
                    return at(
                        "the mapping did not become executable",
                        Err(io::Error::from_raw_os_error(libc::EACCES)),
                    );
                }
                address
            }
            _ => at(
                "mmap with PROT_EXEC",
                map(0, PAGE, executable, libc::MAP_PRIVATE, fd),
            )?,
        };
        jump(address + ENTRY);
        Ok(())
    })
}

fn dual_map(context: &Context) -> Attempt {
    let place = context.place()?;
    dual(context, &place.join("data"))
}

fn shm_dual(context: &Context) -> Attempt {
    let place = context.place_in("/dev/shm".as_ref())?;
    dual(context, &place.join("data"))
}

fn dual(context: &Context, path: &std::path::Path) -> Attempt {
    machine()?;
    let code = own_code_bytes(context)?;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.set_len(PAGE as u64)?;
    let fd = file.as_raw_fd();
    in_child(|| {
        let executable = at(
            "mmap with PROT_EXEC, shared",
            map(
                0,
                PAGE,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_SHARED,
                fd,
            ),
        )?;
        let writable = at(
            "mmap with PROT_WRITE, shared",
            map(
                0,
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
            ),
        )?;
        put(writable, &code);
        jump(executable);
        Ok(())
    })
}

/// The code of the denied program, cut from its bytes.
fn own_code_bytes(context: &Context) -> Result<Vec<u8>, Stop> {
    let bytes = context.bytes(Denied::Tiny)?;
    bytes
        .get(ENTRY..)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Stop::Fault("the denied program is too short".into()))
}

fn put(address: usize, bytes: &[u8]) {
    // SAFETY: the caller mapped a writable page there, which the code does not fill.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

fn sysv(context: &Context) -> Attempt {
    machine()?;
    let code = own_code_bytes(context)?;
    in_child(|| {
        // SAFETY: plain calls; the memory is removed before it is used, and goes with this process.
        let (id, address) = unsafe {
            let id = libc::shmget(libc::IPC_PRIVATE, PAGE, 0o700);
            let address = libc::shmat(id, std::ptr::null(), libc::SHM_EXEC);
            let error = io::Error::last_os_error();
            libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
            if address as isize == -1 {
                return at("shmat with SHM_EXEC", Err(error));
            }
            (id, address as usize)
        };
        if id < 0 {
            return at("shmget", Err(io::Error::last_os_error()));
        }
        put(address, &code);
        jump(address);
        Ok(())
    })
}

fn anonymous(context: &Context, at_once: bool) -> Attempt {
    machine()?;
    let code = own_code_bytes(context)?;
    let (write, execute) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::PROT_READ | libc::PROT_EXEC,
    );
    in_child(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let protection = if at_once { write | execute } else { write };
        let address = at("mmap of memory", map(0, PAGE, protection, flags, -1))?;
        put(address, &code);
        if !at_once {
            at("mprotect with PROT_EXEC", protect(address, PAGE, execute))?;
        }
        jump(address);
        Ok(())
    })
}

fn heap(context: &Context) -> Attempt {
    machine()?;
    let code = own_code_bytes(context)?;
    in_child(|| {
        // SAFETY: grows the heap by two pages that nothing else uses.
        let start = unsafe { libc::sbrk(2 * PAGE as isize) } as usize;
        let page = start.next_multiple_of(PAGE);
        put(page, &code);
        at(
            "mprotect of the heap",
            protect(
                page,
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            ),
        )?;
        jump(page);
        Ok(())
    })
}

/// A function to overwrite; long enough for the code.
#[inline(never)]
extern "C" fn overwritten() {
    // Enough different work that it is not shortened.
    for number in 0..64_u64 {
        std::hint::black_box(
            number
                .wrapping_mul(0x9e37_79b9)
                .rotate_left(7)
                .wrapping_add(number)
                .to_string(),
        );
        std::hint::black_box(format!("{number:x}{number:o}{number:b}"));
    }
}

fn own_code(context: &Context) -> Attempt {
    machine()?;
    let code = own_code_bytes(context)?;
    in_child(|| {
        use std::os::unix::fs::FileExt;
        let memory = at(
            "opening /proc/self/mem",
            fs::File::options().write(true).open("/proc/self/mem"),
        )?;
        let address = overwritten as *const () as usize;
        memory
            .write_all_at(&code, address as u64)
            .or_else(|error| {
                // A kernel may refuse to write over what is not writable.
                let refused = if kit::number(&error) == libc::EIO {
                    io::Error::from_raw_os_error(libc::EACCES)
                } else {
                    error
                };
                at("writing over own code", Err(refused))
            })?;
        overwritten();
        Ok(())
    })
}
