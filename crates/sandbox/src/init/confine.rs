//! Giving up everything steps must not have. After this the init is as weak as they are.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use crate::exec_policy::ExecMode;
use crate::message::{Create, Failure, Stage};
use crate::supervisor::Workshop;
use crate::sys::landlock::{self, Access, Ruleset};
use crate::sys::{c_path, creds, memory, process};

/// Folders of the root that hold nothing that may execute when writable folders may not.
const NO_PROGRAMS: [&str; 9] = [
    "dev",
    "home",
    "mnt",
    "nightcrew",
    "proc",
    "run",
    "sys",
    "tmp",
    "work",
];

/// What came to be in force.
#[derive(Default)]
pub(super) struct Confined {
    pub(super) layers: Vec<String>,
    pub(super) weaker: Vec<String>,
    /// Version of Landlock in force; 0 when none.
    pub(super) landlock: u32,
    /// Whether memory can no longer become executable.
    pub(super) no_new_code: bool,
}

/// Drops privileges for good, in the order in which each still permits the next.
pub(super) fn confine(workshop: &Workshop, request: &Create) -> Result<Confined, Failure> {
    let mut confined = Confined::default();
    creds::drop_capabilities().stage("drop capabilities")?;
    creds::forbid_new_privileges().stage("forbid new privileges")?;
    creds::forbid_inspection().stage("close the init to inspection")?;
    // After the last change of credentials, which would clear it.
    process::die_with_parent(libc::SIGKILL).stage("die with the supervisor")?;
    if process::hung_up(workshop.alive.as_fd()) {
        return Err(Failure {
            stage: "find the supervisor".to_owned(),
            errno: libc::ESRCH,
        });
    }
    // With 0 the kernel would still start a core dump handler on the host, if it has one. Here,
    // because the filter lets nobody change it afterwards.
    process::limit(libc::RLIMIT_CORE, 1).stage("limit core dumps")?;
    files(request, &mut confined)?;
    new_code(request, &mut confined);
    workshop.filter.apply().stage("filter system calls")?;
    let always = ["rlimits", "no-capabilities", "no-new-privs", "seccomp"];
    confined.layers.extend(always.map(str::to_owned));
    Ok(confined)
}

/// The second wall around files: what the mounts say, said again to Landlock, and that nothing in
/// /proc is written.
fn files(request: &Create, confined: &mut Confined) -> Result<(), Failure> {
    let version = landlock::version();
    let strict = request.exec.mode == ExecMode::Strict;
    if strict && request.root.writable.is_some() {
        let weaker = "the root is written to and executes: what strict says of writable folders does not hold for it";
        confined.weaker.push(weaker.to_owned());
    }
    if strict && (version == 0 || request.root.writable.is_some()) {
        let weaker =
            "a process can write its own code through /proc/self/mem, which only Landlock refuses";
        confined.weaker.push(weaker.to_owned());
    }
    if version == 0 {
        let weaker = "Landlock is absent: files are kept apart by mounts alone";
        confined.weaker.push(weaker.to_owned());
        return Ok(());
    }
    let whole = landlock::WHOLE;
    if version < whole {
        confined.weaker.push(format!(
            "Landlock is of version {version}, below {whole}: it covers files only in part, and neither signals nor abstract sockets"
        ));
    }
    let stage = "rule over files";
    let rules = Ruleset::new(version).stage(stage)?;
    let permit = |path: &CStr, access: Access| rules.permit(path, access).stage(stage);
    let root = if request.root.writable.is_some() {
        Access::READ.and(Access::EXECUTE).and(Access::CHANGE)
    } else if request.exec.mode == ExecMode::Strict {
        for program in programs(request).stage(stage)? {
            permit(&program, Access::EXECUTE)?;
        }
        Access::READ
    } else {
        Access::READ.and(Access::EXECUTE)
    };
    permit(c"/", root)?;
    permit(c"/dev", Access::DEVICES)?;
    for folder in writable(request).stage(stage)? {
        permit(&folder, Access::CHANGE)?;
    }
    rules.enforce().stage(stage)?;
    confined.landlock = version;
    confined.layers.push("landlock".to_owned());
    Ok(())
}

/// Folders that environments write to.
pub(super) fn writable(request: &Create) -> std::io::Result<Vec<CString>> {
    let always = [
        c"/work",
        c"/home/agent",
        c"/tmp",
        c"/run",
        c"/dev/shm",
        c"/nightcrew/out",
    ];
    let mounts = request.mounts.iter().filter(|mount| mount.writable);
    always
        .into_iter()
        .map(|folder| Ok(folder.to_owned()))
        .chain(request.also.iter().map(|place| c_path(place)))
        .chain(mounts.map(|mount| c_path(&mount.target)))
        .collect()
}

/// Folders that programs may be executed from when writable ones are none of them.
fn programs(request: &Create) -> std::io::Result<Vec<CString>> {
    let mut programs = vec![c"/nightcrew/bin".to_owned()];
    for entry in std::fs::read_dir("/")? {
        let name = entry?.file_name();
        if NO_PROGRAMS.iter().all(|without| name != *without) {
            programs.push(c_path(&Path::new("/").join(name))?);
        }
    }
    for folder in &request.root.extra {
        programs.push(c_path(folder)?);
    }
    for mount in request.mounts.iter().filter(|mount| !mount.writable) {
        programs.push(c_path(&mount.target)?);
    }
    Ok(programs)
}

/// W^X, where the policy asks for it.
fn new_code(request: &Create, confined: &mut Confined) {
    if request.exec.mode != ExecMode::Strict {
        return;
    }
    match memory::forbid_new_code() {
        Ok(()) => {
            confined.no_new_code = true;
            confined.layers.push("wx".to_owned());
        }
        Err(error) => confined.weaker.push(format!(
            "memory can become executable after it was writable: {error}; Linux 6.3 or later forbids it"
        )),
    }
}
