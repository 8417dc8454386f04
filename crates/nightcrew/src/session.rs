//! A control plane to talk to: the one that runs on the data directory, or one in this process
//! for as long as the command takes.

use crate::cli::Global;
use crate::client::Client;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::node::Node;

/// A client, and the node behind it when it runs in this process.
pub(crate) struct Session {
    pub(crate) client: Client,
    node: Option<Node>,
}

impl Session {
    /// Finds the running server, or starts one in this process. `working` says whether the
    /// command needs tasks to be carried out.
    pub(crate) async fn open(global: &Global, working: bool) -> Result<Self, Failure> {
        let config = Config::load(global)?;
        let data_dir = DataDir::open(config.data_dir()?)?;
        if let Some(endpoint) = data_dir.endpoint() {
            let client = Client::new(endpoint);
            if client.is_alive().await {
                return Ok(Self { client, node: None });
            }
        }
        let node = Node::start(&config, working).await?;
        Ok(Self {
            client: Client::new(node.endpoint.clone()),
            node: Some(node),
        })
    }

    /// Whether a server of its own carries the work on after this command.
    pub(crate) fn is_remote(&self) -> bool {
        self.node.is_none()
    }

    /// Ends what was started here.
    pub(crate) async fn close(self) {
        if let Some(node) = self.node {
            node.shutdown().await;
        }
    }
}
