//! Whose account something is, and the way to it through the tree of caps.

use engine::budget::{Place, levels, organisation};
use model::budget::{Caps, Level, Refused};
use model::ids::TaskId;
use model::task::Task;

use crate::error::ServiceError;
use crate::service::Service;

/// Longest name of an account or a model, in bytes.
const LONGEST: usize = 120;

/// An account that something is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account<'a> {
    /// A task's.
    Task(TaskId),
    /// An environment's that a person made.
    Environment(&'a str),
}

impl<'a> Account<'a> {
    /// Reads an account as gateways name it: a task by its id, anything else an environment.
    pub(crate) fn read(text: &'a str) -> Result<Self, Refused> {
        if let Ok(task) = text.parse() {
            return Ok(Self::Task(task));
        }
        if is_name(text) {
            return Ok(Self::Environment(text));
        }
        Err(Refused {
            scope: "account".to_owned(),
            sentence: "this is no account that anything could be charged to".to_owned(),
        })
    }
}

/// Whether a text can be a part of a scope: short, printable ASCII without spaces.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Service {
    /// The way to a task's account.
    pub(crate) async fn levels_of_task(&self, task: &Task) -> Result<Vec<Level>, ServiceError> {
        let automation = self
            .automation_version(&task.automation, task.version)
            .await?;
        let place = Place {
            automation: &task.automation,
            repository: &task.target.repository,
            campaign: task.campaign,
            run: task.run,
            task: task.id,
        };
        let rules = automation.definition.budget.as_ref();
        Ok(levels(&self.caps, rules, &place))
    }

    /// The way to an account.
    pub(crate) async fn levels_of(
        &self,
        account: &Account<'_>,
    ) -> Result<Vec<Level>, ServiceError> {
        match account {
            Account::Task(id) => self.levels_of_task(&self.task(*id).await?).await,
            Account::Environment(name) => {
                let own = Level {
                    scope: format!("environment:{name}"),
                    title: format!("the environment {name}"),
                    caps: Caps::default(),
                };
                Ok(vec![organisation(&self.caps), own])
            }
        }
    }

    /// With a level for a model, so that what it costs can be told.
    pub(crate) fn with_model(mut levels: Vec<Level>, model: &str) -> Vec<Level> {
        if !model.is_empty() {
            levels.push(Level {
                scope: format!("model:{model}"),
                title: format!("the model {model}"),
                caps: Caps::default(),
            });
        }
        levels
    }
}
