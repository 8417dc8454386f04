//! The control plane as a process that can be killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::super::text;
use crate::client::Client;
use crate::data_dir::DataDir;
use crate::failure::{Doing, Failure};

/// A control plane in a process group of its own.
pub(super) struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts one on a data directory.
    pub(super) fn start(root: &Path, listen: Option<&str>) -> Result<Self, Failure> {
        let program = std::env::current_exe().doing("find this program")?;
        let mut command = Command::new(program);
        command
            .arg("demo")
            .arg("--child")
            .arg("--data-dir")
            .arg(root);
        if let Some(listen) = listen {
            command.arg("--listen").arg(listen);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        Ok(Self {
            process: command.spawn().doing("start the control plane")?,
        })
    }

    /// A client, once it answers.
    pub(super) async fn client(&mut self, data_dir: &DataDir) -> Result<Client, Failure> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self
                .process
                .try_wait()
                .doing("look after the control plane")?
            {
                return Err(Failure::new(format!(
                    "the control plane ended at once ({status}); it said why above"
                )));
            }
            if let Some(endpoint) = data_dir
                .endpoint()
                .filter(|endpoint| endpoint.pid == self.process.id())
            {
                let client = Client::new(endpoint);
                if client.is_alive().await {
                    return Ok(client);
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::new(
                    "the control plane does not answer within 30 seconds",
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A link that opens the console once.
    pub(super) async fn link(&self, client: &Client) -> Result<String, Failure> {
        let answer: Value = client.post("/console-link", &json!({})).await?;
        Ok(format!(
            "{}/login?token={}",
            client.url(),
            text(&answer, "token")
        ))
    }

    /// SIGKILL for the whole process group, and nothing is left of it afterwards.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        killpg(self.pid(), Signal::SIGKILL).doing("kill the control plane")?;
        self.process.wait().doing("wait for the control plane")?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        // It may have got the terminal's Ctrl-C already.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self
            .process
            .try_wait()
            .doing("wait for the control plane")?
            .is_none()
        {
            if Instant::now() > deadline {
                return self.kill();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.process.wait();
        }
    }
}
