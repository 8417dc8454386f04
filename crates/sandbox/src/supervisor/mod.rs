//! The supervisor: a single-threaded process that clones environments.
//!
//! It is this same program, executed again before any thread or async runtime starts. That keeps it
//! small (a clone copies its page tables), keeps fork safe, and lets the server itself hold no
//! privilege. It knows nothing of steps: each environment talks to its client directly.
//!
//! It ends when its client's end of the socket closes, and with it every environment, because each
//! init has asked to die with it. (It does not ask to die with its parent: the kernel would take
//! that to mean the thread that happened to start it.)

mod accept;
mod guard;
mod shares;
pub(crate) mod template;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::cgroup::Groups;
use crate::gate::masks;
use crate::identity;
use crate::message::{Create, Failure, Stage};
use crate::sys::seccomp::Filter;
use crate::sys::{creds, file, mount, net, process, socket};
use crate::wire::Writer;
pub(crate) use shares::Shares;
use template::{Template, Wanted};

/// First argument that turns this program into a supervisor; the second is the number of its socket.
pub(crate) const ARGUMENT: &str = "__supervisor";

/// How often the gate is looked at while environments rely on it.
const LOOK: Duration = Duration::from_secs(1);

/// What every new environment is made from.
pub(crate) struct Workshop {
    /// System call filter, compiled once.
    pub(crate) filter: Filter,
    /// Host user and group that user 0 of an environment is.
    pub(crate) identity: identity::Identity,
    /// Readable end of a pipe whose other end only the supervisor holds: closed means it is dead.
    pub(crate) alive: OwnedFd,
    /// This process, as the host numbers it.
    pub(crate) process_id: i32,
    /// Where environments are limited, frozen and counted as a whole.
    pub(crate) groups: Groups,
    /// How much one environment may take of what the host counts per user.
    pub(crate) shares: Shares,
    /// Bait of the self-test: nothing inside may reach these.
    pub(crate) bait: Bait,
    /// Assembled roots.
    templates: HashMap<Wanted, Template>,
    /// Roots of one environment each, by the process id of its init.
    single: HashMap<i32, Template>,
    /// How many roots were assembled.
    assembled: usize,
    /// Exec control by content.
    pub(crate) guard: guard::Guard,
}

/// Listening sockets of the host that an environment must not reach.
pub(crate) struct Bait {
    /// A port of the host's loopback, when it has one.
    pub(crate) port: Option<u16>,
    /// An abstract unix socket.
    pub(crate) name: Vec<u8>,
    _tcp: Option<TcpListener>,
    _unix: OwnedFd,
}

/// Runs the supervisor and exits if this process was started as one; otherwise returns at once.
///
/// Call it first thing in `main`, before any thread exists.
#[expect(
    clippy::exit,
    reason = "this is the main function of the supervisor process"
)]
pub fn run_if_requested() {
    crate::vm::run_if_requested();
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|argument| argument != ARGUMENT) {
        return;
    }
    let number = arguments
        .next()
        .and_then(|number| number.to_str()?.parse().ok());
    let Some(Ok(socket)) = number.map(file::adopt) else {
        std::process::exit(64);
    };
    std::process::exit(run(&socket));
}

fn run(socket: &OwnedFd) -> i32 {
    let (mut workshop, children, _alive) = match prepare() {
        Ok(prepared) => prepared,
        Err(failure) => {
            let _ = socket::send(socket.as_fd(), &hello(Some(&failure)), &[]);
            return 1;
        }
    };
    if socket::send(socket.as_fd(), &hello(None), &[]).is_err() {
        return 0;
    }
    let code = serve(&mut workshop, socket, &children);
    clear(&mut workshop);
    code
}

/// Serves until the client is gone.
fn serve(workshop: &mut Workshop, socket: &OwnedFd, children: &OwnedFd) -> i32 {
    let mut buffer = vec![0; socket::MAX_INLINE];
    loop {
        let look = workshop.guard.is_running().then_some(LOOK);
        let Ok([request, ended]) = process::poll([socket.as_fd(), children.as_fd()], look) else {
            return 1;
        };
        if ended {
            reap(workshop, children);
        }
        workshop.guard.look();
        if request {
            match socket::receive(socket.as_fd(), &mut buffer) {
                Ok(Some((length, fds))) => {
                    if let Some(link) = fds.into_iter().next() {
                        accept::accept(workshop, &buffer[..length], &link);
                    }
                }
                // A message too large: its descriptors are closed, so its sender learns of it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(None) | Err(_) => return 0,
            }
        }
    }
}

/// The first message to the client: an empty failure means ready.
fn hello(failure: Option<&Failure>) -> Vec<u8> {
    let mut to = Writer::default();
    match failure {
        None => to.byte(0),
        Some(failure) => to
            .byte(1)
            .bytes(failure.stage.as_bytes())
            .number(failure.errno as u64),
    };
    to.finish()
}

