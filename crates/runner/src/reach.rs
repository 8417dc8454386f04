//! An environment together with its network: made, attached, and ended in the right order.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use model::egress::EgressBatch;
use model::fence::Fence;
use model::network::NetworkDefinition;
use model::protocol::Assignment;
use model::reason::ReasonCode;
use sandbox::Environment;

use crate::control_plane::ControlPlane;
use crate::egress::{self, Egress, EgressError, NetworkRequest, Outfit, Pump, Pumped, Variables};
use crate::environment::destroy;
use crate::halt::Halt;

/// What an environment of a task may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: where only we work.
    Nothing,
    /// What the automation names.
    Rules,
    /// The same without credentials: where results are made that other tasks use as well.
    RulesWithoutCredentials,
}

/// The way out of a task's environments.
pub(crate) struct Way {
    egress: Arc<dyn Egress>,
    control: Arc<dyn ControlPlane>,
    header: EgressBatch,
    /// Number of the next batch.
    next: Arc<AtomicU32>,
    automation: String,
    repository: String,
}

/// An environment that stands, with its network.
pub(crate) struct Made {
    pub(crate) environment: Arc<Environment>,
    network: Option<Network>,
}

struct Network {
    pump: Pump,
    outfit: Outfit,
    variables: Variables,
}

impl Way {
    /// For the environments of an assignment.
    pub(crate) fn of(
        egress: &Arc<dyn Egress>,
        control: &Arc<dyn ControlPlane>,
        runner: &str,
        assignment: &Assignment,
    ) -> Self {
        Self {
            egress: Arc::clone(egress),
            control: Arc::clone(control),
            header: EgressBatch {
                runner: runner.to_owned(),
                task: assignment.task.id,
                epoch: assignment.epoch,
                batch: 0,
                environment: String::new(),
                events: Vec::new(),
                more_refused: 0,
                more_permitted: 0,
            },
            next: Arc::default(),
            automation: assignment.task.automation.clone(),
            repository: assignment.task.target.repository.clone(),
        }
    }

    /// Prepares a network, where one is asked for.
    pub(crate) async fn prepare(
        &self,
        environment: &str,
        definition: &NetworkDefinition,
        fence: &Fence,
        reach: Reach,
    ) -> Result<Option<Outfit>, Halt> {
        let definition = match reach {
            _ if definition.is_default() => return Ok(None),
            Reach::Nothing => return Ok(None),
            Reach::Rules => definition.clone(),
            Reach::RulesWithoutCredentials => egress::without_credentials(definition),
        };
        let request = NetworkRequest {
            environment: environment.to_owned(),
            account: Some(self.header.task.to_string()),
            automation: Some(self.automation.clone()),
            repository: Some(self.repository.clone()),
            definition,
            limits: fence.network.clone(),
        };
        Ok(Some(self.egress.prepare(request).await?))
    }

    /// Hands the sockets of an environment over, and passes on what happens from then on.
    pub(crate) async fn open(
        &self,
        environment: Arc<Environment>,
        outfit: Option<Outfit>,
        reach: Reach,
    ) -> Result<Made, Halt> {
        let Some(outfit) = outfit else {
            return Ok(Made {
                environment,
                network: None,
            });
        };
        let connected = egress::connect(&*self.egress, &environment, &outfit).await;
        let variables = match connected {
            Ok(variables) => variables,
            Err(error) => {
                self.close(environment.id()).await;
                destroy(environment).await;
                return Err(error.into());
            }
        };
        let mut header = self.header.clone();
        if reach != Reach::Rules {
            "baseline".clone_into(&mut header.environment);
        }
        let pump = Pump::start(Pumped {
            egress: Arc::clone(&self.egress),
            environment: environment.id().to_owned(),
            control: Arc::clone(&self.control),
            header,
            next: Arc::clone(&self.next),
        });
        Ok(Made {
            environment,
            network: Some(Network {
                pump,
                outfit,
                variables,
            }),
        })
    }

    /// Forgets a network whose environment was not made.
    pub(crate) async fn close(&self, environment: &str) {
        self.egress.detach(environment).await;
    }
}

impl Made {
    /// What was prepared for it.
    pub(crate) fn outfit(&self) -> Option<&Outfit> {
        self.network.as_ref().map(|network| &network.outfit)
    }

    /// Variables that its network needs.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let network = self.network.as_ref();
        network
            .map(|network| network.variables.clone())
            .unwrap_or_default()
    }

    /// Cuts its connections, passes on what happened last, and destroys it.
    pub(crate) async fn end(self) {
        if let Some(network) = self.network {
            network.pump.end().await;
        }
        destroy(self.environment).await;
    }
}

impl From<EgressError> for Halt {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::Refused(why) => Self::failed(
                ReasonCode::EnvironmentFailed,
                format!("it asks for a network that it cannot have: {why}"),
            ),
            EgressError::Gone(_) => Self::broken("the environment has no network", &error),
        }
    }
}
