//! Git smart HTTP over the local forge (gitprotocol-http(5)), for any HTTP server: the caller brings method, path,
//! headers and body, and gets status, headers and a body to stream. Who may call is the caller's to decide.
//!
//! Requests and answers are streamed with bounds, repository names cannot leave the root, and the refs in which
//! changes are kept can be neither seen nor pushed to.

mod process;
mod route;

use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Semaphore;

use crate::local::LocalForge;
use crate::{ForgeError, RepoName};
use route::{Act, Service};

/// A request for git.
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path below the place where git is served: `/owner/name.git/info/refs`.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `Content-Encoding`; `gzip` is understood.
    pub content_encoding: Option<String>,
    /// The header `Git-Protocol`.
    pub git_protocol: Option<String>,
    /// The body.
    pub body: Pin<Box<dyn AsyncRead + Send>>,
}

/// The answer.
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body; it ends by itself.
    pub body: HttpBody,
}

/// The body of an answer: a stream of bytes.
pub struct HttpBody(Pin<Box<dyn AsyncRead + Send>>);

impl AsyncRead for HttpBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

/// What is called after each push that ended, so that nobody has to wait for the next look.
pub type OnPush = Arc<dyn Fn(&RepoName) + Send + Sync>;

/// Bounds and permissions.
#[derive(Clone)]
pub struct HttpOptions {
    /// Whether pushes are taken.
    pub allow_push: bool,
    /// Largest request body, in bytes, after decompression.
    pub max_request_bytes: u64,
    /// Git processes at one time; more requests wait.
    pub max_processes: usize,
    /// Called after each push.
    pub on_push: Option<OnPush>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            allow_push: true,
            max_request_bytes: 2 << 30,
            max_processes: 16,
            on_push: None,
        }
    }
}

/// Serves git over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct SmartHttp {
    forge: LocalForge,
    options: HttpOptions,
    permits: Arc<Semaphore>,
}

impl SmartHttp {
    /// Serves the repositories of this forge.
    #[must_use]
    pub fn new(forge: LocalForge, options: HttpOptions) -> Self {
        let permits = Arc::new(Semaphore::new(options.max_processes.max(1)));
        Self {
            forge,
            options,
            permits,
        }
    }

    /// Answers one request. Never fails: what goes wrong is in the status.
    pub async fn serve(&self, request: HttpRequest) -> HttpResponse {
        match self.answer(request).await {
            Ok(response) => response,
            Err((status, text)) => plain(status, &text),
        }
    }

    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, (u16, String)> {
        let act = route::route(&request)?;
        let (name, service) = match &act {
            Act::Advertise { name, service } | Act::Exchange { name, service } => {
                (name.clone(), *service)
            }
        };
        if service == Service::ReceivePack && !self.options.allow_push {
            return Err((403, "pushes are not taken here".to_owned()));
        }
        let info = self.forge.repository(&name).map_err(|error| match error {
            ForgeError::NotFound(_) => (404, format!("there is no repository {name}")),
            other => (500, other.to_string()),
        })?;
        if service == Service::ReceivePack && info.archived {
            return Err((403, format!("{name} is archived and takes no pushes")));
        }
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| (503, "closing".to_owned()))?;
        let git_dir = self
            .forge
            .git_dir(&name)
            .map_err(|error| (404, error.to_string()))?;
        let mut command = process::command(
            self.forge.git(),
            &git_dir,
            service,
            self.options.max_request_bytes,
        );
        let version_2 = route::protocol(&mut command, request.git_protocol.as_deref());
        let (kind, prefix) = match act {
            Act::Advertise { .. } => {
                command.arg("--advertise-refs");
                let prefix = if version_2 {
                    String::new()
                } else {
                    service.announcement()
                };
                ("advertisement", prefix)
            }
            Act::Exchange { .. } => ("result", String::new()),
        };
        command.arg(&git_dir);
        let on_push = self
            .options
            .on_push
            .clone()
            .filter(|_| service == Service::ReceivePack && kind == "result");
        let feed = process::Feed {
            body: (kind == "result").then_some(request.body),
            gzip: request
                .content_encoding
                .as_deref()
                .is_some_and(|e| e.eq_ignore_ascii_case("gzip")),
            limit: self.options.max_request_bytes,
            after: on_push.map(|call| Box::new(move || call(&name)) as Box<dyn FnOnce() + Send>),
            permit,
        };
        let stdout = process::start(command, feed)
            .map_err(|error| (500, format!("git cannot be started: {error}")))?;
        let body = HttpBody(Box::pin(tokio::io::AsyncReadExt::chain(
            Cursor::new(prefix.into_bytes()),
            stdout,
        )));
        Ok(HttpResponse {
            status: 200,
            headers: vec![
                (
                    "content-type",
                    format!("application/x-{}-{kind}", service.name()),
                ),
                (
                    "cache-control",
                    "no-cache, max-age=0, must-revalidate".to_owned(),
                ),
            ],
            body,
        })
    }
}

fn plain(status: u16, text: &str) -> HttpResponse {
    HttpResponse {
        status,
        headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
        body: HttpBody(Box::pin(Cursor::new(format!("{text}\n").into_bytes()))),
    }
}