/// Ends what would end with this process, to clear away what the kernel leaves of it.
fn clear(workshop: &mut Workshop) {
    let inits = workshop.groups.inits();
    // All at once, so that they die beside each other.
    for pid in &inits {
        let _ = process::kill(*pid, libc::SIGKILL);
    }
    for pid in inits {
        let _: Option<process::Waited> = process::wait_for(pid).ok();
        workshop.groups.bury(pid);
    }
    workshop.groups.finish();
}

fn reap(workshop: &mut Workshop, children: &OwnedFd) {
    use std::io::Read;
    if let Ok(signals) = children.try_clone() {
        // The content is of no interest: one signal may stand for many children.
        let _ = std::fs::File::from(signals).read(&mut [0; 128]);
    }
    while let Ok(process::Waited::Reaped(reaped)) = process::wait_any(false) {
        workshop.groups.bury(reaped.pid);
        if let Some(template) = workshop.single.remove(&reaped.pid) {
            discard(&template);
        }
        workshop.guard.ended(reaped.pid);
    }
}

/// Leaves the host's session and mount namespace, and sets out what environments need.
fn prepare() -> Result<(Workshop, OwnedFd, OwnedFd), Failure> {
    process::set_name(c"nc-supervisor");
    // A terminal's Ctrl-C is for the server, which then lets its environments finish.
    process::new_session().stage("start a session")?;
    process::reset_signals();
    file::set_umask(0o022);
    let _ = std::env::set_current_dir("/");
    let identity = identity::current();
    if creds::effective_uid() == 0 {
        creds::drop_groups().stage("drop supplementary groups")?;
        process::unshare(libc::CLONE_NEWNS).stage("make a mount namespace")?;
    } else {
        own_user_namespace()?;
    }
    // Mounts made on the host later still arrive here; none of ours leave.
    mount::set_propagation(c"/", libc::MS_SLAVE).stage("separate mounts from the host")?;
    // While /sys is still the host's.
    let server = std::os::unix::process::parent_id();
    let groups = Groups::find(&[std::process::id(), server]);
    template::make_place()?;
    let (alive, anchor) = file::pipe().stage("make a pipe")?;
    let process_id = creds::process_id();
    let name = format!("nightcrew-bait-{process_id}").into_bytes();
    let tcp = net::listen_tcp_loopback().ok();
    let workshop = Workshop {
        filter: Filter::compile(),
        identity,
        alive,
        process_id,
        groups,
        shares: Shares::of_host(),
        bait: Bait {
            port: tcp.as_ref().map(|(_, port)| *port),
            _unix: net::listen_abstract(&name).stage("listen on an abstract socket")?,
            name,
            _tcp: tcp.map(|(listener, _)| listener),
        },
        templates: HashMap::new(),
        single: HashMap::new(),
        assembled: 0,
        guard: guard::Guard::default(),
    };
    let children = process::child_signals().stage("watch children")?;
    Ok((workshop, children, anchor))
}

/// Without root, mounts are possible only in a user namespace of one's own.
fn own_user_namespace() -> Result<(), Failure> {
    let (uid, gid) = (creds::effective_uid(), creds::effective_gid());
    process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).stage("make a user namespace")?;
    file::write_once(c"/proc/self/setgroups", b"deny").stage("deny setgroups")?;
    file::write_once(c"/proc/self/gid_map", format!("0 {gid} 1").as_bytes())
        .stage("map the group")?;
    file::write_once(c"/proc/self/uid_map", format!("0 {uid} 1").as_bytes())
        .stage("map the user")?;
    Ok(())
}

/// Where a template is.
fn place(template: &Template) -> &Path {
    Path::new(OsStr::from_bytes(template.path.to_bytes()))
}

/// Gives up a root that was made for one environment alone.
fn discard(template: &Template) {
    template::discard(template);
    masks::discard(place(template));
}

impl Workshop {
    /// The assembled root for a request, made on first use.
    pub(crate) fn template(&mut self, request: &Create) -> Result<Template, Failure> {
        let wanted = Wanted::of(request);
        if let Some(ready) = self.templates.get(&wanted) {
            return Ok(ready.clone());
        }
        self.assembled += 1;
        let mut template = template::build(self.assembled, &wanted)?;
        // Without a gate the masks are what a denial is.
        template.unhidden = masks::hide(place(&template), self.assembled, request)?;
        if !wanted.is_for_one() {
            self.templates.insert(wanted, template.clone());
        }
        Ok(template)
    }

    /// Remembers whose root a template is, when it is of one environment alone; without an init it
    /// is nobody's.
    fn assign(&mut self, template: Template, request: &Create, init: Option<i32>) {
        if !Wanted::of(request).is_for_one() {
            return;
        }
        match init {
            Some(init) => drop(self.single.insert(init, template)),
            None => discard(&template),
        }
    }
}
