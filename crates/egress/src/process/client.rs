//! The parent's side: spawns the broker, hands it environments, and takes what it reports.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use model::network::NetworkDefinition;
use tokio::runtime::Handle;

use crate::broker::batches::Batch;
use crate::broker::volume::Used;
use crate::broker::{Scope, Sockets};
use crate::budget::BudgetPort;
use crate::process::link::{Link, listen};
use crate::process::message::{Attach, Attached, Done, Placeholder, Secret, Start, Wish};
use crate::process::{ProcessError, wire};

/// Takes what the broker reports.
pub trait Listener: Send + Sync + 'static {
    /// What happened in an environment. Must not block for long.
    fn events(&self, environment: &str, batch: Batch);

    /// The broker's process ended. These environments have no network until they are remade; what
    /// happened in them since the last events is not known.
    fn lost(&self, environments: Vec<String>);
}

/// How the broker's process is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments: the hidden command that calls [`crate::process::serve::serve`] with its
    /// standard input.
    pub arguments: Vec<String>,
}

/// A broker in a process of its own. It is started at the first need, and again after it ended.
pub struct Client {
    program: Program,
    start: Start,
    listener: Arc<dyn Listener>,
    budget: Arc<dyn BudgetPort>,
    runtime: Handle,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    stopped: Mutex<BTreeSet<Scope>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a client; nothing is started yet. Questions about the budget are answered on
    /// `runtime`.
    #[must_use]
    pub fn new(
        program: Program,
        start: Start,
        listener: Arc<dyn Listener>,
        budget: Arc<dyn BudgetPort>,
        runtime: Handle,
    ) -> Self {
        Self {
            program,
            start,
            listener,
            budget,
            runtime,
            link: tokio::sync::Mutex::default(),
            stopped: Mutex::default(),
        }
    }

    /// The certificate, as PEM, that an environment of this id has to trust from its beginning. The
    /// next attach of the id is served with it, unless the process ends in between.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn prepare(&self, environment: &str) -> Result<String, ProcessError> {
        let wish = Wish::Prepare(environment.to_owned());
        match self.link().await?.ask(wish, &[]).await? {
            Done::Prepared(certificate) => Ok(certificate),
            _ => Err(ProcessError::Silent),
        }
    }

    /// Has one more environment served. What `attach` says of its sockets is set here.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn attach(
        &self,
        mut attach: Attach,
        sockets: Sockets,
    ) -> Result<Attached, ProcessError> {
        attach.tcp = sockets.tcp.iter().map(|(port, _)| *port).collect();
        attach.dns = sockets.dns.len();
        attach.packets = sockets.packets.is_some();
        let environment = attach.environment.clone();
        let tcp = sockets.tcp.iter().map(|(_, socket)| socket);
        let all: Vec<BorrowedFd<'_>> = tcp
            .chain(&sockets.dns)
            .chain(&sockets.packets)
            .map(OwnedFd::as_fd)
            .collect();
        if all.len() > wire::MOST_DESCRIPTORS {
            let why = "these are too many sockets";
            return Err(ProcessError::Refused(String::from(why)));
        }
        let link = self.link().await?;
        match link.ask(Wish::Attach(Box::new(attach)), &all).await? {
            Done::Attached(attached) => {
                link.serves(environment);
                Ok(attached)
            }
            _ => Err(ProcessError::Silent),
        }
    }

    /// Ends the service of an environment, and says what it used of its bounds.
    ///
    /// # Errors
    /// [`ProcessError`]; when the process is gone, so is the service.
    pub async fn detach(&self, environment: &str) -> Result<Option<Used>, ProcessError> {
        let link = self.living().await?;
        link.serves_no_more(environment);
        match link.ask(Wish::Detach(environment.to_owned()), &[]).await? {
            Done::Used(used) => Ok(used),
            _ => Ok(None),
        }
    }

    /// Changes what an environment may do. New credentials have new placeholders.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn update(
        &self,
        environment: &str,
        network: Option<NetworkDefinition>,
        secrets: Option<Vec<Secret>>,
    ) -> Result<Vec<Placeholder>, ProcessError> {
        let wish = Wish::Update {
            environment: environment.to_owned(),
            network,
            secrets,
        };
        match self.living().await?.ask(wish, &[]).await? {
            Done::Updated(placeholders) => Ok(placeholders),
            _ => Ok(Vec::new()),
        }
    }

    /// Throws a kill switch. It holds for brokers that are started later, too.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn stop(&self, scope: Scope) -> Result<(), ProcessError> {
        self.stopped().insert(scope.clone());
        self.tell(Wish::Stop(scope)).await
    }

    /// Takes a kill switch back.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn release(&self, scope: Scope) -> Result<(), ProcessError> {
        self.stopped().remove(&scope);
        self.tell(Wish::Release(scope)).await
    }

    /// What an environment used of its bounds.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn used(&self, environment: &str) -> Result<Option<Used>, ProcessError> {
        let wish = Wish::Used(environment.to_owned());
        match self.living().await?.ask(wish, &[]).await? {
            Done::Used(used) => Ok(used),
            _ => Ok(None),
        }
    }

    /// The process id of the broker that serves now.
    pub async fn process(&self) -> Option<u32> {
        self.living().await.ok().map(|link| link.process)
    }

    async fn tell(&self, wish: Wish) -> Result<(), ProcessError> {
        match self.living().await {
            Ok(link) => link.ask(wish, &[]).await.map(drop),
            // Nobody serves; whoever is started next is told.
            Err(ProcessError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn stopped(&self) -> std::sync::MutexGuard<'_, BTreeSet<Scope>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn living(&self) -> Result<Arc<Link>, ProcessError> {
        let link = self.link.lock().await.clone();
        link.filter(|link| !link.is_gone())
            .ok_or(ProcessError::Gone)
    }

    /// The broker that serves, started if there is none.
    async fn link(&self) -> Result<Arc<Link>, ProcessError> {
        let mut place = self.link.lock().await;
        if let Some(link) = place.clone().filter(|link| !link.is_gone()) {
            return Ok(link);
        }
        let link = self.spawn()?;
        let start = Wish::Start(Box::new(self.start.clone()));
        link.ask(start, &[]).await?;
        let stopped = self.stopped().clone();
        for scope in stopped {
            link.ask(Wish::Stop(scope), &[]).await?;
        }
        *place = Some(Arc::clone(&link));
        Ok(link)
    }

    fn spawn(&self) -> Result<Arc<Link>, ProcessError> {
        let (ours, theirs) = UnixStream::pair().map_err(ProcessError::Start)?;
        // Nothing of the parent's surroundings goes along: no variable, no descriptor, no folder.
        let child = Command::new(&self.program.path)
            .args(&self.program.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(ProcessError::Start)?;
        let reading = ours.try_clone().map_err(ProcessError::Start)?;
        let link = Arc::new(Link::new(child.id(), ours));
        let weak = Arc::downgrade(&link);
        let (listener, budget) = (Arc::clone(&self.listener), Arc::clone(&self.budget));
        let runtime = self.runtime.clone();
        std::thread::Builder::new()
            .name(String::from("broker-reports"))
            .spawn(move || listen(&reading, child, &weak, &*listener, &budget, &runtime))
            .map_err(ProcessError::Start)?;
        Ok(link)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(link) = self.link.get_mut().take() {
            link.hang_up();
        }
    }
}
