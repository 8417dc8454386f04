//! The git process behind a request: fed with the body, bounded in time and size, awaited whatever the client does.

use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use flate2::write::GzDecoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::route::Service;
use crate::git::Git;

/// Longest silence of a client that is sending.
const IDLE: Duration = Duration::from_secs(120);
/// Longest life of a process.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What goes into the process, and what happens at its end.
pub(super) struct Feed {
    pub(super) body: Option<Pin<Box<dyn AsyncRead + Send>>>,
    pub(super) gzip: bool,
    pub(super) limit: u64,
    pub(super) after: Option<Box<dyn FnOnce() + Send>>,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) fn command(git: &Git, git_dir: &Path, service: Service, limit: u64) -> Command {
    let mut command = Command::new(git.program());
    command
        .env_clear()
        .envs(git.environment().iter().map(|(k, v)| (k, v)))
        .current_dir(git_dir);
    command
        .arg("-c")
        .arg(format!("receive.maxInputSize={limit}"));
    // The work tree of a person's push may be anything; ours is bare, so nothing is checked out.
    command.arg(service.command()).arg("--stateless-rpc");
    command
}

/// Starts the process and returns its output. A task of its own feeds and awaits it, so that a push is completed and
/// announced even when the client goes away.
pub(super) fn start(mut command: Command, feed: Feed) -> io::Result<ChildStdout> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let missing = || io::Error::other("a pipe of git is missing");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    tokio::spawn(async move {
        let Feed {
            body,
            gzip,
            limit,
            after,
            permit,
        } = feed;
        let fed = match body {
            Some(body) => pour(body, stdin, gzip, limit).await,
            None => Ok(()),
        };
        if let Err(error) = fed {
            tracing::debug!(%error, "the body of a git request was not taken whole");
        }
        end(child).await;
        drop(permit);
        if let Some(after) = after {
            after();
        }
    });
    Ok(stdout)
}

async fn end(mut child: Child) {
    if timeout(LIFETIME, child.wait()).await.is_err() {
        tracing::warn!("a git process behind HTTP took more than an hour and was stopped");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "it could not be stopped");
        }
    }
}

/// Copies the body into the process. Git sees the end of its input when this returns, for whatever reason, and
/// refuses what is incomplete.
async fn pour(
    mut body: Pin<Box<dyn AsyncRead + Send>>,
    mut stdin: ChildStdin,
    gzip: bool,
    limit: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    let mut decoder = gzip.then(|| GzDecoder::new(Vec::new()));
    let mut total: u64 = 0;
    loop {
        let read = timeout(IDLE, body.read(&mut buffer))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if read == 0 {
            break;
        }
        match &mut decoder {
            None => {
                total = within(total, read, limit)?;
                stdin.write_all(&buffer[..read]).await?;
            }
            // In small pieces: a piece of compressed data can become a thousand times as large.
            Some(decoder) => {
                for piece in buffer[..read].chunks(1024) {
                    decoder.write_all(piece)?;
                    total = within(total, decoder.get_ref().len(), limit)?;
                    stdin.write_all(decoder.get_ref()).await?;
                    decoder.get_mut().clear();
                }
            }
        }
    }
    if let Some(decoder) = decoder {
        let rest = decoder.finish()?;
        within(total, rest.len(), limit)?;
        stdin.write_all(&rest).await?;
    }
    stdin.shutdown().await
}

fn within(total: u64, more: usize, limit: u64) -> io::Result<u64> {
    let total = total.saturating_add(more as u64);
    if total > limit {
        Err(io::Error::other("the body is larger than allowed"))
    } else {
        Ok(total)
    }
}
