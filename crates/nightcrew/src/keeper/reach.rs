//! The network of a keeper's environment, with a broker of its own that ends with the keeper.

use model::isolation::NetworkEvidence;
use runner::egress::{connect, equip};
use runner::{Egress as _, NetworkRequest, Outfit};
use sandbox::{Environment, EnvironmentSpec};
use tokio::runtime::Runtime;

use super::spec::Spec;
use crate::egress::Broker;
use crate::failure::{Doing, Failure};

/// A broker, and what it prepared.
pub(super) struct Reach {
    outfit: Outfit,
    broker: Broker,
    /// Last: the broker lives in it.
    runtime: Runtime,
}

impl Reach {
    /// Prepares the network that is asked for, where one is.
    pub(super) fn prepare(spec: &Spec, to: &mut EnvironmentSpec) -> Result<Option<Self>, Failure> {
        if spec.network.is_default() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .doing("start the runtime")?;
        let entered = runtime.enter();
        let broker = Broker::new(&spec.outside, None)?;
        drop(entered);
        let request = NetworkRequest {
            environment: to.id.clone(),
            account: None,
            automation: None,
            repository: None,
            definition: spec.network.clone(),
            limits: spec.fence.network.clone(),
        };
        let outfit = runtime.block_on(broker.prepare(request));
        let outfit = outfit.doing("prepare the network")?;
        equip(to, &outfit);
        Ok(Some(Self {
            outfit,
            broker,
            runtime,
        }))
    }

    /// Has the environment served; variables for everything that runs in it.
    pub(super) fn open(&self, environment: &Environment) -> Result<Vec<(String, String)>, Failure> {
        let connecting = connect(&self.broker, environment, &self.outfit);
        let connected = self.runtime.block_on(connecting);
        connected.doing("have the network served")
    }

    /// What could be reached.
    pub(super) fn evidence(&self) -> NetworkEvidence {
        self.outfit.evidence.clone()
    }
}
