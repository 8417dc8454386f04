//! `nightcrew up`: the control plane, until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Global, UpArguments};
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::node::Node;
use crate::print;

pub(super) async fn execute(global: &Global, arguments: UpArguments) -> Result<u8, Failure> {
    let mut config = Config::load(global)?;
    if arguments.listen.is_some() {
        config.listen = arguments.listen;
    }
    let node = Node::start(&config, true).await?;
    if print::is_json() {
        print::json(
            &serde_json::json!({"url": node.endpoint.url, "console": node.console_link(), "pid": node.endpoint.pid}),
        );
    } else {
        print::note(format!("store      {}", node.service.store().describe()));
        print::note(format!(
            "isolation  {}",
            super::doctor::summary(&node.isolation)
        ));
        print::note("console    this link opens it once; `nightcrew open` makes another");
        print::line(node.console_link());
        print::note(print::dim(
            "stop with Ctrl-C: running steps get ten seconds to end",
        ));
    }
    wait_for_stop().await?;
    print::note("stopping …");
    node.shutdown().await;
    Ok(0)
}

/// Resolves when somebody wants this process to end.
pub(super) async fn wait_for_stop() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).doing("listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).doing("listen for signals")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
