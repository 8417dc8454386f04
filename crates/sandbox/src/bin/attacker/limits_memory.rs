//! Using memory up: 49 of the catalogue. Every bomb has a bound of its own.

use std::io;

use super::kit::{self};
use super::limits::{end, limit};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "proc-memory-bomb",
        49,
        "use more memory than the environment may, in one process",
        |_| memory(1),
    )
    .uncontrolled(),
    Attack::new(
        "proc-memory-bomb-many",
        49,
        "use more memory than the environment may, in many processes",
        |_| memory(8),
    )
    .uncontrolled(),
    Attack::new(
        "proc-pipe-bomb",
        49,
        "hold very much memory in pipes",
        |_| pipes(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-shm-bomb",
        49,
        "hold very much System V memory",
        |_| shared_memory(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-queue-bomb",
        49,
        "hold very much memory in message queues",
        |_| queues(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-lock-memory",
        49,
        "lock memory so that the host cannot use it",
        |_| lock(),
    )
    .root(),
    Attack::new(
        "proc-sockets-bomb",
        49,
        "hold very many connections and their memory",
        |_| sockets(),
    )
    .uncontrolled(),
];

/// Touches memory up to a quarter more than allowed, shared out over processes.
fn memory(processes: u64) -> Attempt {
    let allowed = limit("LIMIT_MEMORY", 1 << 30);
    let each = (allowed + allowed / 4) / processes;
    let mut children = Vec::new();
    let (mut ready, report) = io::pipe()?;
    for _ in 0..processes {
        // SAFETY: this program has one thread; the child makes plain calls only.
        let child = unsafe { libc::fork() };
        if child < 0 {
            end(&children);
            return Err(kit::stop_or(
                &io::Error::last_os_error(),
                "fork",
                &[libc::EAGAIN, libc::ENOMEM],
            ));
        }
        if child == 0 {
            use std::io::Write;
            let mut report = report;
            // SAFETY: maps new memory; touched page by page below.
            let address = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    each as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            let ok = address != libc::MAP_FAILED;
            if ok {
                for offset in (0..each as usize).step_by(4096) {
                    // SAFETY: inside the mapping made above.
                    unsafe { address.cast::<u8>().add(offset).write_volatile(1) };
                }
            }
            let _ = report.write_all(&[u8::from(ok)]);
            drop(report);
            loop {
                // SAFETY: plain call; the parent ends this process.
                unsafe { libc::pause() };
            }
        }
        children.push(child);
    }
    drop(report);
    // Everybody holds what it got until all have reported, or were killed.
    let mut answers = [0; 1];
    let mut held = 0;
    for _ in 0..processes {
        match io::Read::read(&mut ready, &mut answers) {
            Ok(1) if answers[0] == 1 => held += 1,
            _ => break,
        }
        // Who was killed no longer holds anything.
        for child in &children {
            let mut status = 0;
            // SAFETY: asks for a child made above.
            if unsafe { libc::waitpid(*child, &raw mut status, libc::WNOHANG) } == *child {
                end(&children);
                return Ok(Outcome::Blocked(
                    "a process was killed for its memory".into(),
                ));
            }
        }
    }
    end(&children);
    if held == processes {
        Ok(Outcome::Bypass(format!(
            "{} MiB held in {processes} processes; {} MiB were allowed",
            (each * processes) >> 20,
            allowed >> 20
        )))
    } else {
        Ok(Outcome::Blocked(format!(
            "{held} of {processes} processes got their memory"
        )))
    }
}

fn pipes() -> Attempt {
    let mut held = Vec::new();
    let mut bytes = 0;
    let allowed = limit("LIMIT_MEMORY", 1 << 30);
    loop {
        let (read, write) = match io::pipe() {
            Ok(pair) => pair,
            Err(error) => {
                return Ok(Outcome::Blocked(format!(
                    "{} with {} MiB in pipes",
                    kit::name(kit::number(&error)),
                    bytes >> 20
                )));
            }
        };
        use std::os::fd::AsRawFd;
        // SAFETY: plain calls on an own descriptor.
        let size = unsafe {
            libc::fcntl(write.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
            libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20)
        };
        let mut filler = write.try_clone()?;
        let block = [0_u8; 65536];
        while let Ok(count @ 1..) = io::Write::write(&mut filler, &block) {
            bytes += count as u64;
        }
        held.push((read, write, size));
        if bytes > allowed {
            return Ok(Outcome::Bypass(format!(
                "{} MiB in pipes; {} MiB were allowed",
                bytes >> 20,
                allowed >> 20
            )));
        }
    }
}

fn shared_memory() -> Attempt {
    let (mut made, mut problem) = (Vec::new(), None);
    let allowed = limit("LIMIT_MEMORY", 1 << 30);
    let each = 64_usize << 20;
    while (made.len() * each) as u64 <= allowed {
        // SAFETY: plain calls; every segment is removed below.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, each, 0o600) };
        if id < 0 {
            problem = Some(io::Error::last_os_error());
            break;
        }
        made.push(id);
        // SAFETY: as above; touched so that it takes memory.
        let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        if address as isize == -1 {
            problem = Some(io::Error::last_os_error());
            break;
        }
        for offset in (0..each).step_by(4096) {
            // SAFETY: inside the segment.
            unsafe { address.cast::<u8>().add(offset).write_volatile(1) };
        }
    }
    for id in &made {
        // SAFETY: plain call.
        unsafe { libc::shmctl(*id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
    match problem {
        Some(error) => Ok(Outcome::Blocked(format!(
            "{} with {} MiB",
            kit::name(kit::number(&error)),
            (made.len() * each) >> 20
        ))),
        None => Ok(Outcome::Bypass(format!(
            "{} MiB of System V memory; {} MiB were allowed",
            (made.len() * each) >> 20,
            allowed >> 20
        ))),
    }
}

fn queues() -> Attempt {
    let mut bytes = 0_u64;
    let mut number = 0;
    while number < 300 {
        number += 1;
        // SAFETY: plain calls; queues go with the namespace, which goes with the environment.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        if id < 0 {
            return Ok(Outcome::Blocked(format!(
                "{} after {number} queues, {} MiB",
                kit::name(kit::number(&io::Error::last_os_error())),
                bytes >> 20
            )));
        }
        let message = [1_u64; 1025];
        // SAFETY: the message outlives the call.
        while unsafe { libc::msgsnd(id, message.as_ptr().cast(), 8192, libc::IPC_NOWAIT) } == 0 {
            bytes += 8192;
        }
    }
    Ok(Outcome::Blocked(format!(
        "{number} queues hold {} MiB: bounded by the namespace",
        bytes >> 20
    )))
}

fn lock() -> Attempt {
    const LENGTH: usize = 64 << 20;
    // SAFETY: maps new memory, given back with this process.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LENGTH,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Stop::Blocked("mmap".into()));
    }
    // SAFETY: inside the mapping.
    if unsafe { libc::mlock(address, LENGTH) } == 0 {
        return Ok(Outcome::Bypass("64 MiB are locked".into()));
    }
    Err(kit::stop_or(
        &io::Error::last_os_error(),
        "mlock of 64 MiB",
        &[libc::ENOMEM, libc::EAGAIN],
    ))
}

fn sockets() -> Attempt {
    let mut held = Vec::new();
    let allowed = limit("LIMIT_MEMORY", 1 << 30);
    let mut bytes = 0_u64;
    let block = [0_u8; 65536];
    loop {
        let (mut one, two) = match std::os::unix::net::UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => {
                return Ok(Outcome::Blocked(format!(
                    "{} with {} MiB in sockets",
                    kit::name(kit::number(&error)),
                    bytes >> 20
                )));
            }
        };
        one.set_nonblocking(true)?;
        while let Ok(count @ 1..) = io::Write::write(&mut one, &block) {
            bytes += count as u64;
        }
        held.push((one, two));
        if bytes > allowed {
            return Ok(Outcome::Bypass(format!(
                "{} MiB in sockets; {} MiB were allowed",
                bytes >> 20,
                allowed >> 20
            )));
        }
    }
}
